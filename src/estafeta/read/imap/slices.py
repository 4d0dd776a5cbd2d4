"""slices: what BODY[section]<partial> of a stored message is, as pieces that can be streamed.

A stored message is its prefix (header fields of this copy alone) and its body; only a header that
must be picked apart is read into memory, all else stays where it lies until it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from estafeta.mail.message import header_fields, section
from estafeta.mail.protocols import Content
from estafeta.read.limits import PIECE_OCTETS
from estafeta.wire.imap.commands import Section


class Octets:
    """Pieces in order: octets, or a range of a content. size: of all together."""

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes | tuple[Content, int, int]] = []
        self.size = 0

    def add(self, octets: bytes) -> Octets:
        if octets:
            self.pieces.append(octets)
            self.size += len(octets)
        return self

    def add_range(self, content: Content, start: int, end: int) -> Octets:
        if end > start:
            self.pieces.append((content, start, end))
            self.size += end - start
        return self

    def cut(self, start: int, octets: int) -> Octets:
        """<start.octets> of it (RFC 3501 §6.4.5); what lies behind the end is empty."""
        result = Octets()
        end = start + octets
        at = 0
        for piece in self.pieces:
            if isinstance(piece, bytes):
                result.add(piece[max(0, start - at) : max(0, end - at)])
                at += len(piece)
                continue
            content, first, last = piece
            low = max(first, first + start - at)
            high = min(last, first + end - at)
            result.add_range(content, low, high)
            at += last - first
        return result

    def read(self) -> bytes:
        """All of it at once."""
        return b"".join(
            piece if isinstance(piece, bytes) else piece[0].read(piece[1], piece[2])
            for piece in self.pieces
        )

    def stream(self) -> Iterator[bytes]:
        """In pieces of at most PIECE_OCTETS."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            content, start, end = piece
            while start < end:
                yield content.read(start, min(end, start + PIECE_OCTETS))
                start += PIECE_OCTETS


def octets_of(prefix: bytes, content: Content, parts: bytes, wanted: Section) -> Octets | None:
    """The section; None where the message has no such part (NIL)."""
    result = Octets()
    if not wanted.part:
        if wanted.text == "":
            return result.add(prefix).add_range(content, 0, content.size)
        place = section(parts, "TEXT" if wanted.text == "TEXT" else "HEADER")
        if place is None:
            return None
        if wanted.text == "TEXT":
            return result.add_range(content, *place)
        if wanted.text == "HEADER":
            return result.add(prefix).add_range(content, *place)
        return result.add(_fields(prefix + content.read(*place), wanted))
    path = ".".join(map(str, wanted.part))
    if wanted.text:
        path += "." + wanted.text.partition(".")[0]
    place = section(parts, path)
    if place is None:
        return None
    if wanted.fields:
        return result.add(_fields(content.read(*place), wanted))
    return result.add_range(content, *place)


def reach(size: int, parts: bytes, wanted: Section) -> int:
    """How far into a content of `size` octets `octets_of` reads, or what it gives reaches."""
    if not wanted.part and wanted.text.startswith("HEADER"):
        place = section(parts, "HEADER")
        return place[1] if place is not None else 0
    return size


def _fields(header: bytes, wanted: Section) -> bytes:
    if wanted.text.endswith("NOT"):
        return header_fields(header, wanted.fields, negate=True)
    chosen = _chooser(wanted.fields)(header)
    if chosen and not chosen[-1].endswith(b"\n"):
        chosen.append(b"\r\n")
    chosen.append(b"\r\n")
    return b"".join(chosen)


@lru_cache(maxsize=256)
def _chooser(names: tuple[bytes, ...]) -> Callable[[bytes], list[bytes]]:
    """Gives the fields of these names as they stand: what `header_fields` gives, for the list that
    a client asks of every message, in one pass without a look at the others."""
    alternatives = b"|".join(re.escape(name) for name in names)
    pattern = re.compile(
        rb"^(?:%b)[ \t]*+:[^\n]*+\n?(?:[ \t][^\n]*+\n?)*+" % alternatives,
        re.IGNORECASE | re.MULTILINE,
    )
    return pattern.findall
