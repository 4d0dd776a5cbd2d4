"""The part tree: offsets that slice, broken mail, hostile mail."""

from __future__ import annotations

import email
import email.message
import mmap
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estafeta.mail.limits import DEPTH_MAX, PARTS_MAX
from estafeta.mail.message import (
    LEAF,
    MESSAGE,
    MULTIPART,
    Part,
    field,
    header_end,
    header_fields,
    headers,
    index,
    summary,
    text_field,
)

NESTED = (
    b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n"
    b"--out\r\nContent-Type: multipart/alternative; boundary=out2\r\n\r\n"
    b"--out2\r\n\r\nplain\r\nlines\r\n--out2\r\nContent-Type: text/html\r\n\r\n<p>\r\n--out2--\r\n"
    b"--out \t\r\nContent-Type: message/rfc822\r\nContent-ID: <m@x>\r\n\r\n"
    b"Subject: inner\r\nContent-Type: multipart/digest; boundary=dig\r\n\r\n"
    b"--dig\r\n\r\nSubject: in digest\r\n\r\nbody\r\n--dig--\r\n"
    b"--out--\r\nepilogue\r\n--out\r\nno part\r\n"
)


def walk(part: Part) -> list[Part]:
    found: list[Part] = []
    waiting = [part]
    while waiting:
        found.append(waiting.pop())
        waiting.extend(reversed(found[-1].children))
    return found


def check(data: bytes, root: Part) -> None:
    """Every range lies in its parent's content, and in order; lines are counted right."""
    assert (root.start, root.end) == (0, len(data))
    for part in walk(root):
        assert part.start <= part.body <= part.end
        if part.kind != MULTIPART:
            assert part.lines == data.count(b"\n", part.body, part.end)
        at = part.body
        for child in part.children:
            assert at <= child.start
            assert child.end <= part.end
            at = child.end
        assert len(part.children) == 1 or part.kind == MULTIPART or not part.children


def content(data: bytes, part: Part) -> bytes:
    return data[part.body : part.end]


def test_nested() -> None:
    root = index(NESTED)
    check(NESTED, root)
    alternative, forwarded = root.children
    assert [content(NESTED, part) for part in alternative.children] == [b"plain\r\nlines", b"<p>"]
    assert NESTED[alternative.start : alternative.body].startswith(b"Content-Type: multipart/alt")
    assert (forwarded.kind, forwarded.id) == (MESSAGE, b"<m@x>")
    inner = forwarded.children[0]
    assert NESTED[inner.start : inner.body].startswith(b"Subject: inner\r\n")
    digest = inner.children[0]
    assert (digest.type, digest.subtype, digest.kind) == (b"message", b"rfc822", MESSAGE)
    assert content(NESTED, digest.children[0]) == b"body"
    assert digest.lines == 2


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        # a boundary that is the beginning of another is another boundary
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\n1\n--ab\n2\n--a--\n",
         [b"1\n--ab\n2"]),
        # a boundary that looks like the close of an outer one: the inner one is meant
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed;"
         b" boundary=a--\n\n--a--\n\n1\n--a----\n--a\n\n2\n--a--\n", [b"1", b"2"]),
        # no closing delimiter
        (b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\n1\r\n--a\r\n\r\n2\r\n",
         [b"1", b"2\r\n"]),
        # an outer delimiter ends the inner multipart that was never closed
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed;"
         b" boundary=b\n\n--b\n\n1\n--a\n\n2\n--b\nx\n--a--\n", [b"1", b"2\n--b\nx"]),
        # header of a part without an empty line
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\nX: y\n--a\n\n2\n--a--\n", [b"", b"2"]),
        # nothing between two delimiters
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\n--a--\n", [b""]),
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\n--a--", [b""]),
        # no delimiter at all, no boundary, empty boundary: the content is text
        (b"Content-Type: multipart/mixed; boundary=a\n\ntext\n", [b"text\n"]),
        (b"Content-Type: multipart/mixed\n\n--\ntext\n", [b"--\ntext\n"]),
        (b'Content-Type: multipart/mixed; boundary=""\n\n--\ntext\n', [b"--\ntext\n"]),
        (b"Content-Type: multipart/mixed; boundary=a\n", [b""]),
        # quoted boundary with specials; a delimiter must begin its line
        (b'Content-Type: multipart/mixed; boundary="=_a:b c"\n\n--=_a:b c\n\n1 --=_a:b c\n --='
         b"_a:b c\n--=_a:b c--", [b"1 --=_a:b c\n --=_a:b c"]),
        # an embedded message that ends with its header, and one that is empty
        (b"Content-Type: multipart/digest; boundary=a\n\n--a\n\nX: y\n\n--a--", [b""]),
        (b"Content-Type: multipart/digest; boundary=a\n\n--a\n\n\n--a--", [b""]),
        # a message in an encoding cannot be looked into
        (b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQUJD\n", [b"QUJD\n"]),
        (b"no header at all", [b""]),
        (b"\r\nbody only", [b"body only"]),
        (b"\nbody only", [b"body only"]),
        (b"X: y\r\n\r\n", [b""]),
        (b"", [b""]),
        (b"X: y\rz\r\r\n\r\n\r\nbody", [b"\r\nbody"]),
        (b"X: y\n\r\nbody", [b"body"]),
    ],
)  # fmt: skip
def test_broken(data: bytes, parts: list[bytes]) -> None:
    root = index(data)
    check(data, root)
    assert [content(data, part) for part in walk(root) if part.kind == LEAF] == parts


def mbomb(depth: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(depth)
    )


class Watched(bytes):
    """Octets that count how many of them searches pass over."""

    passed = 0

    def find(self, sub, start=0, end=None):  # type: ignore[no-untyped-def]
        found = super().find(sub, start)
        type(self).passed += (len(self) if found < 0 else found + len(sub)) - start
        return found

    def count(self, sub, start=0, end=None):  # type: ignore[no-untyped-def]
        type(self).passed += (len(self) if end is None else end) - start
        return super().count(sub, start, len(self) if end is None else end)


MIB = 1024 * 1024
HOSTILE = {
    "deep multiparts": mbomb(5000),
    "deep messages": b"Content-Type: message/rfc822\r\n\r\n" * 20000,
    "many parts": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
    + b"--a\r\n\r\nx\r\n" * 60000,
    "many headers without end": b"Content-Type: multipart/mixed; boundary=a\n\n"
    + b"--a\nX: y\n" * 60000,
    "other delimiters": b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--b\n" * 100000,
    "dashes": b"Content-Type: multipart/mixed; boundary=a\n\n" + b"-" * MIB,
    "one line": b"Subject: " + b"x" * MIB,
    "name without colon": b"x" * MIB,
    "folds": b"Subject:" + b"\n " * (MIB // 2),
    "white space": b"Subject" + b" " * MIB,
    "empty lines": b"\r\n" * (MIB // 2),
    "returns": b"X:" + b"\r" * MIB,
    "addresses": b"To: " + b"a@b.c, " * 30000,
    "comments": b"To: " + b"(" * 200_000,
    "html": b"Content-Type: text/html\n\n" + b"<style>" * 100_000,
    "html tags": b"Content-Type: text/html\n\n" + b"<style" * 100_000,
    "html comments": b"Content-Type: text/html\n\n" + b"<!--" * 100_000,
    "deep embedded multiparts": b"".join(
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n"
        b"--b%d\r\n" % (n, n)
        for n in range(3000)
    ),
    "same boundary again": b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" * 30000,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_is_bounded(name: str) -> None:
    data = HOSTILE[name]
    Watched.passed = 0
    root = index(Watched(data))
    assert Watched.passed <= 3 * len(data), "an octet is looked at a fixed number of times"
    check(data, root)
    parts = walk(root)
    assert len(parts) <= 2 * PARTS_MAX
    deepest, level = 0, [root]
    while level:
        deepest += 1
        level = [child for part in level for child in part.children]
    assert deepest <= DEPTH_MAX + 2
    made = summary(data)
    assert len(made.bodystructure) + len(made.envelope) < 4 * len(data) + 10_000


def test_many_lines_that_are_no_delimiters() -> None:
    noise = b"--b\r\n--\r\n--ax\r\n--a-\r\n" * 100
    data = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + noise
        + b"--a\r\nContent-Type: multipart/mixed; boundary=\"a.(b\"\r\n\r\n" + noise
        + b"--a.(b \r\n\r\n1\r\n" + noise + b"--a.(b--\r\n" + noise + b"--a\r\n\r\n" + noise
        + b"--a--\t\r\n" + noise
    )  # fmt: skip
    root = index(data)
    check(data, root)
    assert len(root.children) == 2
    assert [content(data, part) for part in walk(root) if part.kind == LEAF] == [
        b"1\r\n" + noise[:-2],
        noise[:-2],
    ]


def test_parts_limit_keeps_the_rest() -> None:
    data = HOSTILE["many parts"]
    root = index(data)
    assert len(root.children) == PARTS_MAX - 1
    assert root.children[-1].end == len(data)


TOKENS = [
    b"\r\n", b"\n", b"\r", b"--a", b"--b", b"--a--", b"--b--", b": ", b"X: y\r\n", b" ", b"text",
    b"Content-Type: multipart/mixed; boundary=a\r\n",
    b"Content-Type: multipart/digest; boundary=b\n",
    b"Content-Type: message/rfc822\r\n", b"\r\n\r\n", b"\n--a\n", b"\r\n--b\r\n", b"\0", b"\xff",
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join))
def test_any_octets(data: bytes) -> None:
    check(data, index(data))
    summary(data)
    for each in headers(data):
        assert data[each.start :].startswith(each.name.encode())
        assert each.start < each.value_start <= each.value_end <= each.end
    assert header_fields(data[: header_end(data)], ["x"]).endswith(b"\r\n")


@st.composite
def messages(draw: st.DrawFn) -> email.message.Message:
    text = st.text("ab-\n=", max_size=30)
    made = email.message.Message()
    made["Subject"] = "s"
    if draw(st.integers(0, 2)) == 0:
        made.set_payload(draw(text))
        return made
    made["Content-Type"] = "multipart/mixed"
    made.set_payload([draw(messages()) for _ in range(draw(st.integers(1, 3)))])
    return made


@settings(max_examples=20)
@given(messages())
def test_slices_are_what_the_standard_library_reads(made: email.message.Message) -> None:
    data = made.as_bytes().replace(b"\n", b"\r\n")
    parsed = email.message_from_bytes(data)
    root = index(data)
    check(data, root)
    for part, theirs in zip(walk(root), parsed.walk(), strict=True):
        assert f"{part.type.decode()}/{part.subtype.decode()}" == theirs.get_content_type()
        if part.kind == LEAF:
            assert content(data, part).decode() == theirs.get_payload()


def test_mapped_files_and_views() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(NESTED)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert index(mapped) == index(NESTED)
            assert summary(mapped) == summary(NESTED)
            assert headers(mapped) == headers(NESTED)
            assert field(mapped, "subject") == b"outer"
    assert index(memoryview(NESTED)) == index(NESTED)
    assert index(bytearray(NESTED)) == index(NESTED)


def test_fields() -> None:
    data = (
        b"Received: a\r\n\tb\r\nSubject : =?utf-8?q?=C3=A9?=\r\n =?utf-8?q?x?=\r\n"
        b"not a field\r\n more\r\nX:\r\nTo:a\r\n\r\nX: body\r\n"
    )
    found = headers(data)
    assert [each.name for each in found] == ["Received", "Subject", "X", "To"]
    assert data[found[0].value_start : found[0].value_end] == b" a\r\n\tb"
    assert data[found[1].start : found[1].end].endswith(b"x?=\r\n")
    assert field(data, "RECEIVED") == b"a\tb"
    assert text_field(data, "subject") == "éx"
    assert field(data, "x") == b""
    assert field(data, "none") is None
    head = data[: header_end(data)]
    assert header_fields(head, ["to", b"RECEIVED", "to"]) == (b"Received: a\r\n\tb\r\nTo:a\r\n\r\n")
    assert header_fields(head, ["to", "received", "subject", "x"], negate=True) == (
        b"not a field\r\n more\r\n\r\n"
    )
    assert header_fields(b"To: a", ["to"]) == b"To: a\r\n\r\n"
    assert header_fields(b"", ["to"]) == b"\r\n"
