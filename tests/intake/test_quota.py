"""Quota: judged at RCPT by SIZE, overrun once at most; who is full by then waits in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import Talk, Whole, whole

from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.store import accounts

pytestmark = pytest.mark.usefixtures("each_engine")

SMALL = "small@mx.example"  # 2,000 octets
BODY = b"Subject: x\r\n\r\n" + b"y" * 900 + b"\r\n"


def with_house(work: Callable[[Whole, SimNet], Awaitable[Any]], **how: Any) -> None:
    async def main() -> None:
        async with whole(**how) as (house, net):
            await work(house, net)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


async def used(house: Whole) -> int:
    account = await house.store.read(lambda tx: accounts.account(tx, SMALL))
    assert account is not None
    return account.used


async def make_room(house: Whole) -> None:
    await house.store.run(
        lambda tx: accounts.set_account(tx, house.accounts["small"].id, quota=1_000_000)
    )


def test_what_size_says_must_fit_beside_what_is_there() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net))
        await talk.begin()
        assert (await talk.hand("bob@b.example", [SMALL], BODY)).startswith("250")
        left = 2000 - await used(house)
        for size, code in ((left + 1, "452"), (left, "250")):
            await talk.say(f"MAIL FROM:<bob@b.example> SIZE={size}")
            assert (await talk.say(f"RCPT TO:<{SMALL}>")).startswith(code)
            await talk.say("RSET")

    with_house(work)


def test_it_is_overrun_once_at_most_and_who_comes_then_waits() -> None:
    """Four that were let in at RCPT, and room for one and a half."""

    async def work(house: Whole, net: SimNet) -> None:
        talks = [Talk(await house.connect(net)) for _ in range(4)]
        for talk in talks:
            await talk.begin()
            await talk.say("MAIL FROM:<bob@b.example>")
            for address in (SMALL, "ana@mx.example"):
                assert (await talk.say(f"RCPT TO:<{address}>")).startswith("250")
            assert (await talk.say("DATA")).startswith("354")
        for talk in talks:
            talk.stream.write(BODY)
            assert (await talk.say(".")).startswith("250")
        over = await used(house)
        assert 2000 < over < 3000
        await asyncio.sleep(10)
        assert [len(await house.inbox(name)) for name in ("ana", "small")] == [4, 2]
        # They were looked at once, and wait as the plan says; it costs no acceptance a try.
        assert [row[2:] for row in await house.rows()] == [(1, 0), (1, 0)]
        assert (await house.events()).count("attempt") == 2
        assert await used(house) == over
        await make_room(house)
        await house.settled(120)
        assert [len(await house.inbox(name)) for name in ("ana", "small")] == [4, 4]

    with_house(work, retry=[60.0, 60.0])


def test_who_stays_full_is_given_up_and_returned() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        full = len(await house.inbox("full"))
        await house.accept("brim@mx.example", "ana@mx.example", sender="eva@mx.example")
        await house.settled(600)
        assert len(await house.inbox("full")) == full
        assert len(await house.inbox("ana")) == 1
        (bounce,) = await house.inbox("eva")
        assert b"Status: 5.2.2" in bounce
        assert b"X-Estafeta-Cause: mailbox-full" in bounce

    with_house(work)
