"""Handling: operators and senders at work beside a running queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import Attempts, Whole, whole

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Outcome, Refused, Reply
from estafeta.queue.hand import Cancel, Chosen, Conflict, Hold, Release, Retry, Unknown
from estafeta.queue.handling import Hand, Invalid
from estafeta.queue.listing import Filter, Page, page
from estafeta.sim.loop import run
from estafeta.store import ledger
from estafeta.store.ids import parse_queue_id, queue_id

pytestmark = pytest.mark.usefixtures("each_engine")

BOB, CARL, DORA = "bob@remote.example", "carl@remote.example", "dora@other.example"
BILL = "bill@remote.example"
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "busy", "mx.remote.example")
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.remote.example")
WHO = "root (command line)"


def with_house(
    work: Callable[[Whole, Hand], Awaitable[None]],
    plan: dict[str, list[Outcome]] | None = None,
    **how: Any,
) -> None:
    async def main() -> None:
        async with whole(attempts=Attempts(plan=plan or {}), **how) as (house, _):
            await asyncio.sleep(0.1)  # the runner has begun
            await work(house, house.built.hand)
            await house.balanced()

    run(main())


async def fates(house: Whole, id: int) -> list[Any]:
    return [e.fate for e in await house.store.read(lambda tx: ledger.entries(tx, id))]


async def listed(house: Whole, cursor: str = "", limit: int = 100, **wanted: Any) -> Page:
    return await house.store.read(lambda tx: page(tx, Filter(**wanted), cursor=cursor, limit=limit))


def test_retry_is_at_once() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(BOB)
        await asyncio.sleep(2)
        house.attempts.plan.clear()
        done = await hand.touch(Retry(), Chosen(acceptance=id), WHO)
        assert done.counts == {"due": 1}
        await house.settled(1)
        assert len(house.attempts.made) == 2

    with_house(work, {BOB: [BUSY]})


def test_what_is_held_waits_for_its_release() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(BOB, CARL)
        await asyncio.sleep(2)
        house.attempts.plan.clear()
        await hand.touch(Hold("look at it first"), Chosen(acceptance=id, addresses=(BOB,)), WHO)
        await asyncio.sleep(2000)
        (row,) = (await listed(house)).rows
        assert (row.recipient, row.state, row.reason) == (BOB, "held", "look at it first")
        await hand.touch(Release(), Chosen(destination="remote.example"), WHO)
        await house.settled(1)

    with_house(work, {BOB: [BUSY], CARL: [BUSY]})


def test_one_that_is_being_sent_is_cancelled_if_that_does_not_succeed() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        house.attempts.gates["remote.example"] = gate = asyncio.Event()
        id = await house.accept(BOB, CARL)
        await asyncio.sleep(1)
        done = await hand.touch(Cancel("wrong file"), Chosen(acceptance=id), WHO)
        assert done.counts == {"asked": 2}
        assert {row.state for row in (await listed(house)).rows} == {"sending"}
        gate.set()
        await house.settled(5)
        assert len(house.attempts.made) == 1
        bob, carl = await fates(house, id)
        assert bob.who == f"{WHO}, wrong file"
        assert type(carl).__name__ == "Relayed"
        assert await house.inbox("ana") == []  # nobody is told

    with_house(work, {BOB: [BUSY]})


def test_a_message_whose_worker_died_is_cancelled_by_the_next() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        house.attempts.gates["remote.example"] = asyncio.Event()
        id = await house.accept(BOB)
        await asyncio.sleep(1)
        await hand.touch(Cancel(), Chosen(acceptance=id), WHO)
        await house.store.run(lambda tx: tx.run("UPDATE queue SET lease = NULL, due = 0") and None)
        from estafeta.queue import rows

        await house.store.run(lambda tx: rows.expect(tx, "remote.example", 0))
        await house.store.run(lambda tx: tx.hint(rows.HINT))
        await asyncio.sleep(1)
        assert (await fates(house, id))[0].who == WHO
        house.attempts.gates["remote.example"].set()
        await house.settled(5)
        assert "late-outcome" in await house.events()

    with_house(work)


def test_the_recipient_is_corrected_and_nobody_gets_it_twice() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(Recipient(BOB, frozenset({"FAILURE"}), f"rfc822;{BOB}"), DORA)
        await asyncio.sleep(2)
        done = await hand.correct(id, [("Bob@remote.example", BILL)], WHO)
        await house.settled(5)
        assert house.attempts.addresses == [[BOB], [DORA], [BILL]]
        assert house.attempts.made[-1][2] == house.attempts.made[0][2]  # the same octets
        # Whoever reports of it names the address that is meant now.
        (again,) = house.attempts.made[-1][1].recipients
        assert again == Recipient(BILL, frozenset({"FAILURE"}))
        child = parse_queue_id(done.child)
        found = await house.store.read(lambda tx: ledger.acceptance(tx, child))
        assert (found.parent, found.origin) == (id, "correction")
        assert (await fates(house, id))[0].who == f"{WHO}, corrected to {BILL}"

    with_house(work, {BOB: [BUSY]})


def test_those_that_failed_are_sent_to_again_and_nobody_else() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(BOB, CARL, DORA)
        await house.settled(5)
        assert len(await house.inbox("ana")) == 1  # the bounce
        house.attempts.plan.clear()
        house.attempts.made.clear()
        await hand.resend(id, [], WHO)
        await house.settled(5)
        assert house.attempts.addresses == [[BOB, CARL]]
        with pytest.raises(Conflict, match="already"):
            await hand.resend(id, [BOB], WHO)
        with pytest.raises(Conflict, match="has been taken"):
            await hand.resend(id, [DORA], WHO)

    with_house(work, {BOB: [NO], CARL: [NO]})


def test_an_address_of_ours_is_placed_and_one_that_is_nobody_refused() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(BOB)
        await asyncio.sleep(2)
        with pytest.raises(Invalid, match=r"550 5\.1\.1"):
            await hand.correct(id, [(BOB, "nobody@mx.example")], WHO)
        assert len(await house.rows()) == 1  # nothing has happened
        await hand.correct(id, [(BOB, "eva@mx.example")], WHO)
        assert await house.rows() == []
        assert len(await house.inbox("eva")) == 1

    with_house(work, {BOB: [BUSY]})


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([], "at least one"),
        ([(BOB, "no address")], "is not an address"),
        ([(BOB, BOB)], "its address already"),
        ([("x@y.example", BILL)], "is no recipient of"),
        ([(BOB, BILL), (BOB, CARL)], "each recipient"),
    ],
)
def test_corrections_that_cannot_be_meant(pairs: list[tuple[str, str]], why: str) -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(BOB)
        await asyncio.sleep(2)
        with pytest.raises(Invalid, match=why):
            await hand.correct(id, pairs, WHO)
        assert (await fates(house, id)) == [None]

    with_house(work, {BOB: [BUSY]})


def test_what_belongs_to_somebody_else_does_not_exist() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(BOB)
        await asyncio.sleep(2)
        for account in (house.accounts["ana"].id, house.accounts["eva"].id):
            with pytest.raises(Unknown):
                await hand.touch(Retry(), Chosen(acceptance=id, account=account), WHO)
            with pytest.raises(Unknown):
                await hand.correct(id, [(BOB, BILL)], WHO, account=account)
            with pytest.raises(Unknown):
                await hand.resend(id, [], WHO, account=account)
            assert (await hand.touch(Cancel(), Chosen(account=account), WHO)).counts == {}
        with pytest.raises(Unknown, match=queue_id(id + 1)):
            await hand.touch(Retry(), Chosen(acceptance=id + 1), WHO)
        assert (await fates(house, id)) == [None]

    with_house(work, {BOB: [BUSY]})


def test_what_has_ended_is_not_touched() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        id = await house.accept(BOB)
        await house.settled(5)
        for act in (Retry(), Hold("x"), Release(), Cancel()):
            with pytest.raises(Conflict, match="is not in the queue"):
                await hand.touch(act, Chosen(acceptance=id), WHO)

    with_house(work)


def test_the_list_can_be_narrowed_and_leafed_through() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        first = await house.accept(BOB, DORA)
        await asyncio.sleep(1000)
        second = await house.accept(CARL, sender="eva@mx.example")
        await asyncio.sleep(1)
        await hand.touch(Hold("x"), Chosen(acceptance=first, addresses=(BOB,)), WHO)
        await hand.suspend("other.example", "they asked", WHO)

        async def found(**wanted: Any) -> list[str]:
            return [row.recipient for row in (await listed(house, **wanted)).rows]

        assert await found() == [BOB, DORA, CARL]
        assert await found(acceptance=second) == [CARL]
        assert await found(sender="EVA@mx.example") == [CARL]
        assert await found(recipient="Dora@other.example") == [DORA]
        assert await found(destination="remote.example") == [BOB, CARL]
        assert await found(state="held") == [BOB]
        assert await found(state="suspended") == [DORA]
        assert await found(state="waiting") == [CARL]
        assert await found(state="sending") == []
        assert await found(cause="busy") == [BOB, DORA, CARL]
        assert await found(cause="greylisted") == []
        now = int(house.world.clock.now() * 1000)
        assert await found(older_than=now - 500_000) == [BOB, DORA]
        assert await found(account=house.accounts["ana"].id) == []
        one = await listed(house, limit=1)
        two = await listed(house, cursor=one.next, limit=1)
        three = await listed(house, cursor=two.next, limit=1)
        assert [p.rows[0].recipient for p in (one, two, three)] == [BOB, DORA, CARL]
        assert three.next == ""
        await hand.suspend("*", "all of it", WHO)
        assert await found(state="suspended") == [DORA, CARL]
        assert await found(state="waiting") == []

    with_house(work, {BOB: [BUSY], CARL: [BUSY], DORA: [BUSY]}, retry=[50_000.0])


def test_one_that_is_about_to_be_returned_can_be_cancelled() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        house.attempts.gates["other.example"] = gate = asyncio.Event()
        id = await house.accept(BOB, DORA)
        await asyncio.sleep(1)
        (row,) = (await listed(house, state="returning")).rows
        assert (row.recipient, row.destination, row.cause) == (BOB, "remote.example", NO.cause)
        assert [r.recipient for r in (await listed(house, state="sending")).rows] == [DORA]
        assert (await listed(house, state="waiting")).rows == []
        done = await hand.touch(Cancel(), Chosen(acceptance=id, addresses=(BOB,)), WHO)
        assert done.counts == {"cancelled": 1}
        gate.set()
        await house.settled(5)
        assert await house.inbox("ana") == []

    with_house(work, {BOB: [NO]})


def test_who_failed_is_told_of_though_everything_is_suspended() -> None:
    async def work(house: Whole, hand: Hand) -> None:
        house.attempts.gates["other.example"] = gate = asyncio.Event()
        await house.accept(BOB, DORA)
        await asyncio.sleep(1)
        await hand.suspend("*", "", WHO)
        await asyncio.sleep(100)
        assert len(await house.inbox("ana")) == 1
        gate.set()
        await house.settled(5)

    with_house(work, {BOB: [NO]})


@pytest.mark.parametrize("cursor", ["x", "ZZZZZZZZZZZZZ.0", "0000000000000.x", "0000000000000.²"])
def test_a_cursor_that_is_none(cursor: str) -> None:
    async def work(house: Whole, _: Hand) -> None:
        with pytest.raises(ValueError, match=r"was expected|larger than any"):
            await listed(house, cursor=cursor)

    with_house(work)
