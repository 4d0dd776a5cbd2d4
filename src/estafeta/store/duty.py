"""Duty: work that one worker of a store does for all, now and then; another where that one dies.

Who takes it gets a number that nobody had before, and has it until a time that he moves on while he
works. Times are of the clock: one that jumps makes a duty early or late; while it is wrong, two may
have it.
"""

from __future__ import annotations

import msgspec

from estafeta.store import counters, meta
from estafeta.store.engine import Tx


class _State(msgspec.Struct, frozen=True):
    """number: of who has it. until: then it is free. due: not before; both in milliseconds."""

    number: int
    until: int
    due: int


def is_due(tx: Tx, name: str, now: int, interval: int) -> bool:
    """Whether `take` would succeed. interval: from one time to the next, milliseconds."""
    state = _state(tx, name)
    if state is None:
        return False
    # A time further away than it can be was written by a clock that was wrong.
    return state.until <= now and not now < state.due <= now + interval


def announce(tx: Tx, name: str, now: int, interval: int) -> None:
    """The first time is one interval from now, where there was none yet."""
    meta.propose(tx, _key(name), _encoded(_State(0, 0, now + interval)))


def take(tx: Tx, name: str, now: int, interval: int, term: int) -> int | None:
    """A number if it is due and free: then it is ours for `term` milliseconds."""
    number = counters.take(tx, "duty")  # first: who takes it at the same time waits here
    state = _state(tx, name)
    if state is None or not is_due(tx, name, now, interval):
        return None
    _write(tx, name, _State(number, now + term, state.due))
    return number


def keep(tx: Tx, name: str, number: int, until: int) -> bool:
    """Moves its end on; False: somebody else has it now."""
    state = _state(tx, name)
    if state is None or state.number != number:
        return False
    _write(tx, name, _State(number, until, state.due))
    return True


def end(tx: Tx, name: str, number: int, due: int) -> None:
    """It is done, and due again then."""
    state = _state(tx, name)
    if state is not None and state.number == number:
        _write(tx, name, _State(number, 0, due))


def _key(name: str) -> str:
    return f"duty {name}"


def _encoded(state: _State) -> str:
    return msgspec.json.encode(state).decode()


def _state(tx: Tx, name: str) -> _State | None:
    value = meta.get(tx, _key(name))
    return None if value is None else msgspec.json.decode(value, type=_State)


def _write(tx: Tx, name: str, state: _State) -> None:
    meta.put(tx, _key(name), _encoded(state))
