"""Prepared: the tree of acceptances that one message becomes, its rows and its claims."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import Whole, whole

from estafeta.intake.prepared import RECIPIENTS_PER_JOB_MAX
from estafeta.mail.envelope import Recipient
from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet
from estafeta.store import accounts

pytestmark = pytest.mark.usefixtures("each_engine")


def with_house(work: Callable[[Whole], Awaitable[Any]], **how: Any) -> None:
    async def main() -> None:
        async with whole(**how) as (house, _):
            await asyncio.sleep(0.1)
            await work(house)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


def test_one_job_for_a_hundred_recipients_of_a_destination() -> None:
    async def work(house: Whole) -> None:
        many = [f"u{n}@remote.example" for n in range(2 * RECIPIENTS_PER_JOB_MAX + 1)]
        await house.accept(*many, "ana@mx.example", "bob@other.example")
        assert all(row[3] for row in await house.rows())
        await house.settled(5)
        sizes = sorted(len(each) for each in house.attempts.addresses)
        assert sizes == [1, 1, RECIPIENTS_PER_JOB_MAX, RECIPIENTS_PER_JOB_MAX]

    with_house(work)


def test_who_finds_no_room_waits() -> None:
    async def work(house: Whole) -> None:
        many = [f"u{n}@remote.example" for n in range(2 * RECIPIENTS_PER_JOB_MAX)]
        await house.accept(*many)
        leased = [row[3] for row in await house.rows()]
        assert leased == [1] * RECIPIENTS_PER_JOB_MAX + [0] * RECIPIENTS_PER_JOB_MAX
        await house.settled(20)
        assert house.attempts.most == {"remote.example": 1}

    with_house(work, per_destination_concurrency=1)


def test_a_mailbox_reached_twice_gets_one_copy() -> None:
    async def work(house: Whole) -> None:
        await house.accept("team@mx.example", "eva@mx.example", "nest@mx.example")
        assert len(await house.inbox("eva")) == 1
        assert len(await house.inbox("ana")) == 1
        fates = [line.split()[2:] for line in await house.ledger()]
        assert sorted(fate for _, fate in fates) == (
            ["duplicate"] * 2 + ["expanded"] * 2 + ["stored"] * 2
        )

    with_house(work)


def test_an_address_elsewhere_is_sent_to_once() -> None:
    """Named twice, or by an alias too. Another wish about reports is another recipient."""

    async def work(house: Whole) -> None:
        bob = "bob@remote.example"
        wish = Recipient(bob, frozenset({"NEVER"}))
        await house.accept(bob, bob, "mixed@mx.example", wish)
        await house.settled(5)
        sent = [address for each in house.attempts.addresses for address in each]
        assert sent == [bob, bob]
        fates = sorted(line.split()[3] for line in await house.ledger() if bob in line)
        assert fates == ["duplicate", "duplicate", "relayed", "relayed"]

    with_house(work)


def test_a_list_named_a_thousand_times_is_expanded_once() -> None:
    """Else a stranger multiplies by its length what he sends."""

    async def work(house: Whole) -> None:
        await house.accept(*["mixed@mx.example"] * 500, *["mixed+x@mx.example"] * 500)
        await house.settled(5)
        assert len(house.attempts.made) == 1
        assert len(await house.ledger()) == 1002
        assert len(await house.inbox("ana")) == 1

    with_house(work)


def test_a_list_named_with_other_wishes_is_another_matter() -> None:
    async def work(house: Whole) -> None:
        await house.accept(Recipient("out@mx.example", frozenset({"NEVER"})), "out@mx.example")
        await house.settled(5)
        wishes = [set(envelope.recipients[0].notify) for _, envelope, _ in house.attempts.made]
        assert wishes == [{"NEVER"}, set()]

    with_house(work)


def test_wishes_travel_through_aliases() -> None:
    async def work(house: Whole) -> None:
        wish = Recipient("out@mx.example", frozenset({"NEVER"}))
        await house.accept(wish, "mixed@mx.example", ret="HDRS", envid="e1", smtputf8=True)
        await house.settled(5)
        first, second = (envelope for _, envelope, _ in house.attempts.made)
        assert first.recipients == (
            Recipient("Bob@remote.example", frozenset({"NEVER"}), "rfc822;out@mx.example"),
        )
        assert second.recipients == (
            Recipient("bob@remote.example", frozenset(), "rfc822;mixed@mx.example"),
        )
        for envelope in (first, second):
            assert (envelope.ret, envelope.envid, envelope.smtputf8) == ("HDRS", "e1", True)
            assert envelope.reverse_path == "ana@mx.example"

    with_house(work)


def test_an_account_that_goes_before_the_unit_is_returned_and_the_others_have_it() -> None:
    async def work(house: Whole) -> None:
        eva = house.accounts["eva"].id
        run_unit, first = house.store.run, []

        async def gone_before(unit: Any, **given: Any) -> Any:
            if not first:
                first.append(unit)
                await run_unit(lambda tx: accounts.remove_account(tx, eva))
            return await run_unit(unit, **given)

        house.store.run = gone_before  # type: ignore[method-assign]
        await house.accept("eva@mx.example", "ana@mx.example")
        await house.settled(20)
        assert await house.ledger() == [
            "submission <ana@mx.example> eva@mx.example returned",
            "submission <ana@mx.example> ana@mx.example stored",
            "bounce <> ana@mx.example stored",
        ]

    with_house(work)


def test_the_body_is_one_for_all() -> None:
    async def work(house: Whole) -> None:
        await house.accept("team@mx.example", "out@mx.example")
        await house.settled(5)
        count = await house.store.read(
            lambda tx: tx.value("SELECT count(DISTINCT body) FROM acceptance")
        )
        assert count == 1

    with_house(work)
