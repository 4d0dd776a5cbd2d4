"""Fields: the header of a message or part as octet ranges.

Promises: linear time; never raises; what is no field (a line without a colon) is passed over and
stays where it is. A header ends at the first empty line, whether its lines end in CRLF or LF.
RFC 5322 §2.2, obsolete white space before the colon §4.5.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Collection, Iterable

import msgspec

from estafeta.mail.limits import HEADER_OCTETS_MAX
from estafeta.mail.words import decode_text, unfold

Buffer = bytes | bytearray | memoryview | mmap.mmap
"""A whole message as it lies in memory or in a mapped file."""

# name, and value with its folds but without the last line end; at the beginning of a line only
_FIELD = re.compile(
    rb"^([!-9;-~]++)[ \t]*+:((?:[^\r\n]++|\r?\n(?=[ \t])|\r(?!\n))*+)", re.MULTILINE
)
# As _FIELD, where every CR and every LF belongs to a CRLF: the scan for one octet takes a third of
# the time of the scan for two.
_FIELD_CRLF = re.compile(rb"^([!-9;-~]++)[ \t]*+:([^\r]*+(?:\r\n[ \t][^\r]*+)*+)", re.MULTILINE)
_BLANK = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_LISTS = (b"to", b"cc", b"bcc")
_UNIT = re.compile(rb"[^\n]*+\n?(?:[ \t][^\n]*+\n?)*+")


class Field(msgspec.Struct, frozen=True):
    """One field: name as written; the field is [start, end) with its line end, the value as it
    stands, folds included, is [value_start, value_end)."""

    name: str
    start: int
    value_start: int
    value_end: int
    end: int


def header_end(data: Buffer, start: int = 0, end: int | None = None) -> int:
    """Where the body begins: past the first empty line, or the end where there is none."""
    stop = len(data) if end is None else end
    first = _LINE_END.match(data, start, stop)
    if first is not None:  # no field at all
        return first.end()
    blank = _BLANK.search(data, start, stop)
    return stop if blank is None else blank.end()


def headers(data: Buffer, start: int = 0, end: int | None = None) -> list[Field]:
    """The fields of the header that begins at `start`, in order."""
    stop = min(header_end(data, start, end), start + HEADER_OCTETS_MAX)
    fields: list[Field] = []
    for match in _FIELD.finditer(data, start, stop):
        line_end = _LINE_END.match(data, match.end(), stop)
        last = match.end() if line_end is None else line_end.end()
        name = match[1].decode("ascii")
        fields.append(Field(name, match.start(), match.start(2), match.end(), last))
    return fields


def pairs(header: bytes) -> list[tuple[bytes, bytes]]:
    """(name, value as it stands) of every field; the fast form of `headers`."""
    header = header[:HEADER_OCTETS_MAX]
    lines = header.count(b"\r\n")
    if lines == header.count(b"\n") and lines == header.count(b"\r"):
        return _FIELD_CRLF.findall(header)
    return pairs_of_any(header)


def pairs_of_any(header: bytes) -> list[tuple[bytes, bytes]]:
    """As `pairs`, for any line ends."""
    return _FIELD.findall(header)


def by_name(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The values of `pairs` by their names in lower case.

    Of fields that may stand once the first counts; To, Cc and Bcc that stand several times are
    read as one.
    """
    found: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        key = name.lower()
        if key not in found:
            found[key] = value
        elif key in _LISTS:
            more.setdefault(key, [found[key]]).append(value)
    for key, values in more.items():
        found[key] = b",".join(values)
    return found


def field(data: Buffer, name: str) -> bytes | None:
    """The unfolded value of the first field of that name, or None."""
    wanted = name.lower().encode("ascii")
    head = bytes(data[: min(header_end(data), HEADER_OCTETS_MAX)])
    for key, value in pairs(head):
        if key.lower() == wanted:
            return unfold(value)
    return None


def text_field(data: Buffer, name: str) -> str | None:
    """As `field`, for people: encoded words decoded (RFC 2047), raw UTF-8 read (RFC 6532)."""
    value = field(data, name)
    return None if value is None else decode_text(value)


def units(header: bytes) -> list[tuple[bytes, bytes]]:
    """(name in lower case, octets) of all that a header consists of, up to its empty line.

    A line that is no field has the name b"". The octets of all units joined are the header.
    """
    found: list[tuple[bytes, bytes]] = []
    for match in _UNIT.finditer(header):
        octets = match[0]
        if octets in (b"", b"\r\n", b"\n"):
            break
        name, colon, _ = octets.partition(b":")
        found.append((name.rstrip(b" \t").lower() if colon else b"", octets))
    return found


def header_fields(header: bytes, names: Collection[str | bytes], negate: bool = False) -> bytes:
    """The named fields of a header (or all others) as stored, in order, and the empty line.

    What BODY[HEADER.FIELDS (…)] and BODY[HEADER.FIELDS.NOT (…)] give (RFC 3501 §6.4.5).
    """
    wanted = {
        (name.encode("utf-8") if isinstance(name, str) else name).strip().lower() for name in names
    }
    chosen = [octets for name, octets in units(header) if (name in wanted) != negate]
    if chosen and not chosen[-1].endswith(b"\n"):
        chosen.append(b"\r\n")
    return b"".join(chosen) + b"\r\n"
