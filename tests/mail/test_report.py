"""The report of RFC 3464: others can read it, and the original is in it octet by octet."""

from __future__ import annotations

import email
import email.message
import email.policy
import json

import msgspec
import pytest

from estafeta.mail.limits import REPORT_FULL_OCTETS_MAX
from estafeta.mail.message import index
from estafeta.mail.outcome import Reply
from estafeta.mail.protocols import Bytes, Content
from estafeta.mail.report import Explanation, Kind, ReportRecipient, build_report

ORIGINAL = (
    b"Received: x\r\nMessage-ID: <1@b.c>\r\nSubject: caf\xc3\xa9\r\n\r\n"
    b"caf\xc3\xa9  \r\n.dot\r\n--=_\r\n\r\n\r\n"
)
FAILED = ReportRecipient(
    final_recipient="nadie@example.net",
    action="failed",
    original_recipient="rfc822;alias@example.net",
    diagnostic=Reply(550, "5.1.1", "No such user\nreally, señor"),
    remote_mta="mx.example.net",
    last_attempt=1_000_000_060.0,
    cause="unknown-user",
)
SUBJECT = "No se entregó: café"
TEXT = "No se entregó su mensaje.\n\nnadie@example.net no existe.\n" + "palabra " * 40


def build(
    recipients: list[ReportRecipient],
    kind: Kind = "failed",
    original: Content | bytes = ORIGINAL,
    ret: str = "FULL",
    utf8: bool = False,
    explanation: Explanation | None = None,
) -> bytes:
    return build_report(
        kind=kind,
        reporting_mta="mx.example",
        arrival=1_000_000_000.0,
        envid="QQ314159",
        recipients=recipients,
        explanation=explanation or Explanation("es", SUBJECT, TEXT),
        from_="Correo <mailer-daemon@mx.example>",
        to="ana@example",
        date=1_000_000_100.0,
        message_id="<report@mx.example>",
        original=original,
        ret=ret,
        utf8=utf8,
    )


def parts_of(report: bytes) -> list[bytes]:
    return [report[part.body : part.end] for part in index(report).children]


def read(report: bytes) -> email.message.EmailMessage:
    lines = report.split(b"\r\n")
    assert all(len(line) <= 998 for line in lines)
    assert b"\n" not in report.replace(b"\r\n", b"")
    message = email.message_from_bytes(report, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    assert not message.defects
    return message


def test_failed() -> None:
    report = build([FAILED])
    message = read(report)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Subject"] == "No se entregó: café"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["References"] == "<1@b.c>"
    text, status, returned = message.iter_parts()
    assert text.get_content().replace("\r\n", "\n").rstrip() == TEXT.rstrip()
    assert text["Content-Language"] == "es"
    assert status.get_content_type() == "message/delivery-status"
    of_message, of_recipient = status.get_payload()
    assert dict(of_message.items()) == {
        "Original-Envelope-Id": "QQ314159",
        "Reporting-MTA": "dns; mx.example",
        "Arrival-Date": "Sun, 09 Sep 2001 01:46:40 +0000",
    }
    assert dict(of_recipient.items()) == {
        "Original-Recipient": "rfc822; alias@example.net",
        "Final-Recipient": "rfc822; nadie@example.net",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user really, se?or",
        "Last-Attempt-Date": "Sun, 09 Sep 2001 01:47:40 +0000",
        "X-Estafeta-Cause": "unknown-user",
    }
    assert returned.get_content_type() == "message/rfc822"
    assert returned["Content-Transfer-Encoding"] == "8bit"
    assert message["Content-Transfer-Encoding"] == "8bit"


def test_a_reply_that_no_server_gave_is_not_called_one_of_smtp() -> None:
    gone = Reply(550, "5.1.2", "domain b.example does not exist")
    ours = ReportRecipient("a@b.example", "failed", diagnostic=gone)
    _, status, _ = read(build([ours])).iter_parts()
    _, of_recipient = status.get_payload()
    assert of_recipient["Diagnostic-Code"] == f"x-estafeta; {gone}"
    assert of_recipient["Remote-MTA"] is None


@pytest.mark.parametrize(
    "original", [ORIGINAL, b"", b"no header", b"X: y\r\n\r\n", b"\r\n\r\n\r\n"]
)
def test_original_is_returned_octet_by_octet(original: bytes) -> None:
    for given in (original, Bytes(original)):
        assert parts_of(build([FAILED], original=given))[2] == original


def test_boundary_stands_nowhere_else() -> None:
    inner = build([FAILED])
    report = build([FAILED], original=inner)  # made from the same Message-ID
    assert parts_of(report)[2] == inner
    boundary = email.message_from_bytes(report).get_boundary()
    assert boundary
    assert boundary.encode() not in inner


def test_header_only() -> None:
    delayed = ReportRecipient("a@b.c", "delayed", "4.4.1", will_retry_until=1_000_100_000.0)
    for report in (
        build([FAILED], ret="HDRS"),
        build([delayed], kind="delayed"),
        build([FAILED], original=ORIGINAL + b"x" * REPORT_FULL_OCTETS_MAX),
    ):
        returned = list(read(report).iter_parts())[2]
        assert returned.get_content_type() == "text/rfc822-headers"
        assert parts_of(report)[2] == ORIGINAL[: ORIGINAL.index(b"\r\n\r\n") + 2]
    status = parts_of(build([delayed], kind="delayed"))[1]
    assert b"Action: delayed\r\nStatus: 4.4.1\r\nWill-Retry-Until: Mon, 10 Sep 2001" in status


def test_seven_bit() -> None:
    report = build([FAILED], original=b"Subject: s\r\n\r\nbody\r\n")
    assert report.isascii()
    assert b"8bit" not in report


def test_international() -> None:
    recipient = ReportRecipient("ñu@example.net", "failed", "5.1.1", "utf-8;ñandú@example.net")
    plain = parts_of(build([recipient]))[1]
    assert b"Final-Recipient: utf-8; \\x{F1}u@example.net\r\n" in plain
    assert b"Original-Recipient: utf-8; \\x{F1}and\\x{FA}@example.net\r\n" in plain
    report = build([recipient], utf8=True)
    types = [part.subtype for part in index(report).children]
    assert types == [b"plain", b"global-delivery-status", b"global"]
    assert "Final-Recipient: utf-8; ñu@example.net\r\n".encode() in parts_of(report)[1]
    assert parts_of(report)[2] == ORIGINAL
    assert "Subject: No se entregó: café\r\n".encode() in report
    headers_only = build([recipient], utf8=True, ret="HDRS")
    assert index(headers_only).children[2].subtype == b"global-headers"


def test_a_server_cannot_write_fields_of_ours() -> None:
    nasty = ReportRecipient(
        "a@b.c", "failed", "", "rfc822;x\r\nAction: delivered",
        Reply(554, "5.7.1", "n\0\x1bo\r\nAction: delivered\n\nStatus: 2.0.0" + "x" * 5000),
    )  # fmt: skip
    report = build([nasty], explanation=Explanation("es", SUBJECT, "x\r\n--=_\r\n" + "long" * 1000))
    status = list(read(report).iter_parts())[1]
    assert len(status.get_payload()) == 2
    assert status.get_payload()[1].get_all("Action") == ["failed"]
    assert status.get_payload()[1].get_all("Status") == ["5.7.1"]


def test_broken_message_id_of_the_original() -> None:
    for value in (b"\xff", b"x" * 900, b"a\0b", b""):
        message = read(build([FAILED], original=b"Message-ID: " + value + b"\r\n\r\n", ret="HDRS"))
        assert message["In-Reply-To"] is None


PAGE = "<!DOCTYPE html>\n<p>niño &amp; más</p>\n" + "<p>" + "ancho " * 60 + "</p>\n"
DATA = json.dumps({"title": "niño", "long": "ñ" * 2000}, ensure_ascii=False)
WHOLE = Explanation("es", SUBJECT, TEXT, PAGE, DATA.encode())


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("ret", ["FULL", "HDRS"])
@pytest.mark.parametrize("kind", ["failed", "delayed"])
def test_three_parts_and_all_that_is_said_in_the_first(kind: Kind, ret: str, utf8: bool) -> None:
    """RFC 6522 §3: no more than three; the first is mixed of what people and programs get."""
    report = build([FAILED], kind, explanation=WHOLE, ret=ret, utf8=utf8)
    message = read(report)
    said, status, returned = message.iter_parts()
    assert said.get_content_type() == "multipart/mixed"
    forms, data = said.iter_parts()
    assert forms.get_content_type() == "multipart/alternative"
    text, page = forms.iter_parts()
    assert (text.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().replace("\r\n", "\n").rstrip() == TEXT.rstrip()
    assert page.get_content().replace("\r\n", "\n").rstrip() == PAGE.rstrip()
    assert data.get_content_type() == "application/json"
    assert data.get_content_disposition() == "attachment"
    assert data.get_filename() == "delivery-report.json"
    assert json.loads(data.get_content()) == json.loads(DATA)
    for part in (forms, text, page):
        assert part["Content-Language"] == "es"
    large = "" if utf8 else "message/delivery-status"
    assert status.get_content_type() == (large or "message/global-delivery-status")
    whole = ret == "FULL" and kind == "failed"
    assert returned.get_content_maintype() == ("message" if whole or utf8 else "text")
    # What a client takes for the text of the message, by the standard library.
    for wanted, found in (("plain", TEXT), ("html", PAGE)):
        body = message.get_body((wanted,))
        assert body is not None
        assert body.get_content().replace("\r\n", "\n").rstrip() == found.rstrip()


def test_only_what_needs_eight_bits_says_so() -> None:
    """RFC 2045 §6.4: the encoding of a multipart covers all that is in it."""
    plain = Explanation("en", "x", "text\n", "<p>x</p>\n", b'{"a": 1}')
    for part in read(build([], explanation=plain, original=b"A: b\r\n\r\n")).walk():
        assert part["Content-Transfer-Encoding"] in (None, "7bit")
    message = read(build([], explanation=WHOLE, original=b"A: b\r\n\r\n", utf8=True))
    said, *_ = message.iter_parts()
    assert message["Content-Transfer-Encoding"] == said["Content-Transfer-Encoding"] == "8bit"


def test_each_multipart_has_a_boundary_of_its_own() -> None:
    found = [p.get_boundary() for p in read(build([FAILED], explanation=WHOLE)).walk()]
    boundaries = [boundary for boundary in found if boundary]
    assert len(boundaries) == len(set(boundaries)) == 3


def test_how_often_it_was_tried_is_told_to_programs() -> None:
    tried = msgspec.structs.replace(FAILED, attempts=12)
    _, status, _ = read(build([tried])).iter_parts()
    assert status.get_payload()[1]["X-Estafeta-Attempts"] == "12"
