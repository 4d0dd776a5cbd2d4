"""Buckets: what one process gets, what several get together, and what is left after a restart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.stores import usual_store
from tests.support.whole import FaultyStore

from estafeta.mail.protocols import NoMeter
from estafeta.sim.loop import run
from estafeta.sim.net import Internet
from estafeta.sim.world import SimMachine
from estafeta.store import buckets
from estafeta.store.buckets import Buckets, Limit, Share
from estafeta.store.engine import StoreError
from estafeta.store.limits import BUCKET_SKEW_MS_MAX

pytestmark = pytest.mark.usefixtures("each_engine")

WHOLE = Limit(80, 80.0)  # a token a second, slices of ten
SLOW = Limit(1, 30 * 86_400.0)


class House:
    """One store, and processes on it. units: that were given to it."""

    def __init__(self, store: Any, machine: SimMachine) -> None:
        self.store = store
        self.machine = machine
        self.clock: Any = machine.world.clock
        self.units = 0
        store.before = self._count

    def _count(self) -> None:
        self.units += 1

    def process(self) -> Buckets:
        return Buckets(self.store, self.clock, NoMeter())

    async def rows(self) -> int:
        return int(await self.store.read(lambda tx: tx.value("SELECT COUNT(*) FROM bucket")))

    async def level(self, name: str = "b", limit: Limit = WHOLE) -> float:
        now = int(self.clock.now() * 1000)
        return float(await self.store.read(partial(buckets.level, name=name, limit=limit, now=now)))


def with_house(folder: Path, work: Callable[[House], Awaitable[None]], *, lines: int = 0) -> None:
    async def main() -> None:
        machine = SimMachine(
            "mx", ["192.0.2.1"], Internet(random.Random(1)), random.Random(1), folder
        )
        with closing(machine):
            async with usual_store(machine.root, machine.world) as store:
                await work(House(FaultyStore(store), machine))

    with capture_logs() as said:
        run(main())
    assert [each["log_level"] for each in said] == ["warning"] * lines, said


async def drain(bucket: Buckets, name: str = "b", limit: Limit = WHOLE, most: int = 1000) -> int:
    """How many could be had."""
    for n in range(most):
        if await bucket.take(name, limit):
            return n
    return most


def test_one_process_gets_what_there_is_and_then_what_flows_in(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        await one.start()
        assert await drain(one) == 80
        assert 0.0 < await one.take("b", WHOLE) <= 1.0
        assert 4.0 < await one.take("b", WHOLE, by=5) <= 5.0
        assert await one.take("other", WHOLE) == 0.0
        await asyncio.sleep(5)
        assert await drain(one) == 5
        await asyncio.sleep(10_000)
        assert await drain(one) == 80  # not more than it holds
        await one.stop()

    with_house(tmp_path, work)


def test_who_asks_takes_nothing(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        for _ in range(200):
            assert await one.wait("b", WHOLE) == 0.0
        assert await drain(one) == 80
        assert 0.0 < await one.wait("b", WHOLE) <= 1.0
        assert await house.process().wait("b", WHOLE) < 10.0

    with_house(tmp_path, work)


def test_a_take_writes_nothing_before_it_is_a_slice_and_a_refusal_asks_nobody(
    tmp_path: Path,
) -> None:
    async def work(house: House) -> None:
        one = house.process()
        assert await drain(one, most=9) == 9
        assert house.units == 0
        assert await one.take("b", WHOLE) == 0.0
        assert house.units == 1
        assert await house.level() == pytest.approx(70.0, abs=0.01)
        await drain(one)
        units = house.units
        house.store.failing_reads = StoreError("asked all the same")
        assert await one.take("b", WHOLE) > 0.0
        assert house.units == units
        house.store.failing_reads = None
        # Each take of a bucket of one is a slice.
        assert await one.take("slow", SLOW) == 0.0
        assert house.units == units + 1

    with_house(tmp_path, work)


def test_others_know_a_second_later_and_many_buckets_are_one_unit(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        await one.start()
        for n in range(100):
            assert await one.take(f"b{n}", WHOLE, by=5) == 0.0
        assert house.units == 0
        await asyncio.sleep(1.1)
        assert house.units == 1
        assert await house.level("b99") == pytest.approx(75.0, abs=0.2)
        await asyncio.sleep(100)
        assert house.units == 1
        await one.stop()

    with_house(tmp_path, work)


def test_a_clean_stop_keeps_all_and_a_crash_forgets_less_than_a_slice(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        assert await drain(one, most=45) == 45
        assert await drain(house.process()) == 80 - 40  # the first one is killed: 5 are forgotten
        three = house.process()
        await three.start()
        await asyncio.sleep(15)
        assert await drain(three, most=5) == 5
        await three.stop()
        assert await house.level() == pytest.approx(10.0, abs=0.1)

    with_house(tmp_path, work)


@pytest.mark.parametrize("seed", range(12))
def test_however_processes_take_they_get_no_more_than_their_slices_too_many(
    tmp_path: Path, seed: int
) -> None:
    """Processes, bursts, pauses and restarts by chance; the debt is paid, so the sum holds over any
    time, not only at once."""
    dice = random.Random(seed)
    limit = Limit(dice.choice((7, 16, 80, 200)), dice.choice((8.0, 60.0)))
    processes = dice.randrange(1, 5)
    got: list[tuple[float, int]] = []

    async def work(house: House) -> None:
        loop = asyncio.get_running_loop()

        async def one_process(dice: random.Random) -> None:
            bucket = house.process()
            await bucket.start()
            for _ in range(dice.randrange(60, 120)):
                for _ in range(dice.choice((1, 1, 3, 60))):
                    by = dice.choice((1, 1, 1, 2))
                    if await bucket.take("b", limit, by):
                        break
                    got.append((loop.time(), by))
                await asyncio.sleep(dice.choice((0.0, 0.001, 0.3, 1.0, 4.0)))
                if dice.random() < 0.02:
                    await bucket.stop()
                    bucket = house.process()
                    await bucket.start()
            await bucket.stop()

        async with AsyncExitStack():
            await asyncio.gather(
                *(one_process(random.Random(seed * 100 + n)) for n in range(processes))
            )

    with_house(tmp_path, work)
    over = (processes - 1) * (limit.slice - 1)
    rate = limit.burst / limit.seconds
    for n, (since, _) in enumerate(got):
        total = 0
        for at, by in got[n:]:
            total += by
            assert total <= limit.burst + (at - since) * rate + over + 1e-6


def test_the_slices_too_many_are_what_they_can_be(tmp_path: Path) -> None:
    """The bound is reached, so it is the right one."""

    async def work(house: House) -> None:
        four = [house.process() for _ in range(4)]
        for each in four:
            assert await each.wait("b", WHOLE) == 0.0
        assert await drain(four[0], most=71) == 71  # 70 of them merged, one not
        over = 80 + 3 * 9
        assert 71 + sum([await drain(each) for each in four]) <= over
        fresh = [house.process() for _ in range(4)]
        for each in fresh:
            await each.wait("full", WHOLE)
        assert await drain(fresh[0], "full", most=70) == 70
        rest = [await drain(each, "full", most=9) for each in fresh[1:]]
        assert rest == [9, 9, 9]
        assert 70 + 27 + await drain(fresh[0], "full") == over

    with_house(tmp_path, work)


def test_sessions_of_one_process_that_meet_at_a_slice_take_no_more(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        waits = await asyncio.gather(*(one.take("b", WHOLE) for _ in range(300)))
        assert waits.count(0.0) == 80

    with_house(tmp_path, work)


def test_who_goes_while_it_merges_takes_nobody_with_it(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        await drain(one, most=9)
        leaving = asyncio.ensure_future(one.take("b", WHOLE))
        staying = asyncio.ensure_future(one.take("b", WHOLE))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == 0.0
        assert await drain(one) == 80 - 11
        await one.stop()

    with_house(tmp_path, work)


def test_a_store_that_is_away_stops_nobody_and_is_told_of_once(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        await one.start()
        house.store.failing = house.store.failing_reads = StoreError("away")
        assert not await one.settle("b", WHOLE)
        assert await drain(one) == 80  # by what this process knows
        assert await one.take("b", WHOLE) > 0.0
        await asyncio.sleep(10)
        house.store.failing = house.store.failing_reads = None
        await asyncio.sleep(3)
        assert await house.level() < 14.0  # what was taken is not forgotten
        await one.stop()

    with_house(tmp_path, work, lines=1)


def test_an_answer_that_was_lost_is_not_counted_twice(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        house.store.losing_answers = True
        assert await drain(one, most=10) == 10
        house.store.losing_answers = False
        await one.stop()
        assert await house.level() >= 69.0

    with_house(tmp_path, work, lines=1)


def test_a_clock_that_was_wrong_neither_fills_nor_blocks(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        async def merged(taken: int, now: int) -> float:
            (found,) = await house.store.run(
                partial(buckets.merge, shares=[Share("b", WHOLE, taken)], now=now)
            )
            return float(found.level)

        at = 1_000_000_000
        assert await merged(60, at) == 20.0
        # Two nodes whose clocks differ a little: the time between them is there once.
        for _ in range(5):
            assert await merged(0, at - 2_000) == 20.0
            assert await merged(0, at) == 20.0
        assert await merged(0, at + 10_000) == 30.0
        # One that was a day ahead, and was put right.
        assert await merged(80, at + 86_400_000) == 0.0
        back = at + 20_000
        assert await merged(0, back) == 0.0
        assert await merged(0, back + 10_000) == 10.0
        assert BUCKET_SKEW_MS_MAX > 2_000

    with_house(tmp_path, work)


def test_what_flows_in_slowly_is_not_rounded_away(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        now = 0
        await house.store.run(partial(buckets.merge, shares=[Share("b", SLOW, 1)], now=now))
        for _ in range(2000):
            now += 1000
            (found,) = await house.store.run(
                partial(buckets.merge, shares=[Share("b", SLOW, 0)], now=now)
            )
        assert found.level == pytest.approx(2000 / SLOW.seconds, rel=0.01)

    with_house(tmp_path, work)


def test_a_debt_is_paid_within_one_filling(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        (found,) = await house.store.run(
            partial(buckets.merge, shares=[Share("b", WHOLE, 5000)], now=0)
        )
        assert found.level == -80.0

    with_house(tmp_path, work)


def test_full_buckets_are_forgotten(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        await one.start()
        for n in range(1200):
            await one.take(f"b{n}", WHOLE, by=2)
        await one.take("deep", WHOLE, by=79)
        await asyncio.sleep(1.1)
        assert await house.rows() == 1201
        await asyncio.sleep(70)
        await one.take("b", WHOLE)  # whoever merges tidies, once a minute
        await asyncio.sleep(1.1)
        assert await house.rows() == 2
        await one.stop()

    with_house(tmp_path, work)


def test_what_one_process_knows_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "BUCKET_NAMES_MAX", 50)

    async def work(house: House) -> None:
        one = house.process()
        assert await drain(one, "first") == 80
        for n in range(500):
            await one.take(f"b{n}", WHOLE)
        assert len(one._known) == 50
        assert len(one._dirty) <= 50
        assert 0.0 < await one.take("first", WHOLE) <= 1.0  # the store knows of it
        await one.stop()

    with_house(tmp_path, work)


def test_a_limit_that_changes_counts_at_once(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        one = house.process()
        assert await drain(one, limit=Limit(1000, 10.0), most=40) == 40
        assert await drain(one, limit=Limit(8, 8.0)) <= 8
        await house.store.run(partial(buckets.empty_out, name="b"))
        assert await one.take("b", Limit(8, 8.0)) > 0.0  # it does not ask
        assert await one.settle("b", Limit(8, 8.0))
        assert await drain(one, limit=Limit(8, 8.0)) == 8

    with_house(tmp_path, work)
