"""Hosts: one probe for who backs off, a few connections to who is not known yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import whole

from estafeta.mail.outcome import Deferred, Reply
from estafeta.mail.protocols import NoMeter
from estafeta.queue import backoff
from estafeta.queue import hosts as module
from estafeta.queue.hosts import Hosts, waited
from estafeta.queue.limits import FAILED_SECONDS, OPENINGS_UNPROVEN_MAX
from estafeta.sim.loop import run
from estafeta.store.engine import StoreError

pytestmark = pytest.mark.usefixtures("each_engine")

BUSY = Deferred(Reply(421, "4.3.2", "busy"), "server-busy")
MX = "mx.b.example"


def play(act: Callable[[Hosts, Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, _):
            made = Hosts(house.store, house.world.clock, NoMeter())
            made.prober = 7
            await act(made, house)

    run(main())


def now_ms(house: Any) -> int:
    return int(house.world.clock.now() * 1000)


async def note(house: Any, minutes: float = 1) -> None:
    at = now_ms(house)
    seen = backoff.Seen(MX, BUSY, lambda _: int(minutes * 60_000), at)
    await house.store.run(lambda tx: backoff.note(tx, seen, at))


def test_an_unknown_host_may_be_asked() -> None:
    async def act(hosts: Hosts, house: Any) -> None:
        leave = await hosts.ask(MX)
        assert (leave.go, leave.probe) == (True, False)

    play(act)


def test_a_host_that_backs_off_gets_one_probe_when_it_is_time() -> None:
    async def act(hosts: Hosts, house: Any) -> None:
        began = now_ms(house)
        await note(house)
        leave = await hosts.ask(MX)
        assert (leave.go, leave.why, leave.since, leave.until) == (
            *(False, BUSY, began),
            began + 60_000,
        )
        await asyncio.sleep(61)
        probe = await hosts.ask(MX)
        assert (probe.go, probe.probe) == (True, True)
        other = Hosts(house.store, house.world.clock, NoMeter())  # another worker's
        assert not (await other.ask(MX)).go
        assert not (await hosts.ask(MX)).go

    play(act)


def test_few_at_once_ask_who_is_not_known_and_the_others_hear_of_it() -> None:
    async def act(hosts: Hosts, house: Any) -> None:
        asking = [asyncio.ensure_future(hosts.ask(MX)) for _ in range(100)]
        await asyncio.sleep(1)
        assert sum(each.done() for each in asking) == OPENINGS_UNPROVEN_MAX
        hosts.failed(MX, BUSY)
        hosts.dropped(MX)
        await asyncio.sleep(0.1)
        assert sum(each.done() and each.result().go for each in asking) == OPENINGS_UNPROVEN_MAX
        assert all(each.done() for each in asking)
        assert hosts.failure(MX) == BUSY
        assert hosts.failure("mx.other.example") is None
        await asyncio.sleep(FAILED_SECONDS)
        assert hosts.failure(MX) is None

    play(act)


def test_who_answered_well_may_be_asked_by_many() -> None:
    async def act(hosts: Hosts, house: Any) -> None:
        asking = [asyncio.ensure_future(hosts.ask(MX)) for _ in range(100)]
        await asyncio.sleep(1)
        hosts.opened(MX)
        await asyncio.sleep(0.1)
        assert all(each.done() and each.result().go for each in asking)
        for _ in range(99):
            hosts.dropped(MX)
        assert not hosts._opening
        assert not hosts._waiting

    play(act)


def test_one_that_came_to_nothing_lets_the_next_in() -> None:
    async def act(hosts: Hosts, house: Any) -> None:
        asking = [asyncio.ensure_future(hosts.ask(MX)) for _ in range(OPENINGS_UNPROVEN_MAX + 2)]
        await asyncio.sleep(0.1)
        asking[-2].cancel()
        hosts.dropped(MX)
        await asyncio.sleep(0.1)
        assert asking[-1].result().go

    play(act)


def test_a_store_that_cannot_be_asked_forbids_nothing() -> None:
    async def act(hosts: Hosts, house: Any) -> None:
        await note(house)
        house.store.failing_reads = StoreError("away")
        assert (await hosts.ask(MX)).go

    play(act)


def test_a_destination_is_held_until_it_is_time_or_released() -> None:
    async def act(hosts: Hosts, house: Any) -> None:
        until = now_ms(house) + 10_000
        hosts.hold("a.example", MX, until)
        hosts.hold("b.example", "mx.other.example", until)
        assert hosts.holds("a.example")
        assert not hosts.holds("c.example")
        hosts.release(MX)
        assert not hosts.holds("a.example")
        assert hosts.holds("b.example")
        await asyncio.sleep(11)
        assert not hosts.holds("b.example")
        assert not hosts._held

    play(act)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOSTS_REMEMBERED_MAX", 10)

    async def act(hosts: Hosts, house: Any) -> None:
        for n in range(100):
            await hosts.ask(f"mx{n}.example")
            hosts.opened(f"mx{n}.example")
            hosts.failed(f"mx{n}.example", BUSY)
            hosts.hold(f"d{n}.example", MX, now_ms(house) + 1000)
        assert max(map(len, (hosts._proven, hosts._failed, hosts._held, hosts._opening))) == 10

    play(act)


def test_the_wait_doubles_up_to_the_most_and_never_outlasts_the_plan() -> None:
    def waits(interval: float = 1e9, wish: float | None = None, jitter: float = 1) -> list[int]:
        wait = waited(lambda _: interval, first=60, most=3600, jitter=jitter, wish=wish)
        return [wait(n) // 1000 for n in (1, 2, 3, 6, 7, 8, 500)]

    assert waits() == [60, 120, 240, 1920, 3600, 3600, 3600]
    assert waits(interval=100) == [60, *[100] * 6]
    assert waits(wish=300) == [300, 300, 300, 1920, 3600, 3600, 3600]
    assert waits(jitter=1.1)[:2] == [66, 132]
