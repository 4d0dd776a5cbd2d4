"""Notices: reports as their receiver reads them, parsed by the standard library's email."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import random
from collections.abc import Awaitable, Callable
from email.message import EmailMessage, Message
from typing import Any, cast

import pytest
from tests.support.strange import strange
from tests.support.whole import MESSAGE, Attempts, Whole, whole

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Delivered, Looped, Outcome, Refused, Reply
from estafeta.queue.notices import NoticeSettings
from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet
from estafeta.store import accounts

pytestmark = pytest.mark.usefixtures("each_engine")

BOB, CARL, DORA = "bob@remote.example", "carl@remote.example", "dora@remote.example"
REMOTE = "mx.remote.example"
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "mailbox-full", REMOTE)
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", REMOTE)
NEVER = frozenset({"NEVER"})


def with_house(
    work: Callable[[Whole], Awaitable[Any]],
    settings: NoticeSettings | None = None,
    **plan: list[Outcome],
) -> None:
    """plan: names as keyword, of remote.example."""
    attempts = Attempts(plan={f"{name}@remote.example": each for name, each in plan.items()})

    async def main() -> None:
        async with whole(attempts=attempts) as (house, _):
            house.built._notices.settings = settings or NoticeSettings()
            await asyncio.sleep(0.1)
            await work(house)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


class Bounce:
    """A report, taken apart."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        parsed = email.message_from_bytes(octets, policy=email.policy.default)
        self.whole = cast(EmailMessage, parsed)
        assert self.whole.get_content_type() == "multipart/report"
        assert self.whole.get_param("report-type") == "delivery-status"
        self.said, status, self.returned = cast(list[EmailMessage], [*self.whole.iter_parts()])
        self.text = self._body("plain")
        self.html = self._body("html")
        self.message, *self.recipients = cast(list[Message], status.get_payload())

    @property
    def data(self) -> Any:
        """The part for programs."""
        (found,) = self.said.iter_attachments()
        assert found.get_content_type() == "application/json"
        return json.loads(found.get_content())

    def _body(self, form: str) -> str:
        body = self.whole.get_body((form,))
        assert body is not None
        return str(body.get_content())


async def bounced(house: Whole, *recipients: str | Recipient, **given: Any) -> Bounce:
    """Accepts, waits until all has ended, and reads ana's only message."""
    await house.accept(*recipients, **given)
    await house.settled(1000)
    (found,) = await house.inbox("ana")
    return Bounce(found)


def test_one_recipient() -> None:
    async def work(house: Whole) -> None:
        b = await bounced(house, BOB)
        assert b.octets.startswith(b"Return-Path: <>\r\nDelivered-To: ana@mx.example\r\n")
        assert b.whole["To"] == "ana@mx.example"
        assert b.whole["From"] == "MAILER-DAEMON <eva@mx.example>"
        assert b.whole["Auto-Submitted"] == "auto-replied"
        assert b.whole["In-Reply-To"] == "<one@client.example>"
        assert BOB in b.whole["Subject"]
        assert BOB in b.text
        assert "550 5.1.1 no such user" in b.text
        assert "“one”" in b.text or '"one"' in b.text
        assert b.message["Reporting-MTA"] == "dns; mx.example"
        assert b.message["Original-Envelope-Id"] is None
        assert b.message["Arrival-Date"] == "Sun, 15 Jun 2025 15:06:40 +0000"
        (r,) = b.recipients
        assert r["Final-Recipient"] == f"rfc822; {BOB}"
        assert r["Original-Recipient"] is None
        assert (r["Action"], r["Status"]) == ("failed", "5.1.1")
        assert r["Remote-MTA"] == f"dns; {REMOTE}"
        assert r["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
        assert r["X-Estafeta-Cause"] == "unknown-user"
        assert b.returned.get_content_type() == "message/rfc822"
        assert MESSAGE in b.octets

    with_house(work, bob=[NO])


def test_a_host_is_named_without_its_address() -> None:
    """RFC 3464 §2.3.5, and with it to people."""

    async def work(house: Whole) -> None:
        b = await bounced(house, BOB)
        assert b.recipients[0]["Remote-MTA"] == f"dns; {REMOTE}"
        assert b.data["recipients"][0]["host"] == REMOTE
        assert f"{REMOTE} [192.0.2.9]:25" in b.text

    with_house(work, bob=[Refused(Reply(550, "5.1.1", "no"), "other", f"{REMOTE} [192.0.2.9]:25")])


def test_all_that_failed_together_are_in_one() -> None:
    async def work(house: Whole) -> None:
        b = await bounced(house, BOB, CARL, DORA)
        assert [r["Final-Recipient"] for r in b.recipients] == [f"rfc822; {BOB}", f"rfc822; {DORA}"]
        assert [r["Status"] for r in b.recipients] == ["5.1.1", "5.4.6"]
        assert CARL not in b.text
        fates = [line.split()[2:] for line in await house.ledger()]
        assert fates[:3] == [[BOB, "returned"], [CARL, "relayed"], [DORA, "returned"]]

    with_house(work, bob=[NO], dora=[Looped(Reply(554, "5.4.6", "it comes back"))])


def test_those_that_fail_later_are_in_another() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, CARL)
        await house.settled(1000)
        first, second = (Bounce(each) for each in await house.inbox("ana"))
        assert BOB in first.text
        assert CARL not in first.text
        assert CARL in second.text
        assert BOB not in second.text

    with_house(work, bob=[NO], carl=[BUSY, NO])


def test_given_up() -> None:
    async def work(house: Whole) -> None:
        b = await bounced(house, BOB)
        (r,) = b.recipients
        assert (r["Action"], r["Status"]) == ("failed", "5.2.0")
        assert r["Diagnostic-Code"] == "smtp; 450 4.2.0 busy"
        assert r["X-Estafeta-Cause"] == "mailbox-full"
        assert "3" in b.text  # how often it was tried

    with_house(work, bob=[BUSY])


@pytest.mark.parametrize(
    ("status", "final"), [("", "5.4.7"), ("4.0.0", "5.4.7"), ("4.4.1", "5.4.1"), ("4.7.1", "5.7.1")]
)
def test_a_status_that_is_final(status: str, final: str) -> None:
    """RFC 3464 §2.3.4: what has failed for good does not bear 4.x.x."""

    async def work(house: Whole) -> None:
        b = await bounced(house, BOB)
        assert b.recipients[0]["Status"] == final

    with_house(work, bob=[Deferred(Reply(451, status, "later"), "busy", REMOTE)])


def test_ret_envid_and_orcpt() -> None:
    async def work(house: Whole) -> None:
        wish = Recipient(BOB, frozenset({"FAILURE"}), "rfc822;bobby@shop.example")
        b = await bounced(house, wish, ret="HDRS", envid="QQ314159")
        assert b.message["Original-Envelope-Id"] == "QQ314159"
        (r,) = b.recipients
        assert r["Original-Recipient"] == "rfc822; bobby@shop.example"
        assert "bobby@shop.example" in b.text
        assert b.returned.get_content_type() == "text/rfc822-headers"
        assert b"Subject: one" in b.octets
        assert b"hello" not in b.octets

    with_house(work, bob=[NO])


def test_who_is_behind_an_alias_is_not_told() -> None:
    async def work(house: Whole) -> None:
        b = await bounced(house, "out@mx.example")
        assert "out@mx.example" in b.text
        assert b.recipients[0]["Final-Recipient"] == "rfc822; out@mx.example"
        assert b"remote.example" not in b.octets.lower()

    words = "<BOB@Remote.Example> (bob): no such user at mail.remote.example, says remote.example."
    refused = Refused(Reply(550, "5.1.1", words), "unknown-user", REMOTE)
    with_house(work, None, Bob=[refused])


def test_nor_by_where_it_is_where_the_sender_named_another_address() -> None:
    """An ORCPT of another kind says nothing to a person; the ledger knows what was written."""

    async def work(house: Whole) -> None:
        wish = Recipient("out@mx.example", orcpt="x400;/c=es/s=out")
        b = await bounced(house, wish)
        (r,) = b.recipients
        assert r["Original-Recipient"] == "x400; /c=es/s=out"
        assert r["Final-Recipient"] == "rfc822; out@mx.example"
        assert r["Remote-MTA"] is None
        assert b.data["recipients"][0]["address"] == "out@mx.example"
        assert b"remote.example" not in b.octets.lower()

    words = "<bob@remote.example>: unknown"
    refused = Refused(Reply(550, "5.1.1", words), "unknown-user", REMOTE)
    with_house(work, None, Bob=[refused])


@pytest.mark.parametrize("wanted", ["FAILURE", "SUCCESS"])
def test_who_guesses_where_an_alias_leads_is_not_told_that_he_is_right(wanted: str) -> None:
    told = []

    async def work(house: Whole) -> None:
        for guess in ("Bob@remote.example", "Eve@remote.example"):
            wish = Recipient("out@mx.example", frozenset({wanted}), f"rfc822;{guess}")
            await house.accept(wish)
            await house.settled(1000)
            b = Bounce((await house.inbox("ana"))[-1])
            (r,) = b.recipients
            assert r["Original-Recipient"] == f"rfc822; {guess}"
            assert r["Final-Recipient"] == "rfc822; out@mx.example"
            assert r["Remote-MTA"] is None
            assert "remote.example" not in f"{b.text}{r['Diagnostic-Code']}".lower()
            told.append((r["Action"], r["Diagnostic-Code"], r["Status"]))
        assert told[0] == told[1]

    words = "<Bob@remote.example>: so says mx.remote.example"
    outcomes: dict[str, list[Outcome]] = {
        "FAILURE": [Refused(Reply(550, "5.1.1", words), "unknown-user", REMOTE)] * 2,
        "SUCCESS": [Delivered(Reply(250, "2.1.5", words), REMOTE)] * 2,
    }
    with_house(work, None, Bob=outcomes[wanted])


def test_success_behind_an_alias_is_told_of_the_alias() -> None:
    async def work(house: Whole) -> None:
        b = await bounced(house, Recipient("out@mx.example", frozenset({"SUCCESS"})))
        (r,) = b.recipients
        assert (r["Action"], r["Final-Recipient"]) == ("relayed", "rfc822; out@mx.example")
        assert b"remote.example" not in b.octets.lower()

    taken = Delivered(Reply(250, "2.1.5", "bob@remote.example taken"), REMOTE)
    with_house(work, None, Bob=[taken])


def test_a_null_reverse_path_is_never_returned_to() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, sender="")
        await house.settled(10)
        assert await house.ledger() == [f"submission <> {BOB} dropped double-bounce"]
        assert not await house.inbox("eva")

    with_house(work, NoticeSettings(double_bounce="drop"), bob=[NO])


def test_what_nobody_else_can_get_is_the_postmasters() -> None:
    async def work(house: Whole) -> None:
        eva = house.accounts["eva"].id
        await house.store.run(lambda tx: accounts.set_account(tx, eva, language="es"))
        await house.accept(Recipient(BOB, NEVER), CARL, sender="")
        await house.settled(10)
        assert await house.ledger() == [
            f"submission <> {BOB} expanded",
            f"submission <> {CARL} relayed",
            "double-bounce <> eva@mx.example stored",
        ]
        b = Bounce((await house.inbox("eva"))[0])
        assert b.whole["To"] == "eva@mx.example"
        assert "dirección de retorno" in " ".join(b.text.split())
        assert [r["Final-Recipient"] for r in b.recipients] == [f"rfc822; {BOB}"]
        assert MESSAGE in b.octets

    with_house(work, bob=[NO])


def test_a_postmaster_without_a_mailbox_here_gets_nothing() -> None:
    async def work(house: Whole) -> None:
        house.built._notices.postmaster = "postmaster@remote.example"
        await house.accept(BOB, sender="")
        await house.settled(10)
        assert await house.ledger() == [f"submission <> {BOB} dropped double-bounce"]

    with_house(work, bob=[NO])


def test_reports_that_nobody_misses_are_dropped() -> None:
    """Of success: it has no return address, and what it told is in the ledger."""

    async def work(house: Whole) -> None:
        wish = Recipient("eva@mx.example", frozenset({"SUCCESS"}))
        await house.accept(wish, sender=DORA)
        await house.settled(10)
        assert (await house.ledger())[-1] == f"success <> {DORA} dropped double-bounce"

    with_house(work, dora=[NO])


@pytest.mark.parametrize("notify", [NEVER, frozenset({"SUCCESS"}), frozenset({"DELAY"})])
def test_who_did_not_ask_for_failures_is_not_told(notify: frozenset[str]) -> None:
    async def work(house: Whole) -> None:
        await house.accept(Recipient(BOB, notify), CARL)
        await house.settled(10)
        (found,) = await house.inbox("ana")
        assert [r["Final-Recipient"] for r in Bounce(found).recipients] == [f"rfc822; {CARL}"]
        assert (await house.ledger())[0].endswith("dropped notify-never")

    with_house(work, bob=[NO], carl=[NO])


def test_a_bounce_that_bounces_ends() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, sender=DORA)
        await house.settled(10)
        assert await house.ledger() == [
            f"submission <{DORA}> {BOB} returned",
            f"bounce <> {DORA} expanded",
            "double-bounce <> eva@mx.example stored",
        ]
        _, envelope, _ = house.attempts.made[1]
        assert envelope.reverse_path == ""
        assert envelope.recipients[0].notify == NEVER

    with_house(work, bob=[NO], dora=[NO])


def test_a_bounce_to_nobody_here_ends() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, sender="gone@mx.example")
        await house.settled(10)
        assert await house.ledger() == [
            f"submission <gone@mx.example> {BOB} returned",
            "bounce <> gone@mx.example dropped double-bounce",
        ]

    with_house(work, NoticeSettings(double_bounce="drop"), bob=[NO])


def test_a_bounce_to_nobody_here_is_the_postmasters() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, sender="gone@mx.example")
        await house.settled(10)
        assert await house.ledger() == [
            f"submission <gone@mx.example> {BOB} returned",
            "bounce <> eva@mx.example stored",
        ]
        assert Bounce((await house.inbox("eva"))[0]).whole["To"] == "gone@mx.example"

    with_house(work, bob=[NO])


def test_a_sender_with_an_address_in_utf8() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, sender="josé@remote.example", smtputf8=True)
        await house.settled(10)
        _, envelope, content = house.attempts.made[1]
        assert envelope.smtputf8
        assert b"Content-Type: message/global-delivery-status" in content
        assert "To: josé@remote.example".encode() in content

    with_house(work, bob=[NO])


def test_in_the_language_of_the_sender() -> None:
    async def work(house: Whole) -> None:
        ana = house.accounts["ana"].id
        await house.store.run(lambda tx: accounts.set_account(tx, ana, language="es"))
        b = await bounced(house, BOB)
        assert b.said["Content-Language"] == "es"
        assert b.data["envelope"]["language"] == "es"
        assert "mensaje" in b.text

    with_house(work, bob=[NO])


@pytest.mark.parametrize(("reports", "told"), [(False, True), (True, False)])
def test_success_where_the_next_server_does_not_report(reports: bool, told: bool) -> None:
    """RFC 3461 §5.2.2."""

    async def work(house: Whole) -> None:
        await house.accept(Recipient(BOB, frozenset({"SUCCESS"})), CARL)
        await house.settled(10)
        found = [Bounce(each) for each in await house.inbox("ana")]
        assert len(found) == told
        if found:
            (r,) = found[0].recipients
            assert (r["Action"], r["Status"]) == ("relayed", "2.0.0")
            assert r["Final-Recipient"] == f"rfc822; {BOB}"
            assert found[0].returned.get_content_type() == "text/rfc822-headers"
        assert (await house.ledger())[0].endswith("relayed")

    with_house(work, bob=[Delivered(Reply(250, "2.0.0", "taken"), REMOTE, reports=reports)])


def test_success_here() -> None:
    async def work(house: Whole) -> None:
        wish = frozenset({"SUCCESS"})
        await house.accept(Recipient("eva@mx.example", wish), Recipient("sales@mx.example", wish))
        await house.settled(10)
        found = [each for each in await house.inbox("ana") if b"delivery-status" in each]
        (report,) = (Bounce(each) for each in found)
        assert [r["Final-Recipient"] for r in report.recipients] == [
            "rfc822; eva@mx.example",
            "rfc822; sales@mx.example",
        ]
        assert {r["Action"] for r in report.recipients} == {"delivered"}

    with_house(work)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_message_holds_its_report_is_made(seed: int) -> None:
    dice = random.Random(seed)

    async def work(house: Whole) -> None:
        for n in range(40):
            wish = frozenset({"SUCCESS", "FAILURE"})
            orcpt = dice.choice(("", "rfc822;ä@b", "utf-8;josé@b", "x-odd;\x7f", ";", "rfc822;"))
            recipients = [Recipient(a, wish, orcpt) for a in (BOB, "eva@mx.example", "ñ@c.example")]
            sender = dice.choice(("ana@mx.example", "josé@c.example", '"o d d"@c.example'))
            await house.accept(*recipients, sender=sender, message=strange(dice), envid="é\x01"[:n])
        await house.settled(1000)
        fates = {line.split()[-1] for line in await house.ledger()}
        assert fates == {"relayed", "returned", "stored"}

    with_house(work, bob=[NO])
