"""Holders: whose leases are given back, and whose are not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.queue import holders, rows
from estafeta.queue.holders import Holder, Life
from estafeta.store.engine import Tx

pytestmark = pytest.mark.usefixtures("each_engine")

NOW, LATER = 1000, 900_000


class Case:
    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self._count = 0

    async def begin(self, life: Life) -> Holder:
        found = await self.stand.run(lambda tx: holders.begin(tx, life, NOW))
        assert isinstance(found, Holder)
        return found

    async def lease(self, token: int | None) -> int:
        """A row under that token; its acceptance."""
        self._count += 1
        row = rows.Waiting(self._count, 0, "x.example", LATER, token)
        await self.stand.run(lambda tx: rows.enqueue(tx, [row]))
        return row.acceptance

    async def leased(self) -> list[int]:
        def look(tx: Tx) -> list[Any]:
            return tx.rows("SELECT acceptance FROM queue WHERE lease IS NOT NULL ORDER BY 1")

        return [acceptance for (acceptance,) in await self.stand.run(look)]


def with_store(folder: Path, work: Callable[[Case], Awaitable[None]]) -> None:
    with_stand(folder, lambda stand: work(Case(stand)))


def test_a_service_that_starts_alone_gives_back_all_but_its_own_workers(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        former = await case.begin(Life("", 1, 1))
        for token in (5, former.tokens[0], former.tokens[-1]):
            await case.lease(token)
        one = await case.begin(Life("", 2, 1))
        assert await case.leased() == []
        kept = [await case.lease(one.tokens[0]), await case.lease(one.tokens[-1])]
        other = await case.begin(Life("", 2, 2))
        assert await case.leased() == kept
        assert one.number != other.number
        assert len({one.tag, other.tag, 0}) == 3

    with_store(tmp_path, work)


def test_the_dead_are_told_from_the_living(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        lives = [Life("", 2, number) for number in (1, 2)]
        dead, living = [await case.begin(life) for life in lives]
        await case.lease(dead.tokens[7])
        kept = await case.lease(living.tokens[7])
        waiting = await case.lease(None)
        for _ in range(2):  # told twice, nothing more happens
            await case.stand.run(lambda tx: holders.bury(tx, lives[1], [1], NOW))
            assert await case.leased() == [kept]
        # It is due now, not when the lease would have ended.
        first = await case.stand.run(lambda tx: rows.next_due(tx))
        assert first == NOW
        assert waiting not in await case.leased()

    with_store(tmp_path, work)


def test_another_node_is_left_alone(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        here = Life("here", 1, 1, alone=False)
        there = await case.begin(Life("there", 1, 1, alone=False))
        mine = await case.begin(here)
        kept = await case.lease(there.tokens[0])
        await case.lease(mine.tokens[0])
        await case.begin(Life("here", 2, 1, alone=False))
        assert await case.leased() == [kept]
        await case.stand.run(lambda tx: holders.bury(tx, here, [1], NOW))
        assert await case.leased() == [kept]

    with_store(tmp_path, work)


def test_tokens_of_two_workers_never_meet() -> None:
    for number in (1, 2, (1 << holders.NUMBER_BITS) - 1):
        assert (
            holders.tokens_of(number)[-1] + 1 == holders.tokens_of(number + 1)[0]
            or (number + 1) % (1 << holders.NUMBER_BITS) == 0
        )
        assert holders.tokens_of(number)[-1] <= rows.TOKEN_MAX
