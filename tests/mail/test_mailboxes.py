"""Address lists of header fields: RFC 5322 with its obsolete forms, and what people write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.require import suite

from estafeta.mail.address import Group, Mailbox, mailboxes, parse_address_list


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.c", [Mailbox("", "a", "b.c")]),
        ("Ana M <a@b.c>", [Mailbox("Ana M", "a", "b.c")]),
        ('"M, Ana" <a@b.c>, d@e.f', [Mailbox("M, Ana", "a", "b.c"), Mailbox("", "d", "e.f")]),
        ('"a b"@c.d', [Mailbox("", "a b", "c.d")]),
        ('X <"a\\"b"@c.d>', [Mailbox("X", 'a"b', "c.d")]),
        ("a@b.c (Ana)", [Mailbox("Ana", "a", "b.c")]),
        ("Ana (x (y) z) <a@b.c>", [Mailbox("Ana", "a", "b.c")]),
        ("Joe Q. Public <j . q @ b . c>", [Mailbox("Joe Q. Public", "j.q", "b.c")]),
        ("<@x.y,@z:a@b.c>", [Mailbox("", "a", "b.c")]),
        (", ,a@b.c,,", [Mailbox("", "a", "b.c")]),
        ("a@[192.0.2.1]", [Mailbox("", "a", "[192.0.2.1]")]),
        ("Friends: a@b.c, D <d@e.f>;, g@h.i",
         [Group("Friends", (Mailbox("", "a", "b.c"), Mailbox("D", "d", "e.f"))),
          Mailbox("", "g", "h.i")]),
        ("undisclosed-recipients:;", [Group("undisclosed-recipients", ())]),
        ("open: a@b.c", [Group("open", (Mailbox("", "a", "b.c"),))]),
        ("=?utf-8?q?Jos=C3=A9?= <j@b.c>", [Mailbox("José", "j", "b.c")]),
        ("=?utf-8?q?a?=\r\n =?utf-8?q?b?= <j@b.c>", [Mailbox("ab", "j", "b.c")]),
        ("José <j@ñ.example>", [Mailbox("José", "j", "ñ.example")]),
        ("root", [Mailbox("", "root", "")]),
        ("no address here", [Mailbox("no address here", "", "")]),
        ("", []),
        ("<>", []),
        ("a@b.c>", [Mailbox("", "a", "b.c>")]),
    ],
)  # fmt: skip
def test_list(value: str, expected: list[Mailbox | Group]) -> None:
    assert parse_address_list(value) == expected


@pytest.mark.timeout(20)  # quadratic work on 256 KiB takes minutes, linear work half a second
@pytest.mark.parametrize(
    "piece", ["(", ")", "<", '"', "\\", "a@", "@", ",", ":", ";", " ", "[", "=?", "a ", ". ", "(a)"]
)
def test_hostile_lists_take_linear_work(piece: str) -> None:
    count = 256 * 1024 // len(piece)
    assert len(parse_address_list(piece * count)) <= count
    assert len(parse_address_list(piece * count + "<a@b.c>")) <= count + 1


@given(st.text(max_size=60))
def test_never_raises(value: str) -> None:
    for mailbox in mailboxes(parse_address_list(value)):
        assert isinstance(mailbox.address, str)


def test_against_another_parser() -> None:
    """Addresses agree wherever the other parser does not take comments for names or domains."""
    cases = json.loads((suite("mime-mail-parser") / "address.json").read_text())
    same = 0
    for case in cases:
        value = case["header"].split("\n\n")[0].strip()
        expected = case["expected"]
        listed = expected.get("List") or [
            each for group in expected["Group"] for each in group["addresses"]
        ]
        found = mailboxes(parse_address_list(value))
        addresses = [f"{m.local}@{m.domain}" if m.domain else m.local for m in found]
        same += addresses == [each["address"] for each in listed]
    assert same >= 53, f"{same} of {len(cases)} agree"
