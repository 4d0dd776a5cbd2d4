"""No octets make the reader fail or stall."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.explain.reading.letters import HEAD, RETURNED, STATUS, dsn, report

from estafeta.explain.reading import Reading, read_report
from estafeta.explain.reading.limits import (
    RECIPIENTS_MAX,
    RETURNED_OCTETS_MAX,
    WORDS_CHARACTERS_MAX,
)

SECONDS_MAX = 4
"""For any input; a tenth of it is usual, but the machine is shared."""

TOKENS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"--==\r\n",
        b"--==--\r\n",
        b"Content-Type: message/delivery-status\r\n",
        b"Content-Type: multipart/report; report-type=delivery-status; boundary==\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/html\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Final-Recipient: rfc822; ana@one.example\r\n",
        b"Final-Recipient: utf-8; \\x{110000}@one.example\r\n",
        b"Original-Recipient: rfc822;ana+FF@one.example\r\n",
        b"Action: failed\r\n",
        b"Diagnostic-Code: smtp; 550 5.1.1 no\r\n",
        b"Feedback-Type: abuse\r\n",
        b"From: MAILER-DAEMON\r\n",
        b"Subject: failure notice\r\n",
        b"From x Mon Mar  3 10:00:00 2025\r\n",
        b"<ana@one.example>:",
        b"ana@one.example",
        b">>> RCPT TO:<ana@one.example>\r\n",
        b"<<< 550 5.1.1 no\r\n",
        b"550 5.1.1 ",
        b"550-5.1.1 ",
        b"host mx.one.example [192.0.2.7]",
        b"said:",
        b"(in reply to ",
        b"The reason: ",
        b"----- Original message -----\r\n",
        b"Begin forwarded message:\r\n",
        b'{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{}]},"mail":[]}',
        b"=?utf-8?q?=FF?=",
        b"\xff\xfe",
        b"\x1b$B",
        "был".encode(),
    ]
)
STREAMS = st.lists(TOKENS | st.binary(max_size=8), max_size=80).map(b"".join)


def bounded(data: bytes) -> Reading:
    started = time.monotonic()
    reading = read_report(data)
    assert time.monotonic() - started < SECONDS_MAX
    assert len(reading.recipients) <= RECIPIENTS_MAX
    assert all(len(r.text) <= WORDS_CHARACTERS_MAX for r in reading.recipients)
    assert len(reading.returned.header) <= RETURNED_OCTETS_MAX
    return reading


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_any_octets(data: bytes) -> None:
    bounded(data)


@given(STREAMS)
@settings(max_examples=400, deadline=None)
def test_any_mixture_of_what_reports_hold(data: bytes) -> None:
    bounded(data)


@given(STREAMS)
@settings(max_examples=200, deadline=None)
def test_any_text_of_a_report(data: bytes) -> None:
    bounded("\r\n".join(HEAD).encode() + b"\r\n\r\n" + data)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_report_with_octets_put_in(at: int, octets: bytes) -> None:
    data = dsn(text="<ana@one.example>: host mx[192.0.2.7] said: 550 5.1.1 no\n")
    at %= len(data)
    bounded(data[:at] + octets + data[at + len(octets) :])


def text(words: str) -> bytes:
    return report(("text/plain; charset=utf-8", words))


LARGE = 2_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"a" * LARGE,
        b"\n" * LARGE,
        b"From " * (LARGE // 5),
        text("<a@b.example>:\n" * (LARGE // 15)),
        text("550 5.1.1 " * (LARGE // 10)),
        text("a@" * (LARGE // 2)),
        text("a@b." * (LARGE // 4)),
        text("<" * LARGE),
        text("<a@b.example>: " + "host " * (LARGE // 5)),
        text("<a@b.example>: " + "host a[" * (LARGE // 7)),
        text("<a@b.example>: " + "connected to " * (LARGE // 13)),
        text("because\n" * (LARGE // 8)),
        text("Received: x\n" * (LARGE // 12)),
        text(">>> RCPT TO:<a@b.example>\n<<< 550 no\n" * (LARGE // 40)),
        text(("x" * 3000 + "\n") * (LARGE // 3000)),
        text("(" * LARGE),
        text("in reply to " * (LARGE // 12)),
        text("a-b.c_" * (LARGE // 6)),
        text("message to " * (LARGE // 11)),
        text("1." * (LARGE // 2)),
        text(" \t" * (LARGE // 2)),
        text("{" * LARGE + '"notificationType"'),
        text('{"notificationType":' + "[" * LARGE),
        report(("text/html", "<" * LARGE)),
        report(("text/html", "<a href=mailto:x>" * (LARGE // 17))),
        report(("text/html", "<a href=mailto:" + "A" * LARGE)),
        report(("text/html", "<a " + "-href=mailto:" * (LARGE // 13))),
        report(("text/html", "<a href" * (LARGE // 7))),
        report(("text/html", "<a href" + " " * LARGE)),
        report(("text/html", "<!--" * (LARGE // 4))),
        report(("text/html", "<pre>" * (LARGE // 5))),
        report(("text/html", "<style>" * (LARGE // 7))),
        dsn("Final-Recipient: rfc822; a@b.example\n" * (LARGE // 37)),
        dsn("Final-Recipient: rfc822; " + "a@" * (LARGE // 2)),
        dsn(STATUS + "Diagnostic-Code: smtp; 550 no\n" * (LARGE // 30)),
        dsn("Diagnostic-Code: smtp; " + "550-5.1.1 x\n " * (LARGE // 13)),
        dsn("Original-Recipient: rfc822;" + "+41" * (LARGE // 3) + "@one.example\n"),
        dsn("A: " + "\n b" * (LARGE // 3)),
        report(*[("message/rfc822", RETURNED)] * 3000),
        report(*[("message/rfc822", dsn().decode())] * 300),
        b"From x 10:00\nA: b\n\n" * (LARGE // 20),
        dsn("Diagnostic-Code: smtp; 550 (in reply to the" + " " * 3900 + "x\n"),
        *(
            dsn(
                "\n".join(
                    f"Final-Recipient: rfc822; p{n}@one.example\nDiagnostic-Code: smtp; {words}\n"
                    for n in range(40)
                )
            )
            for words in (
                "550 a" + "a" * 3900,
                "550 a" + " " * 3900 + "b",
                "code" + " " * 3900 + "b",
            )
        ),
        report(
            ("text/plain", "a b " * (LARGE // 4)),
            (
                "message/feedback-report",
                "Feedback-Type: abuse\n"
                + "".join(f"Original-Rcpt-To: <p{n}@one.example>\n" for n in range(1000)),
            ),
            kind="multipart/report; report-type=feedback-report",
        ),
    ],
    ids=range(46),
)
def test_large(data: bytes) -> None:
    bounded(data)


def test_deep() -> None:
    data = dsn().decode()
    for level in range(30):
        data = report(
            (f"text/plain; n={level}", "Fwd\n"), ("message/rfc822", data), kind="multipart/mixed"
        ).decode()
        data = data.replace("==", f"=l{level}=")
    assert bounded(data.encode()).kind in ("bounce", "other")
