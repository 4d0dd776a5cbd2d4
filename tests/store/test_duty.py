"""Duty: one has it at a time, another after his death, and it comes once an interval."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import duty
from estafeta.store.engine import Tx

pytestmark = pytest.mark.usefixtures("each_engine")

HOUR, TERM = 3_600_000, 300_000


class Case:
    """One store, and the units that are run on it."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    async def __call__(self, *steps: Callable[[Tx], Any]) -> list[Any]:
        return list(await self.stand.run(lambda tx: [step(tx) for step in steps]))


def with_store(folder: Path, work: Callable[[Case], Awaitable[None]]) -> None:
    with_stand(folder, lambda stand: work(Case(stand)))


def take(at: int) -> Callable[[Tx], Any]:
    return lambda tx: duty.take(tx, "d", at, HOUR, TERM)


def announce(at: int) -> Callable[[Tx], Any]:
    return lambda tx: duty.announce(tx, "d", at, HOUR)


def test_it_is_first_due_an_interval_after_it_was_first_heard_of(tmp_path: Path) -> None:
    async def work(run: Case) -> None:
        assert await run(take(0), announce(0), announce(HOUR), take(HOUR - 1)) == [None] * 4
        assert await run(take(HOUR)) != [None]

    with_store(tmp_path, work)


def test_one_has_it_until_it_is_done(tmp_path: Path) -> None:
    async def work(run: Case) -> None:
        _, first, second = await run(announce(0), take(HOUR), take(HOUR + TERM - 1))
        assert isinstance(first, int)
        assert second is None
        await run(lambda tx: duty.end(tx, "d", first, 3 * HOUR))
        assert await run(take(2 * HOUR + TERM)) == [None]
        assert await run(take(3 * HOUR)) != [None]

    with_store(tmp_path, work)


def test_another_takes_it_over_when_its_term_ends(tmp_path: Path) -> None:
    async def work(run: Case) -> None:
        _, first = await run(announce(0), take(HOUR))
        assert isinstance(first, int)
        later = HOUR + TERM
        assert await run(lambda tx: duty.keep(tx, "d", first, later + TERM)) == [True]
        assert await run(take(later)) == [None]
        (second,) = await run(take(later + TERM))
        assert isinstance(second, int)
        assert second > first
        # Who comes back late has nothing to say any more.
        assert await run(lambda tx: duty.keep(tx, "d", first, 9 * HOUR)) == [False]
        await run(lambda tx: duty.end(tx, "d", first, 9 * HOUR))
        assert await run(take(later + 2 * TERM)) != [None]

    with_store(tmp_path, work)


def test_a_clock_that_was_wrong_puts_nothing_off_for_ever(tmp_path: Path) -> None:
    async def work(run: Case) -> None:
        await run(announce(1000 * HOUR))
        assert await run(take(HOUR)) != [None]

    with_store(tmp_path, work)
