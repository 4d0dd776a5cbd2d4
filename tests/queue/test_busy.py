"""Busy: what the queue makes of hosts and domains that have no time, whoever says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.support.whole import Attempts, Report, Whole, whole

from estafeta.mail.envelope import Envelope
from estafeta.mail.outcome import Deferred, Delivered, Reply
from estafeta.mail.protocols import Content
from estafeta.queue import backoff
from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet

pytestmark = pytest.mark.usefixtures("each_engine")

HOST = "mx.remote.example"
BUSY = Deferred(Reply(421, "4.3.2", "busy"), "server-busy", HOST)
SLOW = Deferred(Reply(450, "4.7.0", "too fast"), "rate-limited", HOST)
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), HOST)


class Seen(msgspec.Struct, frozen=True):
    host: str
    failure: Deferred | None


class Scripted(Attempts):
    """Says what `says` returns, message by message; times: when, of the loop."""

    def __init__(self, says: Callable[[int], Report]) -> None:
        super().__init__()
        self.says = says
        self.times: list[float] = []

    async def attempt(
        self, destination: str, envelope: Envelope, content: Content, sent: Callable[[], None]
    ) -> Report:
        self.times.append(asyncio.get_running_loop().time())
        await super().attempt(destination, envelope, content, sent)
        return self.says(len(self.times))


def play(
    says: Callable[[int], Report], work: Callable[[Whole], Awaitable[Any]], **how: Any
) -> None:
    async def main() -> None:
        attempts = Scripted(says)
        async with whole(attempts=attempts, **how) as (house, _):
            await asyncio.sleep(0.1)  # the runner has begun
            await work(house)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


def fails(*_: int) -> Report:
    return Report([BUSY], seen=[Seen(HOST, BUSY)], blocked=[HOST])


def untried(*_: int) -> Report:
    return Report([BUSY], blocked=[HOST], untried=True)


async def standing(house: Whole, name: str = HOST) -> backoff.Standing | None:
    found: backoff.Standing | None = await house.store.inner.read(
        lambda tx: backoff.standing(tx, name)
    )
    return found


async def send(house: Whole, count: int) -> None:
    for n in range(count):
        await house.accept(f"p{n}@remote.example")


def test_one_attempt_at_a_time_while_the_host_has_no_time_and_all_at_once_then() -> None:
    well: list[bool] = []

    def says(n: int) -> Report:
        return Report([TAKEN], seen=[Seen(HOST, None)]) if well else fails()

    async def work(house: Whole) -> None:
        await send(house, 30)
        await asyncio.sleep(2)
        began = len(house.attempts.made)
        assert began <= 5
        await asyncio.sleep(300)
        there = await standing(house)
        assert there is not None
        # After 48 s at most each time: the plan has it wait 60 s.
        assert there.failures == len(house.attempts.made) - began + 1 <= 8
        assert sum(row[2] for row in await house.rows()) == len(house.attempts.made)
        well.append(True)
        await house.settled(60)
        assert await standing(house) is None
        assert house.attempts.most["remote.example"] > 1

    play(says, work, retry=[60.0] * 30)


def test_a_message_that_was_not_tried_waits_without_an_attempt() -> None:
    async def work(house: Whole) -> None:
        await house.store.run(
            lambda tx: backoff.note(
                tx,
                backoff.Seen(HOST, BUSY, lambda _: 100_000, 0),
                int(house.world.clock.now() * 1000),
            )
        )
        await house.accept("bob@remote.example")
        await asyncio.sleep(60)
        assert await house.rows() == [("remote.example", 0, 0, 0)]
        assert await house.events() == []
        assert len(house.attempts.made) == 1
        await house.accept("carl@remote.example")  # nobody takes it on
        await asyncio.sleep(1)
        assert [row[3] for row in await house.rows()] == [0, 0]
        assert len(house.attempts.made) == 1
        await asyncio.sleep(50)
        assert 10 <= len(house.attempts.made) <= 30  # when it is time; not at once, again and again

    play(untried, work)


def test_a_host_that_failed_a_moment_ago_is_noted_by_who_was_not_tried() -> None:
    async def work(house: Whole) -> None:
        house.queue._hosts.failed(HOST, BUSY)
        await house.accept("bob@remote.example")
        await asyncio.sleep(1)
        there = await standing(house)
        assert there is not None
        assert there.why == BUSY
        assert len(house.attempts.made) == 1

    play(untried, work)


def test_who_was_never_tried_is_given_up_in_time() -> None:
    async def work(house: Whole) -> None:
        house.queue._hosts.failed(HOST, BUSY)
        for n in range(5):
            await house.accept(f"p{n}@remote.example")
        await asyncio.sleep(120 * 1.1 + 70)
        ledger = await house.ledger()
        assert [line.split()[-1] for line in ledger] == ["returned"] * 5 + ["stored"] * 5
        report = (await house.inbox("ana"))[0]
        assert b"421 4.3.2 busy" in report.replace(b"=\r\n", b"")

    play(untried, work)


def test_a_domain_that_says_we_are_too_fast_is_slowed_down() -> None:
    well: list[bool] = []

    def says(n: int) -> Report:
        return Report([TAKEN if well else SLOW])

    async def work(house: Whole) -> None:
        await send(house, 30)
        await asyncio.sleep(40)
        there = await standing(house, "@remote.example")
        assert there is not None
        before = len(house.attempts.made)
        assert before <= 5
        assert house.queue._flow.window("remote.example") < 5
        well.append(True)
        await house.settled(120)
        assert await standing(house, "@remote.example") is None
        times = house.attempts.times[before:]  # type: ignore[attr-defined]
        assert times[1] - times[0] < 5

    play(says, work, retry=[60.0] * 30)


def test_a_restart_gives_the_probe_back() -> None:
    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        now = int(house.world.clock.now() * 1000)
        await house.store.run(
            lambda tx: backoff.note(tx, backoff.Seen(HOST, BUSY, lambda _: 1000, 0), now)
        )
        hosts = house.queue._hosts
        await asyncio.sleep(2)
        leave = await hosts.ask(HOST)
        assert leave.probe
        hosts.dropped(HOST)
        assert not (await hosts.ask(HOST)).go
        await house.queue._give_back()
        assert (await hosts.ask(HOST)).probe
        hosts.dropped(HOST)
        gate.set()

    play(fails, work)
