"""Pairs of units about hosts without time, interleaved: nobody is forgotten, one alone probes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.contract.test_store_interleaved import orders
from tests.support.interleave import Saved, Unit, connect, run_pair
from tests.support.stores import NOON, Stand

from estafeta.mail.outcome import Deferred, Reply
from estafeta.queue import backoff, rows
from estafeta.store.engine import Tx
from estafeta.store.postgres.line import Line

NOW = NOON + 86_400_000
MINUTE = 60_000
BUSY = Deferred(Reply(421, "4.3.2", "busy"), "server-busy")
HOST = "mx.b.example"
PAIRS = [
    ("wait", "recover"),
    ("wait", "fail"),
    ("wait", "accept"),
    ("accept", "recover"),
    ("accept", "settle"),
    ("fail", "fail"),
    ("fail", "recover"),
    ("recover", "recover"),
    ("probes", "recover"),
    ("probes", "accept"),
    ("give back", "probe"),
    ("forget", "wait"),
]
Given = tuple[Unit, Sequence[int]]


def failed(tx: Tx, at: int = NOW) -> None:
    backoff.note(tx, backoff.Seen(HOST, BUSY, lambda n: n * MINUTE, at), at)


def probes(tx: Tx) -> int:
    return len(backoff.probes_due(tx, NOW + MINUTE, NOW + 15 * MINUTE, 10, ()))


UNITS: dict[str, Callable[[Tx], Any]] = {
    "wait": lambda tx: backoff.after(tx, "c.example", "", [HOST]) and None,
    "recover": lambda tx: backoff.recovered(tx, HOST),
    "fail": lambda tx: failed(tx, NOW + 1),
    "accept": lambda tx: rows.enqueue(tx, [rows.Waiting(9, 0, "a.example", NOW - 5)]),
    "settle": lambda tx: backoff.settle(tx, HOST),
    "probes": lambda tx: probes(tx) and None,
    "probe": lambda tx: backoff.probe(tx, HOST, NOW + MINUTE, 7) and None,
    "give back": lambda tx: rows.give_back(tx, NOW, range(5, 10)) and None,
    "forget": lambda tx: backoff.forget(tx, NOW + 9 * MINUTE),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Line], Saved]]:
    """a.example and b.example wait for a host, c.example does not yet."""
    stand = Stand(tmp_path_factory.mktemp("backoff"), "postgresql")

    def fill(tx: Tx) -> None:
        for n, name in enumerate("abc"):
            rows.enqueue(tx, [rows.Waiting(n, 0, f"{name}.example", NOW)])
        failed(tx)
        for name in "ab":
            backoff.after(tx, f"{name}.example", "", [HOST])

    async def work() -> None:
        await stand.run(fill)
        await stand.store.close()

    asyncio.run(work())
    saved = Saved(stand.url)
    lines = [connect(stand.url), connect(stand.url)]
    yield lines, saved
    for each in (*lines, saved):
        each.close()
    stand.clear()


def forgotten(saved: Saved) -> list[Any]:
    """Destinations that wait for what is not there, or is looked at later than it should be; one
    that somebody has taken up for a probe is looked at when that lease ends."""
    return saved.admin.execute(
        "SELECT d.name, waits_for, b.due FROM destination d LEFT JOIN backoff b"
        " ON b.name = waits_for WHERE waits_for <> '' AND (b.name IS NULL"
        " OR b.due > GREATEST(not_before, d.due) AND b.due <> %s AND prober IS NULL)",
        (NOW + 15 * MINUTE,),
    ).fetchall()


@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_nobody_is_forgotten(names: tuple[str, str], stage: tuple[list[Line], Saved]) -> None:
    lines, saved = stage
    pair = [(UNITS[name], ()) for name in names]
    for order in orders([8, 8], random.Random(3)):
        saved.restore()
        outcomes, _ = run_pair(lines, saved.admin, pair, order)
        assert not any(outcomes), (order, outcomes)  # the name of an error
        assert not forgotten(saved), order


def test_one_alone_probes(stage: tuple[list[Line], Saved]) -> None:
    lines, saved = stage
    pair = [
        (lambda tx, prober=prober: backoff.probe(tx, HOST, NOW + MINUTE, prober), ())
        for prober in (1, 2)
    ]
    for order in orders([2, 2], random.Random(3)):
        saved.restore()
        outcomes, _ = run_pair(lines, saved.admin, pair, order)
        assert sorted(outcomes) == [False, True], order


def test_one_alone_leases_for_the_probe(stage: tuple[list[Line], Saved]) -> None:
    lines, saved = stage
    for order in orders([4, 4], random.Random(3)):
        saved.restore()
        outcomes, _ = run_pair(lines, saved.admin, [(probes, ()), (probes, ())], order)
        assert sum(outcomes) == 1, order


def test_failures_of_attempts_under_way_together_count_once(
    stage: tuple[list[Line], Saved],
) -> None:
    lines, saved = stage
    seen = backoff.Seen(HOST, BUSY, lambda n: n * MINUTE, NOW + 1)
    pair = [(lambda tx: backoff.note(tx, seen, NOW + 5), ())] * 2
    for order in orders([3, 3], random.Random(3)):
        saved.restore()
        run_pair(lines, saved.admin, pair, order)
        found = saved.admin.execute("SELECT failures FROM backoff").fetchall()
        assert found == [(2,)], order
