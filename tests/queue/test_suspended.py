"""Suspended: what an operator has stopped is not attempted, and goes on where it is told to."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.whole import Attempts, Whole, whole

from estafeta.mail.outcome import Deferred, Reply
from estafeta.queue.handling import Unknown
from estafeta.sim.loop import run

pytestmark = pytest.mark.usefixtures("each_engine")

BOB, CARL, DORA = "bob@remote.example", "carl@remote.example", "dora@other.example"
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "busy", "mx.remote.example")
WHO = "root (command line)"


def with_house(work, **how):  # type: ignore[no-untyped-def]
    async def main() -> None:
        async with whole(**how) as (house, _):
            await asyncio.sleep(0.1)  # the runner has begun
            await work(house)
            await house.balanced()

    run(main())


def test_a_suspended_destination_is_left_alone_and_the_others_are_not() -> None:
    async def work(house: Whole) -> None:
        await house.built.hand.suspend("remote.example", "they move house", WHO)
        await asyncio.sleep(1)
        await house.accept(BOB, DORA)
        await asyncio.sleep(600)
        assert house.attempts.addresses == [[DORA]]
        assert await house.rows() == [("remote.example", 0, 0, 0)]
        await house.built.hand.resume("remote.example", WHO)
        await house.settled(1)
        assert house.attempts.addresses == [[DORA], [BOB]]

    with_house(work)


def test_what_waits_for_its_next_try_waits_on_while_it_is_suspended() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB)
        await asyncio.sleep(1)
        assert len(house.attempts.made) == 1
        await house.built.hand.suspend("remote.example", "", WHO)
        await asyncio.sleep(600)
        assert len(house.attempts.made) == 1
        await house.built.hand.resume("remote.example", WHO)
        await asyncio.sleep(1)
        assert len(house.attempts.made) == 2

    with_house(work, attempts=Attempts(plan={BOB: [BUSY]}))


def test_what_became_too_old_meanwhile_gets_one_last_try() -> None:
    """Not returned without one: the clock went on, and nobody has asked the other side."""

    async def work(house: Whole) -> None:
        await house.built.hand.suspend("remote.example", "", WHO)
        await asyncio.sleep(1)
        await house.accept(BOB, CARL)
        await asyncio.sleep(1200)
        assert [line.split()[-1] for line in await house.ledger()] == ["open", "open"]
        await house.built.hand.resume("remote.example", WHO)
        await house.settled(1)
        assert house.attempts.addresses == [[BOB, CARL]]
        fates = [line.split()[-1] for line in await house.ledger()]
        assert fates == ["returned", "relayed", "stored"]

    with_house(work, attempts=Attempts(plan={BOB: [BUSY]}), give_up_after=600.0)


def test_everything_can_be_suspended() -> None:
    async def work(house: Whole) -> None:
        await house.built.hand.suspend("*", "the line is being mended", WHO)
        await asyncio.sleep(1)
        await house.accept(BOB, DORA)
        await asyncio.sleep(100)
        assert house.attempts.made == []
        await house.built.hand.resume("*", WHO)
        await house.settled(1)

    with_house(work)


def test_a_drained_destination_goes_elsewhere_until_it_is_undrained() -> None:
    async def work(house: Whole) -> None:
        async def way(domain: str) -> str:
            found = house.built._router()._static.find(domain)
            return "" if found is None else ", ".join(f"{h}:{p}" for h, p in found.hosts)

        await house.built.hand.drain("remote.example", "192.0.2.77", 2525, WHO)
        await house.built.hand.drain("*", "192.0.2.78", 25, WHO)
        await asyncio.sleep(1)
        assert await way("remote.example") == "192.0.2.77:2525"
        assert await way("other.example") == "192.0.2.78:25"
        route = await house.built.relay._router.route("remote.example")
        assert route.hosts[0].addresses[0].port == 2525  # type: ignore[union-attr]
        await house.built.hand.undrain("remote.example", WHO)
        await house.built.hand.undrain("*", WHO)
        await asyncio.sleep(1)
        assert await way("remote.example") == ""

    with_house(work)


def test_what_is_not_so_cannot_be_undone() -> None:
    async def work(house: Whole) -> None:
        with pytest.raises(Unknown, match=r"remote\.example is not suspended"):
            await house.built.hand.resume("remote.example", WHO)
        with pytest.raises(Unknown, match="not drained"):
            await house.built.hand.undrain("remote.example", WHO)

    with_house(work)
