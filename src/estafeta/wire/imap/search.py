"""search: the keys of SEARCH (RFC 3501 §6.4.4) as one tree, and the options of ESEARCH (RFC 4731).

Strings are text at once, by the CHARSET given: UTF-8 or US-ASCII; another is BADCHARSET.
"""

from __future__ import annotations

from collections.abc import Callable

from estafeta.wire.imap import grammar, limits
from estafeta.wire.imap.commands import (
    All,
    And,
    Date,
    HasFlag,
    Header,
    Key,
    Not,
    Or,
    Sequence,
    Size,
    Text,
)
from estafeta.wire.imap.cursor import BadCommand, Cursor, astring, atom, number, word

_RETURN = frozenset({"MIN", "MAX", "ALL", "COUNT"})
_CHARSETS = frozenset({"UTF-8", "US-ASCII"})


def program(c: Cursor) -> tuple[frozenset[str] | None, Key]:
    """What stands after SEARCH: wanted (None = plain) and the key."""
    wanted: frozenset[str] | None = None
    if c.data[c.pos : c.pos + 8].upper() == b" RETURN ":
        c.pos += 8
        wanted = _return_options(c)
    c.space()
    charset = "UTF-8"
    if c.data[c.pos : c.pos + 8].upper() == b"CHARSET ":
        c.pos += 8
        charset = astring(c, "a charset").decode("ascii", "replace").upper()
        c.space()
    if charset not in _CHARSETS:
        raise BadCommand(
            "search strings may be UTF-8 or US-ASCII", code="BADCHARSET (UTF-8 US-ASCII)", no=True
        )
    return wanted, _Reader(charset).keys(c, 0)


def _return_options(c: Cursor) -> frozenset[str]:
    if c.skip(b"()"):
        return frozenset({"ALL"})
    c.expect(b"(", "a list of options")
    options = [word(c, "an option")]
    while not c.skip(b")"):
        c.space()
        options.append(word(c, "an option"))
        if len(options) > len(_RETURN) * 2:
            raise BadCommand("too many options")
    for option in options:
        if option not in _RETURN:
            raise BadCommand(f"there is no result option {option}")
    return frozenset(options)


class _Reader:
    """Reads keys; counts them over the whole program."""

    def __init__(self, charset: str) -> None:
        self.charset = charset
        self.count = 0

    def keys(self, c: Cursor, depth: int) -> Key:
        """key SP key …, up to ")" or the end: all of them."""
        keys = [self.key(c, depth)]
        while c.peek() == b" ":
            c.pos += 1
            if c.at_end():
                break
            keys.append(self.key(c, depth))
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def key(self, c: Cursor, depth: int) -> Key:
        self.count += 1
        if depth > limits.SEARCH_DEPTH_MAX or self.count > limits.SEARCH_KEYS_MAX:
            raise BadCommand("the search is too deep or too long", code="LIMIT", no=True)
        first = c.peek()
        if first == b"(":
            c.pos += 1
            keys = self.keys(c, depth + 1)
            c.expect(b")", "')'")
            return keys
        if first.isdigit() or first == b"*":
            return Sequence(grammar.sequence_set(c), False)
        name = word(c, "a search key")
        if name == "NOT":
            c.space()
            return Not(self.key(c, depth + 1))
        if name == "OR":
            c.space()
            left = self.key(c, depth + 1)
            c.space()
            return Or(left, self.key(c, depth + 1))
        plain = _PLAIN.get(name)
        if plain is not None:
            return plain
        read = _WITH_ARGUMENT.get(name)
        if read is None:
            raise BadCommand(f"there is no search key {name}")
        c.space()
        return read(self, c)

    def text(self, c: Cursor) -> str:
        octets = astring(c, "a string to search for")
        try:
            return octets.decode("ascii" if self.charset == "US-ASCII" else "utf-8")
        except UnicodeDecodeError as error:
            raise BadCommand(f"the string is not {self.charset}") from error

    def header(self, c: Cursor) -> Key:
        name = astring(c, "the name of a header field")
        c.space()
        return Header(name.lower(), self.text(c))


def _flag(name: str, wanted: bool = True) -> Key:
    return HasFlag(name, False, wanted)


_PLAIN: dict[str, Key] = {
    "ALL": All(),
    "ANSWERED": _flag("answered"),
    "DELETED": _flag("deleted"),
    "DRAFT": _flag("draft"),
    "FLAGGED": _flag("flagged"),
    "SEEN": _flag("seen"),
    "RECENT": _flag("recent"),
    "NEW": And((_flag("recent"), _flag("seen", False))),
    "OLD": _flag("recent", False),
    "UNANSWERED": _flag("answered", False),
    "UNDELETED": _flag("deleted", False),
    "UNDRAFT": _flag("draft", False),
    "UNFLAGGED": _flag("flagged", False),
    "UNSEEN": _flag("seen", False),
}


def _field(name: bytes) -> Callable[[_Reader, Cursor], Key]:
    return lambda reader, c: Header(name, reader.text(c))


def _date(sent: bool, relation: str) -> Callable[[_Reader, Cursor], Key]:
    return lambda reader, c: Date(grammar.date(c), sent, relation)


def _keyword(wanted: bool) -> Callable[[_Reader, Cursor], Key]:
    return lambda reader, c: HasFlag(atom(c, "a keyword").decode("ascii"), True, wanted)


_WITH_ARGUMENT: dict[str, Callable[[_Reader, Cursor], Key]] = {
    "BCC": _field(b"bcc"),
    "CC": _field(b"cc"),
    "FROM": _field(b"from"),
    "SUBJECT": _field(b"subject"),
    "TO": _field(b"to"),
    "HEADER": _Reader.header,
    "BODY": lambda reader, c: Text(reader.text(c), False),
    "TEXT": lambda reader, c: Text(reader.text(c), True),
    "KEYWORD": _keyword(True),
    "UNKEYWORD": _keyword(False),
    "LARGER": lambda reader, c: Size(number(c), True),
    "SMALLER": lambda reader, c: Size(number(c), False),
    "UID": lambda reader, c: Sequence(grammar.sequence_set(c), True),
    "BEFORE": _date(False, "<"),
    "ON": _date(False, "="),
    "SINCE": _date(False, ">="),
    "SENTBEFORE": _date(True, "<"),
    "SENTON": _date(True, "="),
    "SENTSINCE": _date(True, ">="),
}
