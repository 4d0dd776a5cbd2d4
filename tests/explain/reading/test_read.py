"""What a message is, and what it holds besides recipients."""

from __future__ import annotations

import pytest
from tests.explain.reading.letters import HEAD, RETURNED, STATUS, dsn, report

from estafeta.explain.reading import read_report

PLAIN = "text/plain; charset=utf-8"
PERSON = (
    "From: Ana <ana@one.example>",
    "To: me@sender.example",
    "Message-ID: <x@one.example>",
    "MIME-Version: 1.0",
)


def person(subject: str, *fields: str) -> tuple[str, ...]:
    return (*PERSON, f"Subject: {subject}", *fields)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"no header at all",
        report((PLAIN, "Hello\n"), head=person("hello")),
        report(
            (PLAIN, "My mail to bob@two.example was not delivered, why?\n"), head=person("Help")
        ),
        report(
            (PLAIN, "Look at this:\n\n> <bob@two.example>: 550 5.1.1 no such user\n"),
            head=person("Re: Undelivered Mail Returned to Sender"),
        ),
        report(
            (PLAIN, "Your parcel could not be delivered. Call us.\n"),
            head=(
                "From: no-reply@parcels.example",
                "Subject: Delivery failed",
                "Auto-Submitted: auto-generated",
            ),
        ),
        report(
            (PLAIN, "An error occurred while sending your order; it was rejected by the shop.\n"),
            head=("Return-Path: <>", "From: notification@shop.example", "Subject: Your order"),
        ),
        report((PLAIN, "See below.\n"), ("message/rfc822", RETURNED), head=person("a letter")),
        report((PLAIN, "Your parcel was delivered.\n"), head=person("Delivery notification")),
        report(
            (PLAIN, "Your message was displayed.\n"),
            ("message/disposition-notification", "Disposition: manual-action; displayed\n"),
            kind="multipart/report; report-type=disposition-notification",
        ),
    ],
)
def test_other(data: bytes) -> None:
    reading = read_report(data)
    assert (reading.kind, reading.recipients) == ("other", ())


@pytest.mark.parametrize(
    ("subject", "fields"),
    [
        ("Out of office", ("Auto-Submitted: auto-replied",)),
        ("Fuera de la oficina: hola", ("Auto-Submitted: auto-replied (vacation)",)),
        ("I am away", ("X-Autoreply: yes",)),
        ("Automatic reply: hello", ("X-Auto-Response-Suppress: All",)),
        ("Abwesenheitsnotiz", ("Precedence: auto_reply",)),
        ("Re: hello", ("Auto-Submitted: auto-replied",)),
        ("Re: hello", ("Auto-Submitted: auto-replied", "Return-Path: <>")),
    ],
)
def test_auto_reply(subject: str, fields: tuple[str, ...]) -> None:
    reading = read_report(report((PLAIN, "I am away.\n"), head=person(subject, *fields)))
    assert reading.kind == "auto-reply"
    assert [(r.address, r.text) for r in reading.recipients] == [("ana@one.example", "I am away.")]


def test_forwarded_as_attachment() -> None:
    inner = dsn().decode().replace("==", "=inner=")
    data = report((PLAIN, "What is this?\n"), ("message/rfc822", inner), head=person("Fwd: bounce"))
    reading = read_report(data)
    assert (reading.kind, reading.wrapped) == ("bounce", True)
    assert reading.recipients[0].address == "ana@one.example"
    assert reading.returned.message_id == "<original@sender.example>"


def test_forwarded_as_text() -> None:
    quoted = "\n".join(f"> {line}" for line in ("\n".join(HEAD) + f"\n\n{STATUS}").split("\n"))
    text = f"What is this?\n\nBegin forwarded message:\n\n{quoted}\n"
    reading = read_report(report((PLAIN, text), head=person("Fwd: bounce")))
    assert (reading.kind, reading.wrapped) == ("bounce", True)
    assert reading.recipients[0].status == "5.1.1"


def test_bounce_of_a_bounce_is_about_the_outer_one() -> None:
    inner = dsn().decode().replace("==", "=inner=")
    status = STATUS.replace("ana", "bob")
    data = report((PLAIN, "x"), ("message/delivery-status", status), ("message/rfc822", inner))
    reading = read_report(data)
    assert (reading.wrapped, reading.recipients[0].address) == (False, "bob@one.example")
    assert reading.returned.message_id == "<report@mx.one.example>"


def test_mbox_of_several() -> None:
    first = b"From MAILER-DAEMON Mon Mar  3 10:00:00 2025\n" + dsn()
    second = first.replace(b"ana@one", b"eva@one")
    reading = read_report(first + b"\n" + second)
    assert [r.address for r in reading.recipients] == ["ana@one.example", "eva@one.example"]


def feedback(fields: str, *more: tuple[str, str]) -> bytes:
    return report(
        (PLAIN, "Somebody complained.\n"),
        ("message/feedback-report", fields),
        *(more or (("message/rfc822", RETURNED),)),
        head=person("complaint"),
        kind="multipart/report; report-type=feedback-report",
    )


def test_feedback() -> None:
    data = feedback(
        "Feedback-Type: abuse\nUser-Agent: Example/1.0\nVersion: 1\n"
        "Original-Rcpt-To: <ana@one.example>\nOriginal-Rcpt-To: eva@one.example\n"
        "Source-IP: 192.0.2.7\nOriginal-Envelope-Id: E1.ABC\n"
    )
    reading = read_report(data)
    assert (reading.kind, reading.feedback, reading.envid) == ("feedback", "abuse", "E1.ABC")
    assert [r.address for r in reading.recipients] == ["ana@one.example", "eva@one.example"]
    assert reading.returned.message_id == "<original@sender.example>"


def test_feedback_without_recipients_is_about_those_of_the_message() -> None:
    reading = read_report(feedback("feedback-type: opt-out\n"))
    assert [r.address for r in reading.recipients] == ["ana@one.example"]
    named = feedback("Feedback-Type: opt-out\nRemoval-Recipient: bob@one.example\n")
    assert [r.address for r in read_report(named).recipients] == ["bob@one.example"]


def test_feedback_that_is_only_the_message() -> None:
    returned = f"X-HmXmrOriginalRecipient: ana@one.example\n{RETURNED}"
    data = report(
        ("message/rfc822", returned),
        head=person("complaint about message from 192.0.2.7"),
        kind="multipart/mixed",
    )
    assert (read_report(data).kind, read_report(data).feedback) == ("feedback", "abuse")


def test_notification_in_json() -> None:
    inner = (
        '{\\"notificationType\\":\\"Bounce\\",\\"bounce\\":{\\"bounceType\\":\\"Permanent\\",'
        '\\"reportingMTA\\":\\"dns; mx.one.example\\",\\"bouncedRecipients\\":[{\\"emailAddress\\":'
        '\\"ana@one.example\\",\\"action\\":\\"failed\\",\\"status\\":\\"5.1.1\\",'
        '\\"diagnosticCode\\":\\"smtp; 550 5.1.1 nobody here\\"}]},'
        '\\"mail\\":{\\"commonHeaders\\":{\\"messageId\\":\\"<original@sender.example>\\"}}}'
    )
    text = f'{{\n "Type" : "Notification",\n "Message" : "{inner}",\n "Signature" : "x"\n}}\n'
    reading = read_report(report((PLAIN, text), head=person("AWS Notification Message")))
    assert (reading.kind, reading.reporting_mta) == ("bounce", "mx.one.example")
    recipient = reading.recipients[0]
    assert (recipient.address, recipient.code, recipient.text) == (
        "ana@one.example",
        550,
        "nobody here",
    )
    assert reading.returned.message_id == "<original@sender.example>"


def test_recipient_of_the_returned_message_where_none_is_named() -> None:
    data = report((PLAIN, "Delivery failed.\n"), ("message/rfc822", RETURNED))
    assert [r.address for r in read_report(data).recipients] == ["ana@one.example"]


def test_header_only_of_an_unnamed_recipient() -> None:
    data = report((PLAIN, "Delivery failed: unknown user.\n"))
    assert read_report(data).kind == "bounce"
    assert [r.address for r in read_report(data).recipients] == [""]


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b"\r\n\r\n", b"From x Mon Mar  3 10:00 2025\n"]
)
def test_what_programs_put_before_a_message(before: bytes) -> None:
    assert read_report(before + dsn()) == read_report(dsn())
