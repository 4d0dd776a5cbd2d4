"""strange: messages made of what parsers stumble over."""

from __future__ import annotations

import random

PIECES = (
    *(b"From: ", b"Message-ID: ", b"Subject: ", b"To: ", b"Content-Type: ", b"Date: ", b"Bcc: "),
    *(b"ana@mx.example", b"<ana@mx.example>", b"<x@y>", b"=?utf-8?q?=ff?=", b"multipart/mixed"),
    *(b"; boundary=b", b"--b", b"--b--", b"=?x?b?!!?=", b'"', b"(", b")", b"\\", b"<", b">", b";"),
    *(b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8", b"\x85", b"\x1b"),
    *(b":", b",", b" ", b"\t", b".", b"\r\n", b"\r\n ", b"\r\n\r\n", b"x" * 998),
    *(b"message/rfc822", b"text/plain; charset=nowhere", b"Received: ", b"Return-Path: <>"),
)


def strange(dice: random.Random) -> bytes:
    """CRLF lines; no bare CR or LF; any octet else."""
    pieces = dice.choices(PIECES, k=dice.randint(0, 40))
    if dice.random() < 0.5:
        pieces.insert(0, b"From: ana@mx.example\r\n")
    return b"".join(pieces) + b"\r\n"
