"""Fast paths: whatever comes, they give what the general path gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.mail.test_suites_mime import SUITES, files

from estafeta.mail.address import AddressError, canonical, parse_path
from estafeta.mail.address.path import canonical_of_any, path_of_any
from estafeta.mail.header import count, find, message_id, message_id_of_any, remove
from estafeta.mail.limits import PREVIEW_CHARACTERS_MAX
from estafeta.mail.message import LEAF, header_end, index, pairs, summary
from estafeta.mail.message.fields import by_name, pairs_of_any, units
from estafeta.mail.message.imap_form import _addresses, _value, addresses, string
from estafeta.mail.message.parts import Indexer
from estafeta.mail.words import unfold

LINES = st.sampled_from(
    [
        b"From: a@b.c", b"From: Ana <a@b.c>", b'from: "Ana, M" <a@b.c>, d@e.f', b"To: ", b"TO:x",
        b"To: a@b.c,", b"to: one@b.c,\r\n two@b.c", b"Cc: g: a@b.c, d@e.f;", b"Cc: (c) <a@b.c>",
        b"Sender:\ta@b.c\t", b"Bcc: =?utf-8?q?=C3=B1?= <a@b.c>", b"Reply-To: \xc3\xb1@b.c",
        b"Subject: s", b"Subject: two\r\n  lines", b'subject: "q\\', b"Message-ID: <1@x>",
        b"message-id : <2@x>", b"Message-Id:\r\n <3@x>", b"Message-ID: <4 @x>", b"Message-ID:",
        b"Message-ID: <\xff@x>", b"Message-IDs: <5@x>", b"In-Reply-To: <a@b>\r\n\t<c@d>",
        b"Received: by x", b"received : by y", b"Received-SPF: pass", b"Date: Tue, 1 Jul 2003",
        b"Content-Type: text/html; charset=utf-8", b"Content-Type: text/plain; name*0=a; name*1=b",
        b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: message/rfc822",
        b"Content-Type: multipart/mixed", b"content-type: image/png", b"Content-ID: <c@x>",
        b"Content-Disposition: attachment; filename=x", b"Content-Transfer-Encoding: base64",
        b"Content-Language: en, es", b"no field", b": nothing", b"X: \r y", b"X:\ry\r", b"", b"--b",
        b"--b--", b" fold", b"\t",
    ]
)  # fmt: skip
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\r\n", b"\r"])
UNIFORM = st.lists(LINES, max_size=12).map(b"\r\n".join)
MIXED = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=12).map(b"".join)
MESSAGES = st.one_of(UNIFORM, MIXED)


def collected(name: str) -> Iterator[bytes]:
    """The messages of a suite with the line ends they have, and with CRLF."""
    for path in files(name):
        raw = path.read_bytes()
        yield raw
        yield re.sub(rb"\r?\n", b"\r\n", raw)


def compare(data: bytes) -> None:
    head = data[: header_end(data)]
    assert pairs(head) == pairs_of_any(head)
    fields = by_name(pairs(head))
    for name in (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"):
        if name in fields:
            assert _addresses(fields[name]) == addresses(fields[name]), fields[name]
    for value in fields.values():
        assert _value(value) == string(unfold(value)), value
    assert message_id(data) == message_id_of_any(data)
    for field in ("Received", "date", "X"):
        assert count(data, field) == len(find(data, field))
        assert find(data, field) == [
            unfold(value)
            for key, value in pairs_of_any(head)
            if key.lower() == field.lower().encode()
        ]
        kept = [octets for key, octets in units(head) if key != field.lower().encode()]
        assert (
            remove(data, [field])
            == b"".join(kept) + data[len(b"".join(o for _, o in units(head))) :]
        )
    root = index(data)
    if root.kind == LEAF:
        walked = msgspec.structs.replace(root, body=-1, end=-1, lines=-1)
        Indexer(data).run(walked)
        assert walked == root


ADDRESSES = st.text(
    st.sampled_from('aaaAA1._-  \t",<>@()\\:;[]=?é\r\n\x01'), max_size=30
) | st.lists(
    st.sampled_from(
        ["a@b.c", "<a@b.c>", "Ana <a@b.c>", "Ana  M. <a@b>", '"Ana" <a@b>', '"Ana, " <a@b>',
         '" "<a@b>',
         '""<a@b>', "Ana\tM\t<a@b>", '"a b"@c', "<@x:a@b>", "g: a@b;", "(c)", "\r\n ",
         "a@b.c (Ana)",
         "Ana", "@", "é <a@b>", '"a\\"" <a@b>', "a@[192.0.2.1]", " ", "Ana M."]
    ),
    max_size=4,
).map(",".join)  # fmt: skip


@given(ADDRESSES)
@settings(max_examples=500)
def test_addresses(text: str) -> None:
    value = text.encode()
    assert _addresses(value) == addresses(value)
    assert _value(value) == string(unfold(value))


PATHS = st.text(st.sampled_from("abA.-_@<>\"\\ é[]:1"), max_size=20) | st.tuples(
    st.sampled_from(["a", "Ana.M", '"a b"', "a" * 64, "a" * 65, ".a", "a.", "é", "postmaster", ""]),
    st.sampled_from(["@", "", "@@"]),
    st.sampled_from(
        ["b.C", "b_.c", ".b", "b.", "-b", "b-.c", "b" * 63, "b" * 64, "b." * 95 + "b",
         "b." * 127 + "b",
         "b." * 94 + "b", "b." * 96 + "bc", "é.c", "[192.0.2.1]", "", "b..c"]
    ),
).map("".join)  # fmt: skip


def outcome(function: Callable[[], object]) -> object:
    try:
        return function()
    except AddressError as error:
        return str(error)


@given(PATHS, st.sampled_from(["", " SIZE=1", " ", "x", " a\nb"]), st.booleans(), st.booleans())
def test_paths(address: str, rest: str, smtputf8: bool, null_ok: bool) -> None:
    """Errors too are worded alike."""
    assert outcome(lambda: canonical(address)) == outcome(lambda: canonical_of_any(address))
    path = f"<{address}>{rest}".strip(" ")
    assert outcome(lambda: parse_path(path, smtputf8=smtputf8, null_ok=null_ok)) == outcome(
        lambda: path_of_any(path, smtputf8=smtputf8, null_ok=null_ok)
    )


@given(MESSAGES)
@settings(max_examples=500)
@example(b"X: y\r\nMessage-ID: <1@x>\r\n y\r\n\r\n")
@example(b"Received : first\r\n\r\n")
def test_generated(data: bytes) -> None:
    compare(data)


@pytest.mark.parametrize("name", SUITES)
def test_collected(name: str) -> None:
    for data in collected(name):
        compare(data)


def test_preview_ends_before_controls() -> None:
    """What is cut off at the end may be the only thing behind a space."""
    assert summary(b"\n" + b"x" * (PREVIEW_CHARACTERS_MAX - 1) + b" \x01").preview == "x" * (
        PREVIEW_CHARACTERS_MAX - 1
    )
