"""Delays: who waits for long is told of once, in one notice, and only whoever asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.queue.test_notices import NEVER, Bounce
from tests.support.whole import MESSAGE, Attempts, Whole, whole

from estafeta.mail.dates import parse_date
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Outcome, Refused, Reply
from estafeta.queue.notices import NoticeSettings
from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet
from estafeta.store import accounts
from estafeta.store.bodies.names import path_of
from estafeta.store.engine import StoreFull, StoreUncertain

pytestmark = pytest.mark.usefixtures("each_engine")

HOUR = 60.0  # as long as it lasts here
BOB, CARL, ELSE = "bob@remote.example", "carl@remote.example", "x@else.example"
BUSY = Deferred(Reply(450, "4.3.2", "busy, try later"), "server-busy", "mx.remote.example")
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.remote.example")
PLAN = {"retry": [1.0, HOUR], "repeat": HOUR, "give_up_after": 36 * HOUR}


def with_house(
    work: Callable[[Whole], Awaitable[Any]],
    plan: dict[str, list[Outcome]] | None = None,
    settings: NoticeSettings | None = None,
    *,
    logged: bool = False,
) -> None:
    """plan: by address; all others are busy for ever."""
    waiting = {each: [BUSY] for each in (BOB, CARL, ELSE, "Bob@remote.example")}

    async def main() -> None:
        attempts = Attempts(plan=waiting | (plan or {}))
        async with whole(attempts=attempts, **PLAN) as (house, _):
            house.built._notices.settings = settings or NoticeSettings(delay_after=4 * HOUR)
            await asyncio.sleep(0.1)
            await work(house)
            await house.balanced()

    with quiet() as lines:
        run(main())
    assert logged or not lines.lines


async def delays(house: Whole, person: str = "ana") -> list[Bounce]:
    found = [Bounce(each) for each in await house.inbox(person)]
    return [each for each in found if each.recipients[0]["Action"] == "delayed"]


def test_four_hours_are_usual() -> None:
    assert NoticeSettings().delay_after == 4 * 3600


def test_one_notice_after_four_hours() -> None:
    async def work(house: Whole) -> None:
        id = await house.accept(BOB, CARL, ELSE)
        await asyncio.sleep(4 * HOUR - 1)
        assert not await delays(house)
        await asyncio.sleep(15)
        (told,) = await delays(house)
        await asyncio.sleep(8 * HOUR)
        assert len(await delays(house)) == 1
        assert await house.events("delay") == ["delay"]
        assert "submission <ana@mx.example> bob@remote.example open" in await house.ledger()
        parent = "SELECT parent FROM acceptance WHERE origin = 'delay'"
        assert await house.store.read(lambda tx: tx.value(parent)) == id
        assert [r["Final-Recipient"] for r in told.recipients] == [
            f"rfc822; {each}" for each in (BOB, CARL, ELSE)
        ]
        first = told.recipients[0]
        assert (first["Action"], first["Status"]) == ("delayed", "4.3.2")
        assert first["Diagnostic-Code"] == "smtp; 450 4.3.2 busy, try later"
        told_at = parse_date(told.whole["Date"]) or 0
        assert 0 < told_at - (parse_date(first["Last-Attempt-Date"]) or 0) < 1.2 * HOUR
        assert first["Will-Retry-Until"] == "Sun, 15 Jun 2025 15:42:40 +0000"
        assert first["X-Estafeta-Cause"] == "server-busy"
        assert told.returned.get_content_type() == "text/rfc822-headers"
        assert b"hello" not in told.octets
        assert told.whole["Subject"] == "Not delivered yet to 3 recipients"
        assert told.whole["Auto-Submitted"] == "auto-replied"
        assert "You need not send it again" in " ".join(told.text.split())
        assert told.data["kind"] == "delay"
        assert {each["permanent"] for each in told.data["recipients"]} == {False}

    with_house(work)


def test_in_the_language_of_the_sender() -> None:
    async def work(house: Whole) -> None:
        ana = house.accounts["ana"].id
        await house.store.run(lambda tx: accounts.set_account(tx, ana, language="es"))
        await house.accept(BOB)
        await asyncio.sleep(5 * HOUR)
        (told,) = await delays(house)
        assert told.whole["Subject"] == f"Todavía no entregado a {BOB}"

    with_house(work)


def test_only_who_waits_still_is_in_it() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, CARL, ELSE)
        await asyncio.sleep(5 * HOUR)
        (told,) = await delays(house)
        assert [r["Final-Recipient"] for r in told.recipients] == [f"rfc822; {ELSE}"]

    with_house(work, {BOB: [BUSY, NO], CARL: []})


@pytest.mark.parametrize(
    ("notify", "told"),
    [("", True), ("DELAY", True), ("FAILURE,DELAY", True), ("FAILURE", False), ("SUCCESS", False)],
)
def test_who_asked_for_something_else_is_not_told(notify: str, told: bool) -> None:
    async def work(house: Whole) -> None:
        await house.accept(Recipient(BOB, frozenset(filter(None, notify.split(",")))))
        await asyncio.sleep(5 * HOUR)
        assert len(await delays(house)) == told

    with_house(work)


def test_nobody_is_told_where_there_is_nobody() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, sender="")
        await house.accept(Recipient(CARL, NEVER))
        await asyncio.sleep(5 * HOUR)
        assert not await house.events("delay")
        # And they do not keep others from being told.
        await house.accept(BOB)
        await asyncio.sleep(5 * HOUR)
        assert len(await delays(house)) == 1

    with_house(work)


def test_off_and_on_again() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB)
        await asyncio.sleep(6 * HOUR)
        assert not await delays(house)
        house.built._notices.settings = NoticeSettings(delay_after=5 * HOUR)
        await asyncio.sleep(HOUR)
        assert len(await delays(house)) == 1
        house.built._notices.settings = NoticeSettings(delay_after=8 * HOUR)
        await asyncio.sleep(6 * HOUR)
        assert len(await delays(house)) == 1

    with_house(work, settings=NoticeSettings(delay_after=0))


def test_an_alias_is_told_of_once_and_by_its_own_name() -> None:
    async def work(house: Whole) -> None:
        for target in ("bob@remote.example", "x@else.example"):
            await house.store.run(
                lambda tx, target=target: accounts.add_alias(tx, "far@mx.example", target)
            )
        await house.accept("far@mx.example")
        await asyncio.sleep(5 * HOUR)
        (told,) = await delays(house)
        (r,) = told.recipients
        assert r["Final-Recipient"] == "rfc822; far@mx.example"
        assert told.whole["Subject"] == "Not delivered yet to far@mx.example"
        assert b"remote.example" not in told.octets
        assert b"else.example" not in told.octets

    with_house(work)


def test_who_guesses_where_an_alias_leads_is_not_told_that_he_is_right() -> None:
    async def work(house: Whole) -> None:
        await house.accept(Recipient("out@mx.example", orcpt="rfc822;Bob@remote.example"))
        await asyncio.sleep(5 * HOUR)
        (told,) = await delays(house)
        (r,) = told.recipients
        assert r["Original-Recipient"] == "rfc822; Bob@remote.example"
        assert r["Final-Recipient"] == "rfc822; out@mx.example"
        assert r["Remote-MTA"] is None
        assert told.octets.count(b"remote.example") == 1

    with_house(work)


def test_what_was_never_tried_says_so() -> None:
    async def work(house: Whole) -> None:
        house.attempts.gates["remote.example"] = asyncio.Event()
        await house.accept(BOB)
        await asyncio.sleep(5 * HOUR)
        (told,) = await delays(house)
        (r,) = told.recipients
        assert r["X-Estafeta-Cause"] == "still-trying"
        assert r["Last-Attempt-Date"] is None

    with_house(work)


def test_a_message_without_its_body_does_not_keep_the_others() -> None:
    async def work(house: Whole) -> None:
        id = await house.accept(BOB)
        await house.accept(CARL)
        body = "SELECT body FROM acceptance WHERE id = ?"
        lost = await house.store.read(lambda tx: tx.value(body, (id,)))
        row = await house.store.read(
            lambda tx: tx.row("SELECT data FROM body_data WHERE id = ?", (lost,))
        )
        await asyncio.sleep(2 * HOUR)
        await house.store.run(lambda tx: tx.run("DELETE FROM body WHERE id = ?", (lost,)))
        await asyncio.sleep(3 * HOUR)
        told = [each.recipients[0]["Final-Recipient"] for each in await delays(house)]
        assert told == [f"rfc822; {CARL}"]
        size = len(row[0])
        await house.store.run(
            lambda tx: tx.run("INSERT INTO body (id, size) VALUES (?, ?)", (lost, size))
        )

    with_house(work, logged=True)


def test_nor_does_one_whose_large_body_is_lost() -> None:
    """Its row is there; that the file is not shows when it is read."""

    async def work(house: Whole) -> None:
        large = MESSAGE + (b"y" * 70 + b"\r\n") * 6000
        await house.accept(BOB, message=large)
        (lost,) = await house.store.read(lambda tx: tx.row("SELECT id FROM body WHERE filed = 1"))
        octets = house.world.disk.read(path_of(lost), 0, len(large) * 2)
        house.world.disk.remove(path_of(lost))
        await house.accept(CARL)
        await asyncio.sleep(5 * HOUR)
        told = [each.recipients[0]["Final-Recipient"] for each in await delays(house)]
        assert told == [f"rfc822; {CARL}"]
        again = house.world.disk.create(path_of(lost))
        again.write(octets)
        again.close()

    with_house(work, logged=True)


@pytest.mark.parametrize("trouble", [StoreFull("full"), StoreUncertain("the answer was lost")])
def test_told_once_whatever_the_store_does(trouble: Exception) -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB)
        await asyncio.sleep(4 * HOUR - 1)
        if isinstance(trouble, StoreUncertain):
            house.store.losing_answers = True
        else:
            house.store.failing = trouble
        await asyncio.sleep(HOUR / 2)
        house.store.losing_answers = False
        house.store.failing = None
        await asyncio.sleep(HOUR / 2)
        assert len(await delays(house)) == 1
        assert await house.events("delay") == ["delay"]

    with_house(work, logged=True)


def test_two_workers_tell_once() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB)
        house.built.sender._telling.cancel()  # type: ignore[union-attr]
        await asyncio.sleep(5 * HOUR)
        one, other = house.built._delays(), house.built._delays()
        assert await asyncio.gather(one.tell_next(), other.tell_next()) == [True, True]
        assert not await one.tell_next()
        assert len(await delays(house)) == 1

    with_house(work)


def test_who_gets_it_while_the_notice_is_written_is_not_in_it() -> None:
    async def work(house: Whole) -> None:
        house.built.sender._telling.cancel()  # type: ignore[union-attr]
        await house.accept(BOB, ELSE)
        await asyncio.sleep(5 * HOUR)
        delayed = house.built._notices.delayed

        async def slow(*given: Any) -> Any:
            made = await delayed(*given)
            house.attempts.plan[ELSE] = []
            await asyncio.sleep(HOUR)
            return made

        house.built._notices.delayed = slow  # type: ignore[method-assign]
        teller = house.built._delays()
        assert await teller.tell_next()
        assert not await delays(house)
        assert await teller.tell_next()
        (told,) = await delays(house)
        assert [r["Final-Recipient"] for r in told.recipients] == [f"rfc822; {BOB}"]

    with_house(work)
