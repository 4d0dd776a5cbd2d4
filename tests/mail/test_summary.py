"""What the store keeps of a message."""

from __future__ import annotations

import base64
import json

import pytest

from estafeta.mail.limits import PREVIEW_CHARACTERS_MAX
from estafeta.mail.message import summary


def test_summary() -> None:
    made = summary(
        b"From: =?utf-8?q?Jos=C3=A9?= <j@b.c>\r\nSubject: =?utf-8?b?w7E=?=\r\n"
        b"Message-ID:\r\n <1@x>\r\nDate: Tue, 01 Jul 2003 10:52:37 +0200\r\n\r\nHola,\r\n"
        b"\r\n  Ana\r\n"
    )
    assert made.subject == "ñ"
    assert made.message_id == "<1@x>"
    assert made.preview == "Hola, Ana"


def test_summary_can_be_written() -> None:
    made = summary(
        b"From: =?utf-7?Q?+2AA-?= <j@b.c>\r\nSubject: =?utf-7?Q?hi_+2AA-?=\r\n"
        b"Content-Type: text/plain; charset=utf-7\r\n\r\nhi +2AA- x\r\n"
    )
    assert (made.subject, made.preview) == ("hi \ufffd", "hi \ufffd x")
    json.dumps(str(made), ensure_ascii=False).encode()


def test_summary_of_nothing() -> None:
    made = summary(b"")
    assert (made.subject, made.message_id) == ("", "")
    assert made.preview == ""


HTML = (
    b"<html><head><style>p { x }</style><title>t</title></head><!-- no --><body>"
    b"<p>Hola &amp; adi&oacute;s</p><script>x</script> fin"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"Content-Type: text/html\n\n" + HTML, "Hola & adiós fin"),
        (b"Content-Type: text/html\n\n<style>" + b"x " * 5000 + b"</style><p>late", "late"),
        (b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(b"a b\r\n"), "a b"),
        (b"Content-Transfer-Encoding: quoted-printable\n\na=20b=\nc", "a bc"),
        (b"Content-Type: text/plain; charset=iso-8859-15\n\n\xa4", "€"),
        (b"Content-Type: application/pdf\n\n%PDF", ""),
        (b"\n" + b"word " * 1000, ("word " * 1000)[:PREVIEW_CHARACTERS_MAX]),
        (b"\n" + b"\n" * 3000 + b"late", "late"),
        ("\nа\u200bb\x00c\u202ed".encode(), "а b c d"),
        (
            b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Disposition: attachment\n\n"
            b"no\n--a\nContent-Type: text/html\n\nno\n--a\n\nyes\n--a--\n",
            "yes",
        ),
    ],
)
def test_preview(data: bytes, expected: str) -> None:
    assert summary(data).preview == expected
