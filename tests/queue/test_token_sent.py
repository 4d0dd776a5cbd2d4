"""Token: what we send on names our acceptance in ENVID, unless the sender named it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import Attempts, Whole, whole

from estafeta.mail.header import find
from estafeta.mail.outcome import Refused, Reply
from estafeta.sim.loop import run
from estafeta.store.engine import StoreFull

pytestmark = pytest.mark.usefixtures("each_engine")

BOB = "bob@remote.example"
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.remote.example")


def with_house(work: Callable[[Whole], Awaitable[Any]], **given: Any) -> None:
    async def main() -> None:
        async with whole(**given) as (house, _):
            await asyncio.sleep(0.1)
            await work(house)
            await house.balanced()

    run(main())


async def sent(house: Whole, *recipients: str, **given: Any) -> tuple[int, str]:
    """(acceptance, the ENVID it was sent with)."""
    id = await house.accept(*recipients, **given)
    await house.settled()
    return id, house.attempts.made[-1][1].envid


def test_ours_where_the_sender_gave_none() -> None:
    async def work(house: Whole) -> None:
        id, envid = await sent(house, BOB)
        assert await house.built.tokens.read(envid, "envid") == id

    with_house(work)


def test_the_senders_goes_on_as_it_is() -> None:
    """RFC 3461 §5.2.1 (a)."""

    async def work(house: Whole) -> None:
        assert (await sent(house, BOB, envid="QQ 31"))[1] == "QQ 31"

    with_house(work)


def test_none_where_nobody_is_to_be_told() -> None:
    async def work(house: Whole) -> None:
        assert (await sent(house, BOB, sender=""))[1] == ""

    with_house(work)


def test_what_goes_on_through_an_alias_names_the_child() -> None:
    async def work(house: Whole) -> None:
        id, envid = await sent(house, "out@mx.example")
        child = await house.built.tokens.read(envid, "envid")
        assert child is not None
        parent = "SELECT parent FROM acceptance WHERE id = ?"
        assert await house.store.read(lambda tx: tx.value(parent, (child,))) == id

    with_house(work)


def test_a_notice_is_known_by_its_message_id() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB)
        await house.settled()
        (report,) = await house.inbox("ana")
        message_id = find(report, "Message-ID")[0].decode()
        found = await house.built.tokens.read(message_id, "message-id")
        origin = "SELECT origin, message_id FROM acceptance WHERE id = ?"
        row = await house.store.read(lambda tx: tx.row(origin, (found,)))
        assert row == ("bounce", message_id)

    with_house(work, attempts=Attempts(plan={BOB: [NO]}))


def test_the_key_is_waited_for() -> None:
    async def work(house: Whole) -> None:
        id = await house.accept(BOB)
        house.store.failing = StoreFull("full")
        await asyncio.sleep(10)
        assert not house.attempts.made
        house.store.failing = None
        await house.settled()
        (made,) = house.attempts.made
        assert await house.built.tokens.read(made[1].envid, "envid") == id

    with_house(work)
