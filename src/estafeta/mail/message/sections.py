"""Sections: where in a stored message the pieces lie that clients ask for one by one.

Promises: BODY[…] of any message is one range of its octets, found from a compact table made at
delivery, without a look at the message. RFC 3501 §6.4.5.
"""

from __future__ import annotations

import re

import msgspec

from estafeta.mail.message.parts import MESSAGE, MULTIPART, Part
from estafeta.mail.protocols import Content

IDENTITY, QUOTED_PRINTABLE, BASE64, UNKNOWN = 0, 1, 2, 3

_ENCODINGS = {
    b"": IDENTITY,
    b"7bit": IDENTITY,
    b"8bit": IDENTITY,
    b"binary": IDENTITY,
    b"quoted-printable": QUOTED_PRINTABLE,
    b"base64": BASE64,
}
_PATH = re.compile(
    r"(?:(?P<numbers>[1-9]\d{0,9}(?:\.[1-9]\d{0,9})*)(?:\.(?P<of>MIME|HEADER|TEXT))?"
    r"|(?P<whole>HEADER|TEXT)?)\Z",
    re.IGNORECASE,
)


class Span(msgspec.Struct, array_like=True, omit_defaults=True):
    """A part in the table: offsets and kind as in `Part`; encoding: IDENTITY … UNKNOWN."""

    start: int
    body: int
    end: int
    kind: int = 0
    encoding: int = IDENTITY
    children: list[Span] = msgspec.field(default_factory=list)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Span).decode


def pack(part: Part) -> bytes:
    """The table of a message, for `section`."""
    return _encode(_span(part))


def _span(part: Part) -> Span:
    return Span(
        part.start,
        part.body,
        part.end,
        part.kind,
        _ENCODINGS.get(part.encoding, UNKNOWN),
        [_span(child) for child in part.children],
    )


def unpack(index: bytes) -> Span:
    """The table as a tree. Raises msgspec.DecodeError on what `pack` did not make."""
    return _decode(index)


def section(index: bytes, path: str) -> tuple[int, int] | None:
    """[start, end) of "", "HEADER", "TEXT", "1.2", "1.2.MIME", "1.2.HEADER" or "1.2.TEXT".

    None where the message has no such part, or the part no such section: HEADER and TEXT of a
    number belong to embedded messages only. Raises ValueError for what is no path.
    """
    match = _PATH.match(path)
    if match is None:
        raise ValueError("a section path was expected: numbers with dots, HEADER, TEXT, MIME")
    root = _decode(index)
    if match["numbers"] is None:
        return _of_message(root, (match["whole"] or "").upper())
    part = find(root, [int(number) for number in match["numbers"].split(".")])
    if part is None:
        return None
    of = (match["of"] or "").upper()
    if of == "":
        return part.body, part.end
    if of == "MIME":
        return part.start, part.body
    if part.kind != MESSAGE:
        return None
    return _of_message(part.children[0], of)


def _of_message(message: Span, of: str) -> tuple[int, int]:
    if of == "HEADER":
        return message.start, message.body
    if of == "TEXT":
        return message.body, message.end
    return message.start, message.end


def find(root: Span, numbers: list[int]) -> Span | None:
    """The part at 1.2.3 …: a message that is no multipart has one part, itself."""
    parts = _parts(root)
    part: Span | None = None
    for number in numbers:
        if number > len(parts):
            return None
        part = parts[number - 1]
        if part.kind == MULTIPART:
            parts = part.children
        elif part.kind == MESSAGE:
            parts = _parts(part.children[0])
        else:
            parts = []
    return part


def _parts(message: Span) -> list[Span]:
    return message.children if message.kind == MULTIPART else [message]


def read_section(content: Content, index: bytes, path: str) -> bytes | None:
    """The octets of a section, or None; as `section`."""
    place = section(index, path)
    return None if place is None else content.read(*place)
