"""cursor: a place in the octets of one command, its literals beside, and what is read everywhere.

A literal stands in the line as "{n}" CRLF, which nothing else can hold; its octets lie in
`literals`, in order. Each function reads one object of RFC 3501 §9 and raises BadCommand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from estafeta.wire.imap import utf7
from estafeta.wire.imap.limits import MAILBOX_OCTETS_MAX

T = TypeVar("T")

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_LIST_ATOM = re.compile(rb"[^\x00-\x20\x7f(){\"\\]+")
# 8-bit octets inside quotes are UTF-8 that RFC 3501 forbids and clients send.
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_ESCAPE = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"~?\{(\d+)[+-]?\}\r\n")
_NUMBER = re.compile(rb"\d{1,10}(?!\d)")
NUMBER_MAX = 4_294_967_295


class BadCommand(Exception):
    """The command is not of the grammar; the text, in words, goes out after BAD.

    code: response code without brackets. no: the syntax is right, so the answer is NO.
    """

    def __init__(self, text: str, *, code: str = "", no: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.no = no


class Cursor:
    __slots__ = ("data", "literals", "next_literal", "pos")

    def __init__(self, data: bytes, literals: Sequence[bytes] = ()) -> None:
        self.data = data
        self.pos = 0
        self.literals = literals
        self.next_literal = 0

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Reads what `pattern` matches here."""
        match = pattern.match(self.data, self.pos)
        if match is not None:
            self.pos = match.end()
        return match

    def peek(self) -> bytes:
        """The next octet, b"" at the end."""
        return self.data[self.pos : self.pos + 1]

    def skip(self, octets: bytes) -> bool:
        """Reads `octets` if they stand here."""
        if self.data.startswith(octets, self.pos):
            self.pos += len(octets)
            return True
        return False

    def expect(self, octets: bytes, what: str) -> None:
        if not self.skip(octets):
            raise BadCommand(f"{what} expected{self.where()}")

    def where(self) -> str:
        """For error texts: what stands here instead."""
        rest = self.data[self.pos : self.pos + 20].split(b"\r", 1)[0]
        shown = "".join(chr(c) if 0x20 <= c < 0x7F else "?" for c in rest)
        return f", found '{shown}'" if shown else ", found the end of the line"

    def space(self) -> None:
        self.expect(b" ", "a space")

    def end(self) -> None:
        # A trailing space is sent by clients of note and harms nobody.
        self.skip(b" ")
        if self.pos != len(self.data):
            raise BadCommand(f"end of the command expected{self.where()}")

    def at_end(self) -> bool:
        return self.pos == len(self.data)


def atom(c: Cursor, what: str = "an atom") -> bytes:
    match = c.match(_ATOM)
    if match is None:
        raise BadCommand(f"{what} expected{c.where()}")
    return match.group()


def word(c: Cursor, what: str) -> str:
    """An atom as a keyword of the protocol: upper case."""
    return atom(c, what).upper().decode("ascii")


def number(c: Cursor, what: str = "a number") -> int:
    """32 bits, unsigned."""
    match = c.match(_NUMBER)
    if match is None or int(match.group()) > NUMBER_MAX:
        raise BadCommand(f"{what} expected{c.where()}")
    return int(match.group())


def literal(c: Cursor) -> bytes | None:
    if c.peek() not in b"{~" or c.match(_LITERAL) is None:
        return None
    octets = c.literals[c.next_literal]
    c.next_literal += 1
    return octets


def quoted(c: Cursor) -> bytes | None:
    match = c.match(_QUOTED)
    if match is None:
        return None
    octets = match.group(1)
    return _ESCAPE.sub(rb"\1", octets) if b"\\" in octets else octets


def string(c: Cursor, what: str = "a string") -> bytes:
    octets = quoted(c)
    if octets is None:
        octets = literal(c)
    if octets is None:
        raise BadCommand(f"{what} expected{c.where()}")
    return octets


def nstring(c: Cursor, what: str = "a string or NIL") -> bytes | None:
    if c.data[c.pos : c.pos + 3].upper() == b"NIL":
        c.pos += 3
        return None
    return string(c, what)


def astring(c: Cursor, what: str = "a string") -> bytes:
    match = c.match(_ASTRING_ATOM)
    return match.group() if match is not None else string(c, what)


def mailbox_name(octets: bytes) -> str:
    """INBOX in any case is INBOX (RFC 3501 §5.1)."""
    if len(octets) > MAILBOX_OCTETS_MAX:
        raise BadCommand("the mailbox name is too long", code="LIMIT", no=True)
    if octets.upper() == b"INBOX":
        return "INBOX"
    try:
        name = utf7.decode(octets)
    except (ValueError, UnicodeDecodeError) as error:
        raise BadCommand(
            "the mailbox name is not modified UTF-7", code="CANNOT", no=True
        ) from error
    if name[:6].upper() == "INBOX/":
        return "INBOX" + name[5:]
    return name


def mailbox(c: Cursor) -> str:
    return mailbox_name(astring(c, "a mailbox name"))


def list_mailbox(c: Cursor) -> str:
    """A name with wildcards (list-mailbox)."""
    match = c.match(_LIST_ATOM)
    octets = match.group() if match is not None else string(c, "a mailbox pattern")
    if len(octets) > MAILBOX_OCTETS_MAX:
        raise BadCommand("the mailbox pattern is too long", code="LIMIT", no=True)
    try:
        return utf7.decode(octets)
    except (ValueError, UnicodeDecodeError):
        # It names nothing that exists.
        return octets.decode("latin-1")


def parenthesised(c: Cursor, item: Callable[[Cursor], T], most: int, what: str) -> list[T]:
    """( item SP item … ), at least one, at most `most`."""
    c.expect(b"(", f"a list of {what}")
    items = [item(c)]
    while not c.skip(b")"):
        c.space()
        if len(items) >= most:
            raise BadCommand(f"more than {most} {what}", code="LIMIT", no=True)
        items.append(item(c))
    return items
