"""Holders: which worker holds which leases, so that those of a dead one, and no others, pass on.

A worker takes a number from the store before its first lease, and every lease token of its begins
with that number. Numbers are never given out twice. Beside each stands where its worker runs: a
service that starts alone on its store, or again on its node, knows by that whose leases nobody will
end any more. Those of a node that is gone end by time.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from estafeta.queue import rows
from estafeta.store import counters, meta
from estafeta.store.engine import Tx
from estafeta.store.ids import TAG_BITS

TOKEN_BITS = 39
"""Of a token, for the leases of one worker: 500 thousand millions."""

NUMBER_BITS = 24
"""Of a token, for the worker: so many starts until a number comes again."""

TAGS = 1 << TAG_BITS
"""Workers of one store that can tell their ids apart (store/ids.py)."""

_NAME = "worker "  # of the row in `meta`, before the number


class Life(msgspec.Struct, frozen=True):
    """One worker's life. node: the machine and its data folder, held by one service at a time.

    run: of that service; differs from any former one there. life: differs from that of any other
    worker of the run. alone: no other node works on the store.
    """

    node: str
    run: int
    life: int = 0
    alone: bool = True


class Holder(msgspec.Struct, frozen=True):
    """A worker that has begun. tag: no other living worker has it; 0: none was left."""

    number: int
    tag: int

    @property
    def tokens(self) -> range:
        """Every lease token it may give out."""
        return tokens_of(self.number)


class _Registered(msgspec.Struct, frozen=True):
    node: str
    run: int
    life: int
    tag: int


def tokens_of(number: int) -> range:
    first = (number % (1 << NUMBER_BITS)) << TOKEN_BITS
    return range(first, first + (1 << TOKEN_BITS))


def begin(tx: Tx, life: Life, now: int) -> Holder:
    """A new worker begins. What former runs of its service left leased is given back."""
    number = counters.take(tx, "worker")  # first: who begins at the same time waits here
    living: dict[int, _Registered] = {}
    dead: list[int] = []
    for other, registered in _registered(tx):
        if registered.run != life.run and (life.alone or registered.node == life.node):
            dead.append(other)
        else:
            living[other] = registered
    if life.alone:
        # All but ours, whoever made it: nobody else is there.
        _give_back_all_but(tx, [tokens_of(each) for each in living], now)
        _forget(tx, dead)
    else:
        _end(tx, dead, now)
    used = {each.tag for each in living.values()}
    tag = next((tag for tag in range(1, TAGS) if tag not in used), 0)
    value = msgspec.json.encode(_Registered(life.node, life.run, life.life, tag)).decode()
    meta.put(tx, f"{_NAME}{number}", value)
    return Holder(number, tag)


def bury(tx: Tx, life: Life, lives: Collection[int], now: int) -> int:
    """Those of the same run as `life` are dead: their leases are given back. Returns rows."""
    dead = [
        number
        for number, each in _registered(tx)
        if (each.node, each.run) == (life.node, life.run) and each.life in lives
    ]
    return _end(tx, dead, now)


def _end(tx: Tx, numbers: list[int], now: int) -> int:
    count = 0
    for number in numbers:
        count += rows.give_back(tx, now, tokens_of(number))
    _forget(tx, numbers)
    return count


def _give_back_all_but(tx: Tx, kept: list[range], now: int) -> None:
    """kept: tokens of living workers."""
    lowest = 0
    for tokens in sorted(kept, key=lambda tokens: tokens.start):
        rows.give_back(tx, now, range(lowest, tokens.start))
        lowest = tokens.stop
    rows.give_back(tx, now, range(lowest, rows.ALL_TOKENS.stop))


def _registered(tx: Tx) -> list[tuple[int, _Registered]]:
    found = tx.rows("SELECT name, value FROM meta WHERE name LIKE ? ORDER BY name", (f"{_NAME}%",))
    return [
        (int(name.removeprefix(_NAME)), msgspec.json.decode(value, type=_Registered))
        for name, value in found
    ]


def _forget(tx: Tx, numbers: list[int]) -> None:
    for number in numbers:
        meta.drop(tx, f"{_NAME}{number}")
