"""Replies of servers, well and badly formed, however the bytes arrive."""

from __future__ import annotations

import random

import pytest

from estafeta.mail.outcome import Reply
from estafeta.wire.smtp_client import MalformedReply, ReplyReader, parse_offer
from estafeta.wire.smtp_client.limits import (
    REPLY_LINE_OCTETS_MAX,
    REPLY_LINES_MAX,
    REPLY_OCTETS_MAX,
)

GOOD = [
    (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
    (b"250 Ok\r\n", Reply(250, "", "Ok")),
    (b"250\r\n", Reply(250, "", "")),
    (b"250 \r\n", Reply(250, "", "")),
    (b"250 2.0.0\r\n", Reply(250, "2.0.0", "")),
    (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", Reply(550, "5.1.1", "no such\nuser")),
    # The last line decides: code, and status with it.
    (b"250-fine\r\n550 5.7.1 not so\r\n", Reply(550, "5.7.1", "fine\nnot so")),
    (b"550-5.7.1 first\r\n550 second\r\n", Reply(550, "", "5.7.1 first\nsecond")),
    # A status of another class is text.
    (b"550 2.1.1 odd\r\n", Reply(550, "", "2.1.1 odd")),
    (b"250 1.2.3.4 is your address\r\n", Reply(250, "", "1.2.3.4 is your address")),
    (b"250 2.1.5x\r\n", Reply(250, "", "2.1.5x")),
    ("550 5.1.1 ¿quién?\r\n".encode(), Reply(550, "5.1.1", "¿quién?")),
    ("550 5.1.1 ¿quién?\r\n".encode("latin-1"), Reply(550, "5.1.1", "¿quién?")),
    # Control characters are not shown to anybody; a bare LF or CR ends no line.
    (b"550 a\x1b[31mb\x00c\nd\re\r\n", Reply(550, "", "a [31mb c d e")),
    (b"250-\r\n250-\r\n250 x\r\n", Reply(250, "", "\n\nx")),
]


@pytest.mark.parametrize(("data", "reply"), GOOD)
def test_reads(data: bytes, reply: Reply) -> None:
    reader = ReplyReader()
    assert reader.feed(data) == [reply]
    assert not reader.pending


def test_any_cut_of_the_bytes_gives_the_same_replies() -> None:
    whole = b"".join(data for data, _ in GOOD)
    wanted = [reply for _, reply in GOOD]
    dice = random.Random(7)
    for _ in range(50):
        reader, got, at = ReplyReader(), [], 0
        while at < len(whole):
            step = dice.choice((1, 2, 3, 7, 40))
            got += reader.feed(whole[at : at + step])
            at += step
        assert got == wanted


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"25x ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"250_ok\r\n",
        b"2500 ok\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"250-fine\r\nnot a reply\r\n",
        b"250 " + b"x" * REPLY_LINE_OCTETS_MAX + b"\r\n",
        b"250-a\r\n" * REPLY_LINES_MAX,
        (b"250-" + b"x" * (REPLY_LINE_OCTETS_MAX - 10) + b"\r\n")
        * (REPLY_OCTETS_MAX // REPLY_LINE_OCTETS_MAX + 1),
        b"\xb2\xb3\xb9 superscripts\r\n",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(MalformedReply):
        ReplyReader().feed(data)


def test_an_endless_line_is_not_kept() -> None:
    reader = ReplyReader()
    reader.feed(b"x" * REPLY_LINE_OCTETS_MAX)
    with pytest.raises(MalformedReply):
        reader.feed(b"x")


def test_an_offer_is_read_whatever_its_case_and_order() -> None:
    offer = parse_offer(
        Reply(
            250,
            "",
            "mx.example hello SIZE\nsize 1000\nPipelining\n8bitmime\nSMTPUTF8\nDSN\nCHUNKING\n"
            "STARTTLS\nAUTH plain SCRAM-SHA-256\nAUTH=LOGIN PLAIN\n"
            "LIMITS RCPTMAX=20 MAILMAX=5\nXUNKNOWN a b\n",
        )
    )
    for name in ("extended", "pipelining", "eight_bit", "smtputf8", "dsn", "chunking", "sized"):
        assert getattr(offer, name), name
    assert offer.starttls
    assert offer.size == 1000
    assert offer.auth == ("PLAIN", "SCRAM-SHA-256", "LOGIN")
    assert (offer.recipients_max, offer.transactions_max) == (20, 5)


def test_an_offer_without_sense_offers_nothing() -> None:
    offer = parse_offer(
        Reply(250, "", f"PIPELINING\nSIZE abc\nLIMITS RCPTMAX=-1 MAILMAX={'9' * 5000}\nSIZE ²")
    )
    assert not offer.pipelining  # the first line is the server's name
    assert offer.sized
    assert (offer.size, offer.recipients_max, offer.transactions_max) == (0, 0, 0)
