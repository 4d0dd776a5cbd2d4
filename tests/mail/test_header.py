"""Header operations: what is made decodes to what was meant, the rest stays octet by octet."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estafeta.mail.address import Mailbox, parse_address_list
from estafeta.mail.dates import format_date, parse_date
from estafeta.mail.header import (
    count,
    examine,
    find,
    fold,
    fold_addresses,
    fold_structured,
    message_id,
    new_message_id,
    prepend,
    remove,
)
from estafeta.mail.message import headers, text_field
from estafeta.mail.words import decode_charset

MESSAGE = (
    b"Received: one\r\nReceived : two\r\n\tfolded\r\nBCC: a@b.c,\r\n d@e.f\r\nX-Received: no\r\n"
    b"broken line\r\nSubject: s\r\n\r\nBcc: body\r\nReceived: body\r\n"
)

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\0"))


def test_operations() -> None:
    assert count(MESSAGE, "Received") == 2
    assert count(MESSAGE.replace(b"Received :", b"RECEIVED:"), "received") == 2
    assert count(b"", "Received") == 0
    assert find(MESSAGE, "received") == [b"one", b"two\tfolded"]
    assert find(MESSAGE, "none") == []
    without = remove(MESSAGE, ["Bcc", "None"])
    assert without == MESSAGE.replace(b"BCC: a@b.c,\r\n d@e.f\r\n", b"")
    assert remove(MESSAGE, ["none"]) is MESSAGE
    assert remove(b"Bcc: x", ["bcc"]) == b""
    assert prepend(b"X: y\r\n\r\n", b"A: 1\r\n", b"B: 2\r\n") == b"A: 1\r\nB: 2\r\nX: y\r\n\r\n"


def lines_are_legal(field: bytes) -> None:
    assert field.endswith(b"\r\n")
    lines = field[:-2].split(b"\r\n")
    assert all(len(line) <= 998 for line in lines)
    assert all(line[:1] in (b" ", b"\t") and line.strip() for line in lines[1:])
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)


@given(TEXT, st.booleans())
def test_fold_round_trip(value: str, utf8: bool) -> None:
    field = fold("Subject", value, utf8=utf8)
    lines_are_legal(field)
    assert utf8 or field.isascii()
    assert text_field(field + b"\r\n", "subject") == value.strip(" \t")
    assert len(headers(field + b"\r\n")) == 1


@pytest.mark.parametrize("value", ["x" * 2000, "é" * 2000, "=?utf-8?q?a?= b", "a  b", "=?", "a\tb"])
def test_fold_special(value: str) -> None:
    for utf8 in (False, True):
        field = fold("Subject", value, utf8=utf8)
        lines_are_legal(field)
        assert text_field(field, "subject") == value


def test_fold_lines() -> None:
    assert fold("Subject", "a b") == b"Subject: a b\r\n"
    assert fold("Subject", "") == b"Subject:\r\n"
    field = fold("Subject", "word " * 40)
    assert max(len(line) for line in field.split(b"\r\n")) <= 78


@pytest.mark.parametrize("bad", ["a\r\nBcc: x", "a\nb", "a\0b", "a\rb"])
def test_nothing_is_smuggled_in(bad: str) -> None:
    for work in (fold, fold_structured):
        if work is fold_structured and bad.split() != [bad]:
            assert work("Subject", bad).count(b"\r\n") == 1  # white space like any other
            continue
        try:
            field = work("Subject", bad)
        except ValueError:
            continue
        assert field.count(b"\n") == 1
        assert field.count(b"\r") == 1
    with pytest.raises(ValueError, match="expected"):
        fold("Sub ject", "x")
    with pytest.raises(ValueError, match="expected"):
        fold("Subject:", "x")


@given(
    st.lists(st.tuples(TEXT.map(lambda t: " ".join(t.split())), st.booleans()), max_size=8),
    st.booleans(),
)
def test_addresses_round_trip(names: list[tuple[str, bool]], utf8: bool) -> None:
    sent = [Mailbox(name, "a b" if odd else "ab", "c.example") for name, odd in names]
    field = fold_addresses("To", sent, utf8=utf8)
    lines_are_legal(field)
    value = decode_charset(field[3:].rstrip(b"\r\n"))
    clean = [
        Mailbox(" ".join("".join(" " if c < " " or c == "\x7f" else c for c in m.name).split()),
                m.local, m.domain)
        for m in sent
    ]  # fmt: skip
    assert parse_address_list(value) == clean


def test_addresses() -> None:
    assert fold_addresses("From", parse_address_list('"M, Ana" <a@b.c>, José <j@b.c>')) == (
        b'From: "M, Ana" <a@b.c>, =?utf-8?b?Sm9zw6k=?= <j@b.c>\r\n'
    )
    with pytest.raises(ValueError, match="utf8"):
        fold_addresses("To", [Mailbox("", "ñ", "b.c")])
    assert fold_addresses("To", [Mailbox("", "ñ", "b.c")], utf8=True) == "To: ñ@b.c\r\n".encode()


def test_standard_library_reads_what_we_write() -> None:
    data = (
        fold("Subject", "Reunión del martes: traer el acta " * 5)
        + fold_addresses("From", [Mailbox("José Ñandú de la Peña y Muñoz " * 3, "j", "b.c")])
        + b"\r\n"
    )
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert message["Subject"] == ("Reunión del martes: traer el acta " * 5).strip()
    assert message["From"].addresses[0].addr_spec == "j@b.c"
    assert message["From"].addresses[0].display_name.startswith("José Ñandú de la Peña")


def test_made_values() -> None:
    assert format_date(0.9) == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert parse_date(format_date(1e9)) == 1e9
    assert new_message_id(bytes(range(16)), "b.c") == f"<{bytes(range(16)).hex()}@b.c>"
    with pytest.raises(ValueError, match="octets"):
        new_message_id(b"short", "b.c")


@pytest.mark.parametrize(
    ("header", "codes"),
    [
        (b"From: a@b.c\r\n", []),
        (b"From: Ana <a@b.c>\r\nSender: s@b.c\r\n", []),
        (b"From: a@b.c, d@e.f\r\nSender: a@b.c\r\n", []),
        (b"From: a@b.c, d@e.f\r\n", ["no-sender"]),
        (b"To: a@b.c\r\n", ["no-from"]),
        (b"", ["no-from"]),
        (b"From: a@b.c\r\nFROM : a@b.c\r\n", ["several-from"]),
        (b"From:\r\n", ["bad-from"]),
        (b"From: Ana\r\n", ["bad-from"]),
        (b"From: Ana <a@>\r\n", ["bad-from"]),
        (b"From: Ana <a@b..c>\r\n", ["bad-from"]),
        (b"From: a@b.c, Ana\r\n", ["bad-from"]),
        (b"From: undisclosed:;\r\n", ["bad-from"]),
        ("From: ñ@ñ.example\r\n".encode(), []),
        (b"From: a@b.c\r\nSender: nobody\r\n", ["bad-sender"]),
        (
            b"From: a@b.c\r\nDate: x\r\nDate: y\r\nTo: a\r\nto: b\r\n",
            ["several-date", "several-to"],
        ),
    ],
)
def test_problems(header: bytes, codes: list[str]) -> None:
    found = examine(header + b"\r\nFrom: body@b.c\r\n").problems
    assert [problem.code for problem in found] == codes
    assert all(problem.field and "expected" in problem.text for problem in found)


@pytest.mark.parametrize(
    "header",
    [
        b"From: a@b.c\r\n",
        b"Message-ID: <x@y>\r\nDate: now\r\nFrom: a@b.c\r\n",
        b"from: a@b.c\r\nmessage-id:\r\n <x@y>\r\nDATE : now\r\n",
        b"From: a@b.c\r\nMessage-ID: <x y>\r\n",
        b"From: a@b.c\r\nMessage-ID: <" + b"x" * 1000 + b">\r\n",
        b"Message-ID: <x@y>\r\nMessage-ID: <z@y>\r\n",
        b"Received: a\r\nFrom: a@b.c\r\n",
        b"Received: a\r\nreceived : b\r\nReceived-SPF: c\r\nReceived: d\r\n Received: e\r\n",
        b"",
    ],
)
def test_one_look_finds_what_the_single_ones_do(header: bytes) -> None:
    found = examine(header + b"\r\nDate: body\r\nReceived: body\r\n")
    assert found.message_id == message_id(header)
    assert found.received == count(header, "Received")
    assert found.dated == (count(header, "Date") > 0)
