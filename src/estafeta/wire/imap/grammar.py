"""grammar: one function for each object of RFC 3501 §9 that commands hold, over a Cursor.

Extensions: SASL-IR (RFC 4959), ID (2971), ENABLE (5161), ESEARCH (4731), UIDPLUS (4315),
MULTIAPPEND (3502), SPECIAL-USE (6154), QUOTA (9208).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

from estafeta.wire.imap import limits
from estafeta.wire.imap.commands import Flags, Item, Section, SequenceSet
from estafeta.wire.imap.cursor import (
    NUMBER_MAX,
    BadCommand,
    Cursor,
    astring,
    atom,
    mailbox,
    number,
    parenthesised,
    word,
)

_SEQUENCE_SET = re.compile(
    rb"(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?(?:,(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?)*"
)
_FLAG = re.compile(rb"(\\?)([^\x00-\x20\x7f-\xff(){%*\"\\\]]+)")
_DATE = re.compile(rb'("?)(\d{1,2})-([A-Za-z]{3})-(\d{4})\1')
_DATE_TIME = re.compile(
    rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"'
)
_MONTHS = {
    name: n
    for n, name in enumerate(
        (
            b"jan",
            b"feb",
            b"mar",
            b"apr",
            b"may",
            b"jun",
            b"jul",
            b"aug",
            b"sep",
            b"oct",
            b"nov",
            b"dec",
        ),
        1,
    )
}
_ITEM = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[1-9]\d{0,8}(?:\.[1-9]\d{0,8})*")
_PARTIAL = re.compile(rb"<(\d{1,10})\.(\d{1,10})>")
_SYSTEM_FLAGS = frozenset({"answered", "flagged", "deleted", "seen", "draft"})
_EPOCH = datetime.date(1970, 1, 1)


def sequence_set(c: Cursor) -> SequenceSet:
    match = c.match(_SEQUENCE_SET)
    if match is None:
        raise BadCommand(f"a set of message numbers expected{c.where()}")
    pieces = match.group().split(b",")
    if len(pieces) > limits.SEQUENCE_RANGES_MAX:
        raise BadCommand("the set has too many ranges", code="LIMIT", no=True)
    ranges = []
    for piece in pieces:
        low, colon, high = piece.partition(b":")
        first = _set_number(low)
        ranges.append((first, _set_number(high) if colon else first))
    return SequenceSet(tuple(ranges))


def _set_number(digits: bytes) -> int:
    if digits == b"*":
        return 0
    value = int(digits)
    if not 0 < value <= NUMBER_MAX:
        raise BadCommand("message numbers go from 1 to 4294967295")
    return value


# Flags ------------------------------------------------------------------------------------------


def _flag(c: Cursor) -> tuple[bool, str]:
    match = c.match(_FLAG)
    if match is None:
        raise BadCommand(f"a flag expected{c.where()}")
    name = match.group(2).decode("ascii")
    if match.group(1):
        # \Recent is the server's alone (RFC 3501 §2.3.2), and no other name is a flag of ours.
        if name.lower() not in _SYSTEM_FLAGS:
            raise BadCommand(f"\\{name} is not a flag that can be set")
        return True, name.lower()
    if len(name) > limits.KEYWORD_OCTETS_MAX:
        raise BadCommand("the keyword is too long", code="LIMIT", no=True)
    return False, name


def _flags(found: list[tuple[bool, str]]) -> Flags:
    return Flags(
        frozenset(name for system, name in found if system),
        frozenset(name for system, name in found if not system),
    )


def flag_list(c: Cursor) -> Flags:
    """flag-list: may be empty."""
    if c.skip(b"()"):
        return Flags()
    return _flags(parenthesised(c, _flag, limits.FLAGS_MAX, "flags"))


def store_flags(c: Cursor) -> Flags:
    """flag-list, or flags without parentheses."""
    if c.peek() == b"(":
        return flag_list(c)
    found = [_flag(c)]
    while not c.at_end() and c.skip(b" ") and not c.at_end():
        if len(found) >= limits.FLAGS_MAX:
            raise BadCommand("too many flags", code="LIMIT", no=True)
        found.append(_flag(c))
    return _flags(found)


# Dates ------------------------------------------------------------------------------------------


def date(c: Cursor) -> int:
    """Days since 1970-01-01."""
    match = c.match(_DATE)
    if match is None:
        raise BadCommand(f"a date like 1-Feb-2026 expected{c.where()}")
    return (_day(match.group(4), match.group(3), match.group(2)) - _EPOCH).days


def _day(year: bytes, month: bytes, day: bytes) -> datetime.date:
    try:
        return datetime.date(int(year), _MONTHS[month.lower()], int(day))
    except (KeyError, ValueError) as error:
        raise BadCommand("no such day") from error


def date_time(c: Cursor) -> int:
    """Milliseconds since 1970-01-01 UTC."""
    match = c.match(_DATE_TIME)
    if match is None:
        raise BadCommand(f'a date like " 1-Feb-2026 12:00:00 +0000" expected{c.where()}')
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    days = (_day(year, month, day) - _EPOCH).days
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60 or int(zone_minutes) > 59:
        raise BadCommand("no such time of day")
    zone = int(zone_hours) * 60 + int(zone_minutes)
    seconds = days * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second)
    seconds -= (zone if sign == b"+" else -zone) * 60
    if seconds < 0:
        raise BadCommand("dates begin with 1970")
    return seconds * 1000


# FETCH ------------------------------------------------------------------------------------------

_PLAIN_ITEMS = frozenset(
    {b"FLAGS", b"UID", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODYSTRUCTURE"}
)
_HEADER = Section((), "HEADER", (), b"")
_TEXT = Section((), "TEXT", (), b"")
_WHOLE = Section((), "", (), b"[]")
# RFC 3501 §6.4.5: what the items of RFC822 mean.
_RFC822_ITEMS = {
    b"RFC822": Item(b"RFC822", _WHOLE, None, True),
    b"RFC822.HEADER": Item(b"RFC822.HEADER", _HEADER, None, False),
    b"RFC822.TEXT": Item(b"RFC822.TEXT", _TEXT, None, True),
}
_FAST = (Item(b"FLAGS"), Item(b"INTERNALDATE"), Item(b"RFC822.SIZE"))
_MACROS = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, Item(b"ENVELOPE")),
    b"FULL": (*_FAST, Item(b"ENVELOPE"), Item(b"BODY")),
}


def fetch_items(c: Cursor) -> tuple[Item, ...]:
    """What stands after the sequence set of FETCH."""
    if c.peek() == b"(":
        items = parenthesised(c, fetch_item, limits.FETCH_ITEMS_MAX, "items")
        return tuple(dict.fromkeys(items))
    start = c.pos
    match = c.match(_ITEM)
    if match is not None and (macro := _MACROS.get(match.group().upper())) is not None:
        return macro
    c.pos = start
    return (fetch_item(c),)


def fetch_item(c: Cursor) -> Item:
    match = c.match(_ITEM)
    if match is None:
        raise BadCommand(f"an item to fetch expected{c.where()}")
    name = match.group().upper()
    if name in (b"BODY", b"BODY.PEEK") and c.peek() == b"[":
        body = section(c)
        return Item(b"BODY", body, _partial(c), name == b"BODY")
    if name == b"BODY" or name in _PLAIN_ITEMS:
        return Item(name)
    if name in _RFC822_ITEMS:
        return _RFC822_ITEMS[name]
    raise BadCommand(f"there is no item {name.decode('ascii')} to fetch")


def _partial(c: Cursor) -> tuple[int, int] | None:
    match = c.match(_PARTIAL)
    if match is None:
        if c.peek() == b"<":
            raise BadCommand("<start.octets> expected")
        return None
    start, octets = int(match.group(1)), int(match.group(2))
    if start > NUMBER_MAX or not 0 < octets <= NUMBER_MAX:
        raise BadCommand("<start.octets>: octets go from 1 to 4294967295")
    return start, octets


def section(c: Cursor) -> Section:
    """[ … ] after BODY."""
    c.expect(b"[", "[")
    if c.skip(b"]"):
        return _WHOLE
    part: tuple[int, ...] = ()
    written = b""
    match = c.match(_PART)
    if match is not None:
        written = match.group()
        part = tuple(map(int, written.split(b".")))
        if len(part) > limits.SECTION_DEPTH_MAX:
            raise BadCommand("the section is too deep", code="LIMIT", no=True)
        if c.skip(b"]"):
            return Section(part, "", (), b"[%b]" % written)
        c.expect(b".", "'.' or ']'")
        written += b"."
    text = atom(c, "a section").upper()
    fields: tuple[bytes, ...] = ()
    if text == b"MIME" and not part:
        raise BadCommand("MIME belongs to a part: BODY[1.MIME]")
    if text in (b"HEADER.FIELDS", b"HEADER.FIELDS.NOT"):
        c.space()
        fields = tuple(parenthesised(c, _field_name, limits.HEADER_FIELDS_MAX, "header fields"))
        shown = b" ".join(fields)
        written += b"%b (%b)" % (text, shown)
    elif text in (b"HEADER", b"TEXT", b"MIME"):
        written += text
    else:
        raise BadCommand("HEADER, HEADER.FIELDS, TEXT or MIME expected in the section")
    c.expect(b"]", "']'")
    return Section(part, text.decode("ascii"), fields, b"[%b]" % written)


_FIELD_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+\Z")


def _field_name(c: Cursor) -> bytes:
    name = astring(c, "the name of a header field")
    if not _FIELD_NAME.match(name):
        raise BadCommand("this is no name of a header field")
    return name


# Others -----------------------------------------------------------------------------------------

_STATUS_ITEMS = frozenset({"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"})


def status_items(c: Cursor) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parenthesised(c, _status_item, 20, "status items")))


def _status_item(c: Cursor) -> str:
    name = word(c, "a status item")
    if name not in _STATUS_ITEMS:
        raise BadCommand(f"there is no status item {name}")
    return name


_ROLE = re.compile(rb"\\([A-Za-z]+)")
_ROLES = {"archive", "drafts", "junk", "sent", "trash"}


def special_use(c: Cursor) -> str:
    """`(USE (\\Sent))` after CREATE (RFC 6154 §5.2): the role, in lower case."""
    if c.data[c.pos : c.pos + 6].upper() != b"(USE (":
        raise BadCommand(f"(USE (…)) expected{c.where()}")
    c.pos += 6
    match = c.match(_ROLE)
    if match is None:
        raise BadCommand(f"a special use expected{c.where()}")
    role = match.group(1).decode("ascii").lower()
    c.expect(b"))", "'))'")
    if role not in _ROLES:
        raise BadCommand("no such special use here", code="USEATTR", no=True)
    return role


def optional(c: Cursor, read: Callable[[Cursor], str]) -> str:
    """SP and what `read` reads, or ""."""
    if c.at_end():
        return ""
    c.space()
    return read(c)


__all__ = [
    "date",
    "date_time",
    "fetch_item",
    "fetch_items",
    "flag_list",
    "mailbox",
    "number",
    "optional",
    "section",
    "sequence_set",
    "special_use",
    "status_items",
    "store_flags",
]
