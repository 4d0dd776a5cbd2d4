"""ENVELOPE, BODY, BODYSTRUCTURE and sections as RFC 3501 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mail.test_parts import NESTED, TOKENS

from estafeta.mail.message import (
    imap_body,
    imap_envelope,
    index,
    read_section,
    section,
    summary,
    unpack,
)
from estafeta.mail.message.imap_form import string
from estafeta.mail.protocols import Bytes


def read(form: bytes, at: int = 0) -> tuple[object, int]:
    """A reader of IMAP values: lists, strings, NIL, numbers."""
    match form[at : at + 1]:
        case b"(":
            items: list[object] = []
            at += 1
            while form[at : at + 1] != b")":
                if form[at : at + 1] == b" ":
                    at += 1
                item, at = read(form, at)
                items.append(item)
            return items, at + 1
        case b'"':
            value = bytearray()
            at += 1
            while form[at : at + 1] != b'"':
                at += form[at : at + 1] == b"\\"
                assert form[at] < 0x80
                assert form[at] not in b"\r\n\0"
                value.append(form[at])
                at += 1
            return bytes(value), at + 1
        case b"{":
            end = form.index(b"}\r\n", at)
            size = int(form[at + 1 : end])
            value8 = form[end + 3 : end + 3 + size]
            assert len(value8) == size
            assert b"\0" not in value8
            return value8, end + 3 + size
        case _:
            end = at
            while form[end : end + 1] not in (b" ", b")", b"(", b""):
                end += 1
            word = form[at:end]
            return (None if word == b"NIL" else int(word)), end


def whole(form: bytes) -> list[object]:
    value, end = read(form)
    assert end == len(form)
    assert isinstance(value, list)
    return value


def test_envelope() -> None:
    data = (
        b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred Foobar <foobar@Blurdybloop.COM>\r\n"
        b"Subject: afternoon\r\n meeting\r\nTo: mooch@owatagu.siam.edu\r\n"
        b'Cc: Team: a@b.c, "X\\"Y" <d@e.f>;\r\nMessage-Id: <B@x>\r\nIn-Reply-To:\r\n\r\nbody'
    )
    fred = [[b"Fred Foobar", None, b"foobar", b"Blurdybloop.COM"]]
    assert whole(imap_envelope(data, index(data))) == [
        b"Mon, 7 Feb 1994 21:52:25 -0800",
        b"afternoon meeting",
        fred,
        fred,
        fred,
        [[None, None, b"mooch", b"owatagu.siam.edu"]],
        [
            [None, None, b"Team", None],
            [None, None, b"a", b"b.c"],
            [b'X"Y', None, b"d", b"e.f"],
            [None, None, None, None],
        ],
        None,
        b"",
        b"<B@x>",
    ]


def test_envelope_bytes_are_exact() -> None:
    data = (
        "From: =?utf-8?q?Jos=C3=A9?= <j@b.c>\r\nSender: \r\nReply-To: Ñ <r@b.c>\r\n"
        'Subject: say "a\\b"\r\nTo: root\r\nTo: x@y\r\n\r\n'
    ).encode()
    assert imap_envelope(data, index(data)) == (
        b'(NIL "say \\"a\\\\b\\"" (("=?utf-8?q?Jos=C3=A9?=" NIL "j" "b.c")) '
        b'(("=?utf-8?q?Jos=C3=A9?=" NIL "j" "b.c")) (({2}\r\n\xc3\x91 NIL "r" "b.c")) '
        b'((NIL NIL "root" "")(NIL NIL "x" "y")) NIL NIL NIL NIL)'
    )
    assert imap_envelope(b"", index(b"")) == b"(" + b" ".join([b"NIL"] * 10) + b")"


def test_body() -> None:
    data = (
        b'Content-Type: TEXT/Plain; Charset="us-ascii"\r\nContent-Transfer-Encoding: 8BIT\r\n'
        b"\r\na\r\nb\r\n"
    )
    assert imap_body(data, index(data), extensible=False) == (
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "8bit" 6 2)'
    )
    assert imap_body(b"", index(b""), extensible=True) == (
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)'
    )


def test_structure_of_a_nested_message() -> None:
    plain = [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit"]
    alternative = [[*plain, 12, 1], [b"text", b"html", None, None, None, b"7bit", 3, 0]]
    inner_envelope = [None, b"inner", *[None] * 8]
    digest_part = [
        b"message", b"rfc822", None, None, None, b"7bit", 26,
        [None, b"in digest", *[None] * 8], [*plain, 4, 0], 2,
    ]  # fmt: skip
    embedded = index(NESTED).children[1]
    body = whole(imap_body(NESTED, index(NESTED), extensible=False))
    assert body == [
        [*alternative, b"alternative"],
        [
            b"message", b"rfc822", None, b"<m@x>", None, b"7bit", embedded.size,
            inner_envelope, [digest_part, b"digest"], embedded.lines,
        ],
        b"mixed",
    ]  # fmt: skip
    extended = whole(imap_body(NESTED, index(NESTED), extensible=True))
    assert extended[2:] == [b"mixed", [b"boundary", b"out"], None, None, None]


def test_extension_data() -> None:
    data = (
        b"Content-Type: application/pdf; name=a.pdf\r\nContent-ID: <1@x>\r\nContent-MD5: Q2h=\r\n"
        b'Content-Disposition: ATTACHMENT; filename="a b.pdf"\r\nContent-Language: es, en\r\n'
        b"Content-Location: http://x/\r\nContent-Description: the file\r\n"
        b"Content-Transfer-Encoding: Base64 (really)\r\n\r\nQUJD"
    )
    assert whole(imap_body(data, index(data), extensible=True)) == [
        b"application", b"pdf", [b"name", b"a.pdf"], b"<1@x>", b"the file", b"base64", 4,
        b"Q2h=", [b"attachment", [b"filename", b"a b.pdf"]], [b"es", b"en"], b"http://x/",
    ]  # fmt: skip
    assert index(data).filename() == "a b.pdf"


@given(st.binary(max_size=60))
def test_strings(value: bytes) -> None:
    assert read(string(value)) == (value.replace(b"\0", b""), len(string(value)))


@given(st.lists(st.sampled_from([*TOKENS, b"Subject: ", b"From: a@b\n", b'"', b"\\"]), max_size=40))
def test_forms_of_any_octets_can_be_read(pieces: list[bytes]) -> None:
    made = summary(b"".join(pieces))
    assert len(whole(made.envelope)) == 10
    whole(made.bodystructure)
    whole(made.body)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("1.1", b"plain\r\nlines"),
        ("1.1.MIME", b"\r\n"),
        ("1.2.mime", b"Content-Type: text/html\r\n\r\n"),
        ("2.MIME", b"Content-Type: message/rfc822\r\nContent-ID: <m@x>\r\n\r\n"),
        ("2.HEADER", b"Subject: inner\r\nContent-Type: multipart/digest; boundary=dig\r\n\r\n"),
        ("2.TEXT", b"--dig\r\n\r\nSubject: in digest\r\n\r\nbody\r\n--dig--"),
        ("2.1", b"Subject: in digest\r\n\r\nbody"),
        ("2.1.HEADER", b"Subject: in digest\r\n\r\n"),
        ("2.1.1", b"body"),
        ("2.1.1.MIME", b"Subject: in digest\r\n\r\n"),
        ("", NESTED),
        ("3", None),
        ("1.3", None),
        ("1.1.1", None),
        ("1.HEADER", None),
        ("1.1.TEXT", None),
        ("9999999999", None),
    ],
)
def test_sections(path: str, expected: bytes | None) -> None:
    assert read_section(Bytes(NESTED), summary(NESTED).index, path) == expected


def test_sections_of_a_plain_message() -> None:
    data = b"Subject: s\r\n\r\nbody\r\n"
    table = summary(data).index
    assert section(table, "HEADER") == section(table, "1.MIME") == (0, 14)
    assert section(table, "TEXT") == section(table, "1") == (14, 20)
    assert section(table, "1.1") is section(table, "2") is section(table, "1.TEXT") is None
    for path in ("MIME", "0", "1.", ".1", "1.X", "01", "1..2", "HEADER.1", "HEADER\n"):
        with pytest.raises(ValueError, match="expected"):
            section(table, path)


def test_table_says_how_content_is_encoded() -> None:
    data = (
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Transfer-Encoding: BASE64\n\n\n"
        b"--a\nContent-Transfer-Encoding: quoted-printable\n\n\n"
        b"--a\nContent-Transfer-Encoding: x-uuencode\n\n\n--a\n\n\n--a--\n"
    )
    assert [part.encoding for part in unpack(summary(data).index).children] == [2, 1, 3, 0]
