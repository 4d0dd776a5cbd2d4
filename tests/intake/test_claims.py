"""Reports from outside about messages of ours: claims beside the ledger, never fates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.explain.reading.letters import report
from tests.support.whole import Talk, Whole, whole

from estafeta.intake import claims as module
from estafeta.intake.limits import CLAIM_SECONDS_MAX
from estafeta.mail.outcome import Refused, Reply
from estafeta.office.journey import Journey, tell
from estafeta.office.story import read_story
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.store import journey
from estafeta.store.ledger import ALL_RECIPIENTS

pytestmark = pytest.mark.usefixtures("each_engine")

ANA, EVA, BOB, CARL = (
    "ana@mx.example",
    "eva@mx.example",
    "bob@remote.example",
    "carl@other.example",
)
ORIGINAL = "<one@client.example>"


def status(*recipients: str, envid: str = "", action: str = "failed") -> str:
    head = "Reporting-MTA: dns; mx.remote.example\n"
    head += f"Original-Envelope-Id: {envid}\n" if envid else ""
    blocks = (
        f"Final-Recipient: rfc822; {each}\nAction: {action}\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 nobody here\n"
        for each in recipients
    )
    return "\n".join((head, *blocks))


def dsn(
    *recipients: str, envid: str = "", returned: str = ORIGINAL, action: str = "failed"
) -> bytes:
    header = f"From: {ANA}\nTo: {BOB}\nSubject: hello\n"
    header += f"Message-ID: {returned}\n" if returned else ""
    return report(
        ("text/plain", "It was not delivered.\n"),
        ("message/delivery-status", status(*recipients, envid=envid, action=action)),
        ("text/rfc822-headers", header),
    )


async def arrives(
    house: Whole, net: SimNet, message: bytes, *to: str, sender: str = "", door: str = "mx"
) -> None:
    talk = Talk(await house.connect(net, door))
    if door == "lmtp":
        assert (await talk.reply()).startswith("220")
        assert (await talk.say("LHLO client.example")).startswith("250")
    else:
        await talk.begin()
    answer = await talk.hand(sender, to or (ANA,), message)
    assert answer.startswith("250"), answer
    await talk.say("QUIT")


async def events(house: Whole, id: int) -> list[journey.Event]:
    found = await house.store.inner.read(lambda tx: journey.journey(tx, id))
    return [event for event in found.events if event.kind == "claim"]


async def told(house: Whole, id: int, language: str = "en") -> Journey:
    bodies = house.built.bodies
    return tell(await house.store.inner.read(lambda tx: read_story(tx, bodies, id)), language)


async def sent(house: Whole, *recipients: str, **how: Any) -> tuple[int, str]:
    """A message that went out; its id, and the ENVID that the other server got."""
    id = await house.accept(*recipients, **how)
    await house.settled()
    return id, house.attempts.made[-1][1].envid


def in_house(work: Callable[[Whole, SimNet], Awaitable[None]]) -> None:
    async def main() -> None:
        async with whole() as (house, net):
            await work(house, net)
            await house.balanced()

    with quiet():
        run(main())


def test_our_token_in_envid_proves_it() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB, CARL)
        other, _ = await sent(house, CARL)
        await arrives(house, net, dsn(BOB, envid=envid, returned="<x@else.example>"))
        (event,) = await events(house, id)
        assert await events(house, other) == []
        assert event.n == 0
        said = event.detail
        assert (said["by"], said["proven"], said["kind"]) == ("envid", True, "bounce")
        assert (said["cause"], said["code"], said["status"]) == ("unknown-user", 550, "5.1.1")
        assert (said["address"], said["text"]) == (BOB, "nobody here")
        # whatever it says, nothing became of anybody but what the ledger has
        lines = await house.ledger()
        assert lines[:2] == [
            f"submission <{ANA}> {BOB} relayed",
            f"submission <{ANA}> {CARL} relayed",
        ]
        assert lines[-1] == f"smtp <> {ANA} stored"
        assert len(await house.inbox("ana")) == 1

    in_house(work)


def test_a_token_that_was_not_signed_by_us_proves_nothing() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB)
        forged = envid[:-1] + ("0" if envid[-1] != "0" else "1")
        await arrives(house, net, dsn(BOB, envid=forged, returned=""), EVA)
        assert await events(house, id) == []
        await arrives(house, net, dsn(BOB, envid=forged))
        (event,) = await events(house, id)
        assert (event.detail["by"], event.detail["proven"]) == ("returned", False)

    in_house(work)


def test_a_message_id_that_we_made_leads_there_and_proves_nothing() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, _ = await sent(house, BOB)
        signed = house.built.tokens.message_id(id, "mx.example")
        # Not to the sender, and about nobody we wrote to: the token alone leads there.
        await arrives(house, net, dsn("b@else.example", returned=signed), EVA)
        (event,) = await events(house, id)
        assert (event.detail["by"], event.detail["proven"]) == ("message-id", False)
        assert event.n == 0  # its only recipient, whatever it is called there
        # the token of one place is none in the other
        await arrives(house, net, dsn("b@else.example", envid=signed, returned=""), EVA)
        assert len(await events(house, id)) == 1

    in_house(work)


def test_returned_message_id() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, _ = await sent(house, BOB, CARL)
        await arrives(house, net, dsn(CARL.upper()))
        (event,) = await events(house, id)
        assert (event.n, event.detail["by"], event.detail["proven"]) == (1, "returned", False)
        # about others, to others: whoever knows a Message-ID could write that
        await arrives(house, net, dsn("x@else.example"), EVA)
        assert len(await events(house, id)) == 1
        # to the sender, about nobody we know: of the message as a whole
        await arrives(house, net, dsn("x@else.example"))
        assert [e.n for e in await events(house, id)] == [1, ALL_RECIPIENTS]

    in_house(work)


def test_who_wrote_to_whom_where_nothing_else_is_said() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        first, _ = await sent(house, BOB)
        id, _ = await sent(house, BOB, CARL)
        await sent(house, CARL)
        await arrives(house, net, dsn(BOB, returned=""))
        assert await events(house, first) == []  # the newest that fits
        (event,) = await events(house, id)
        assert (event.detail["by"], event.detail["proven"]) == ("recipient", False)
        await arrives(house, net, dsn("x@else.example", returned=""))
        await arrives(house, net, dsn(BOB, returned=""), EVA)
        assert len(await house.events("claim")) == 1

    in_house(work)


def test_each_recipient_of_a_report_is_an_event() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB, CARL)
        await arrives(house, net, dsn(CARL, BOB, "x@else.example", envid=envid))
        assert [e.n for e in await events(house, id)] == [1, 0, ALL_RECIPIENTS]

    in_house(work)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (dsn(BOB, action="delayed"), "delay"),
        (dsn(BOB, action="delivered").replace(b"5.1.1", b"2.0.0"), "delivered"),
        (
            report(
                ("text/plain", "A complaint.\n"),
                ("message/feedback-report", f"Feedback-Type: abuse\nOriginal-Rcpt-To: {BOB}\n"),
                ("text/rfc822-headers", f"Message-ID: {ORIGINAL}\n"),
                kind="multipart/report; report-type=feedback-report",
            ),
            "feedback",
        ),
        (
            report(
                ("text/plain", f"<{BOB}>: 550 5.1.1 nobody\n\n--- Below this line is a copy\n")
            ).replace(b"a copy", f"a copy\r\nMessage-ID: {ORIGINAL}".encode()),
            "bounce",
        ),
    ],
)
@pytest.mark.parametrize("door", ["mx", "lmtp"])
def test_kinds_at_both_doors(message: bytes, kind: str, door: str) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, _ = await sent(house, BOB)
        await arrives(house, net, message, sender="someone@remote.example", door=door)
        (event,) = await events(house, id)
        assert event.detail["kind"] == kind

    in_house(work)


@pytest.mark.parametrize(
    "message",
    [
        report(("text/plain", "hello\n"), head=("From: bob@remote.example", "Subject: Re: hello")),
        report(
            ("text/plain", "away\n"),
            head=("From: bob@remote.example", "Auto-Submitted: auto-replied", "Subject: away"),
        ),
        b"",
        b"\r\n",
        b"From: MAILER-DAEMON\r\n\r\n\xff\xfe\x00",
    ],
)
def test_what_is_no_report_is_mail_like_any_other(message: bytes) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        await sent(house, BOB)
        await arrives(house, net, message + b"\r\n")
        assert await house.events("claim") == []
        assert len(await house.inbox("ana")) == 1

    in_house(work)


def test_a_report_that_somebody_forwards_is_no_claim() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        _, envid = await sent(house, BOB)
        inner = dsn(BOB, envid=envid).decode().replace("==", "=inner=")
        forwarded = report(
            ("text/plain", "look\n"), ("message/rfc822", inner), kind="multipart/mixed"
        )
        await arrives(house, net, forwarded)
        assert await house.events("claim") == []

    in_house(work)


def test_our_own_bounces_are_no_claims() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        house.attempts.plan[BOB] = [Refused(Reply(550, "5.1.1", "nobody"), "unknown-user")]
        await sent(house, BOB)
        assert len(await house.inbox("ana")) == 1
        assert await house.events("claim") == []

    in_house(work)


def test_written_in_the_unit_that_takes_the_report() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB)
        units = 0

        def before() -> None:
            nonlocal units
            units += 1

        house.store.before = before
        await arrives(house, net, dsn(BOB, envid=envid))
        house.store.before = None
        assert units == 1
        assert len(await events(house, id)) == 1

    in_house(work)


@pytest.mark.parametrize("trouble", ["stalls", "fails"])
def test_reading_that_stalls_or_fails_delays_the_report_and_no_more(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def apart(*_: Any) -> Any:
        if trouble == "fails":
            raise RuntimeError("the worker died")
        await asyncio.sleep(10 * CLAIM_SECONDS_MAX)

    async def work(house: Whole, net: SimNet) -> None:
        _, envid = await sent(house, BOB)
        monkeypatch.setattr(type(house.world.cpu), "apart", apart)
        loop = asyncio.get_running_loop()
        began = loop.time()
        slow = asyncio.create_task(arrives(house, net, dsn(BOB, envid=envid)))
        if trouble == "stalls":
            await asyncio.sleep(CLAIM_SECONDS_MAX / 2)
            ordinary = b"From: bob@remote.example\r\nSubject: x\r\n\r\ny\r\n"
            await arrives(house, net, ordinary, EVA, sender="bob@remote.example")
            assert not slow.done()  # others are served meanwhile
            assert len(await house.inbox("eva")) == 1
        await slow
        assert loop.time() - began < CLAIM_SECONDS_MAX + 3
        assert await house.events("claim") == []
        assert len(await house.inbox("ana")) == 1

    in_house(work)


def test_words_with_half_a_character_are_told() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB)
        message = dsn(BOB, envid=envid).replace(b"nobody here", b"no =?utf-7?Q?+2AA-?= user")
        await arrives(house, net, message)
        (event,) = await events(house, id)
        assert event.detail["text"] == "no \ufffd user"

    in_house(work)


def test_a_report_larger_than_is_read() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB)
        large = dsn(BOB, envid=envid) + b"x" * 70 + (b"\r\n" + b"y" * 70) * 80_000 + b"\r\n"
        await arrives(house, net, large)
        assert len(await events(house, id)) == 1

    in_house(work)


def test_told_in_both_languages() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB)
        await arrives(house, net, dsn(BOB, envid=envid))
        await arrives(house, net, dsn(BOB, action="delayed"))
        await arrives(house, net, dsn("x@else.example", returned=ORIGINAL))
        english, spanish = await told(house, id), await told(house, id, "es")
        proven, words, unproven = english.recipients[0].claims[:3]
        assert "that shows our signed name of this message says: not delivered." in proven
        assert "bob@remote.example does not exist" in proven
        assert words == "Words of mx.remote.example: 550 5.1.1 nobody here"
        assert "claims: not delivered yet." in unproven
        assert english.recipients[0].fate == "relayed"
        assert (
            "que muestra nuestro nombre firmado de este mensaje"
            in (spanish.recipients[0].claims[0])
        )
        assert "afirma: aún no entregado." in spanish.recipients[0].claims[2]

    in_house(work)


def test_only_so_many_of_one_report() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        id, envid = await sent(house, BOB)
        many = [f"p{n}@remote.example" for n in range(module.CLAIMS_MAX + 20)]
        await arrives(house, net, dsn(*many, envid=envid))
        assert len(await events(house, id)) == module.CLAIMS_MAX

    in_house(work)
