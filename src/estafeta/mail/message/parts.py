"""Parts: the MIME tree of a message as octet ranges (RFC 2045, RFC 2046).

Promises: one pass, time linear in the octets whatever they are, at most `PARTS_MAX` parts,
`DEPTH_MAX` deep; nothing is copied but headers; never raises. Offsets count from the beginning of
the message:

    start .. body   header and its empty line
    body .. end     content; the line end before a delimiter belongs to the delimiter (§5.1.1)

How broken mail is read: a delimiter of an outer part ends all inner ones; a header without an empty
line ends at the next delimiter; a part without a closing delimiter ends with what holds it; a
multipart in which no delimiter is found holds one text part, its whole content.
"""

from __future__ import annotations

import mmap
import re

import msgspec

from estafeta.mail.limits import (
    BOUNDARY_OCTETS_MAX,
    DEPTH_MAX,
    HEADER_OCTETS_MAX,
    PARTS_MAX,
)
from estafeta.mail.message.fields import Buffer, by_name, header_end, pairs
from estafeta.mail.message.params import PLAIN, Params, content_type, disposition, parameter
from estafeta.mail.words import unfold

LEAF, MULTIPART, MESSAGE = 0, 1, 2

_COUNT_OCTETS = 65536
_MISSES_MAX = 64
_BLANK = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_DELIMITER = re.compile(rb"--([^\r\n]{1,%d})(?:\r?\n|\Z)" % (BOUNDARY_OCTETS_MAX + 4))
_DESCRIBING = frozenset(
    (
        b"content-id",
        b"content-description",
        b"content-md5",
        b"content-language",
        b"content-location",
        b"content-disposition",
    )
)
_IDENTITY = (b"", b"7bit", b"8bit", b"binary")


class Part(msgspec.Struct):
    """One part, or the message itself.

    kind: LEAF, MULTIPART (children are its parts) or MESSAGE (its one child is the message in it).
    lines: line ends in the content. type, subtype and encoding in lower case; the other fields
    unfolded as sent, None where missing.
    """

    start: int
    body: int = 0
    end: int = 0
    lines: int = 0
    kind: int = LEAF
    type: bytes = b"text"
    subtype: bytes = b"plain"
    params: Params = PLAIN[2]
    encoding: bytes = b"7bit"
    id: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    disposition: tuple[bytes, Params] | None = None
    language: bytes | None = None
    location: bytes | None = None
    children: list[Part] = msgspec.field(default_factory=list)

    @property
    def size(self) -> int:
        """Octets of the content."""
        return self.end - self.body

    def parameter(self, name: str) -> str | None:
        """A parameter of Content-Type, decoded (RFC 2231)."""
        return parameter(self.params, name)

    def filename(self) -> str | None:
        """What the sender calls it: filename of Content-Disposition, else name of Content-Type."""
        found = parameter(self.disposition[1], "filename") if self.disposition else None
        return found if found is not None else parameter(self.params, "name")


def index(data: Buffer) -> Part:
    """The tree of a whole message."""
    return read(data)[0]


def read(data: Buffer) -> tuple[Part, dict[bytes, bytes]]:
    """The tree of a whole message, and its own header `by_name`."""
    if isinstance(data, memoryview):
        data = data.tobytes()
    body = header_end(data)
    fields = by_name(pairs(bytes(data[: min(body, HEADER_OCTETS_MAX)])))
    root = Part(start=0, body=body, end=len(data))
    _describe(root, fields, digest=False)
    if root.type in (b"multipart", b"message"):
        Indexer(data).run(root)
    else:  # most messages are one part, there is nothing to look for in it: saves 4 microseconds
        root.lines = _count_lines(data, body, root.end)
    return root, fields


class _Open:
    """A part that has not ended yet. boundary: b"" unless its delimiters are looked for."""

    __slots__ = ("boundary", "digest", "part")

    def __init__(self, part: Part, digest: bool) -> None:
        self.part = part
        self.boundary = b""
        self.digest = digest


class Indexer:
    """One pass. Positions only grow, so empty lines and line ends are sought once."""

    __slots__ = (
        "_at",
        "_blank",
        "_count",
        "_counted",
        "_counted_to",
        "_data",
        "_misses",
        "_pattern",
        "_pending_body",
        "_size",
        "_stack",
        "_waiting",
    )

    def __init__(self, data: bytes | bytearray | mmap.mmap) -> None:
        self._data = data
        self._size = len(data)
        self._count = 0
        self._stack: list[_Open] = []
        # text of a delimiter line -> (position in the stack, closes?) of those that wait for it
        self._waiting: dict[bytes, list[tuple[int, bool]]] = {}
        # where the body of the innermost part begins, while its header is not complete; else -1
        self._pending_body = -1
        self._blank = (-1, -1)
        self._at = 0
        self._counted_to = self._counted = 0
        self._misses = 0
        self._pattern: re.Pattern[bytes] | None = None

    def run(self, root: Part) -> None:
        """Finds what lies in a message. root: its header has been read already."""
        self._open(root, digest=False)
        while True:
            while self._pending_body >= 0 and not self._waiting:
                self._at = max(self._at, self._pending_body - 1)
                self._finish_header(self._pending_body)
            if not self._waiting:
                break
            line = self._next_line()
            if line < 0:
                break
            self._at = line
            self._misses += 1
            while 0 <= self._pending_body <= line:
                self._finish_header(self._pending_body)
            match = _DELIMITER.match(self._data, line)
            if match is not None:
                self._at = max(line, match.end() - 1)
                self._delimiter(match, line)
        while self._pending_body >= 0:
            self._finish_header(self._pending_body)
        self._close_above(-1, self._size)

    def _next_line(self) -> int:
        """Where the next line begins that may be a delimiter, or -1.

        Any line with "--" will do, until many of them turned out to be none: then it pays to
        compile what is looked for.
        """
        if self._misses < _MISSES_MAX:
            found = self._data.find(b"\n--", self._at)
            return -1 if found < 0 else found + 1
        if self._pattern is None:
            boundaries = {top.boundary for top in self._stack if top.boundary}
            self._pattern = re.compile(
                rb"\n--(?:%b)(?:--)?[ \t]*+\r?(?:\n|\Z)" % b"|".join(map(re.escape, boundaries))
            )
        match = self._pattern.search(self._data, self._at)
        return -1 if match is None else match.start() + 1

    def _open(self, part: Part, *, digest: bool) -> None:
        """Begins a part; where its header ends is sought, what it says is not read yet."""
        self._count += 1
        self._stack.append(_Open(part, digest))
        start = part.start
        first = _LINE_END.match(self._data, start)
        if first is not None:
            self._pending_body = first.end()
            return
        if self._blank[0] < start:
            blank = _BLANK.search(self._data, start)
            self._blank = blank.span() if blank is not None else (self._size, self._size)
        self._pending_body = self._blank[1]

    def _finish_header(self, body: int, *, cut: bool = False) -> None:
        """Reads the header of the innermost part. cut: a delimiter ended it, nothing follows."""
        self._pending_body = -1
        top = self._stack[-1]
        part = top.part
        part.body = body
        part.lines = -self._lines_to(body)
        if part.start > 0:
            head = bytes(self._data[part.start : min(body, part.start + HEADER_OCTETS_MAX)])
            _describe(part, by_name(pairs(head)), digest=top.digest)
        if part.type == b"multipart":
            part.kind = MULTIPART
            if len(self._stack) <= DEPTH_MAX and not cut:
                self._wait(top)
        elif (
            part.type == b"message"
            and part.subtype in (b"rfc822", b"global")
            and part.encoding in _IDENTITY
            and len(self._stack) <= DEPTH_MAX
            and self._count < PARTS_MAX
            and not cut
        ):
            part.kind = MESSAGE
            inner = Part(start=body)
            part.children.append(inner)
            self._open(inner, digest=False)

    def _wait(self, top: _Open) -> None:
        """From now on delimiters of this multipart are looked for."""
        boundary = _boundary(top.part.params)
        if not boundary:
            return
        top.boundary = boundary
        self._misses, self._pattern = 0, None
        place = len(self._stack) - 1
        self._waiting.setdefault(boundary, []).append((place, False))
        self._waiting.setdefault(boundary + b"--", []).append((place, True))

    def _forget(self, top: _Open) -> None:
        self._misses, self._pattern = 0, None
        for key in (top.boundary, top.boundary + b"--"):
            places = self._waiting[key]
            places.pop()  # the innermost is the last
            if not places:
                del self._waiting[key]
        top.boundary = b""

    def _delimiter(self, match: re.Match[bytes], line: int) -> None:
        places = self._waiting.get(match[1].rstrip(b" \t"))
        if places is None:
            return
        self._misses = 0
        place, closes = places[-1]
        if not closes and self._count >= PARTS_MAX:
            self._waiting.clear()
            return
        end = line - 1
        if end > 0 and self._data[end - 1] in (13, b"\r"):
            end -= 1
        if self._pending_body >= 0:
            end = max(end, self._stack[-1].part.start)
            self._finish_header(end, cut=True)
        self._close_above(place, end)
        holder = self._stack[place]
        if closes:
            self._forget(holder)
            return
        child = Part(start=match.end())
        holder.part.children.append(child)
        self._open(child, digest=holder.part.subtype == b"digest")

    def _close_above(self, place: int, end: int) -> None:
        """Ends the open parts that lie deeper than `place`, all at one octet.

        The line end before a delimiter may have been read as an embedded message's empty line; it
        is the delimiter's, so that what was put in comes out octet by octet.
        """
        if len(self._stack) == place + 1:
            return
        end = max(end, self._stack[place + 1].part.body, self._stack[-1].part.start)
        lines = self._lines_to(end)
        while len(self._stack) > place + 1:
            top = self._stack[-1]
            if top.boundary and self._waiting:
                self._forget(top)
            self._stack.pop()
            part = top.part
            part.end = end
            if part.body > end:
                part.body, part.lines = end, 0
            else:
                part.lines += lines
            if part.kind == MULTIPART and not part.children:
                part.children.append(
                    Part(start=part.body, body=part.body, end=end, lines=part.lines)
                )

    def _lines_to(self, position: int) -> int:
        """Line ends before a position. Positions grow, or fall back by one line end at most."""
        if position >= self._counted_to:
            self._counted += _count_lines(self._data, self._counted_to, position)
        else:
            self._counted -= _count_lines(self._data, position, self._counted_to)
        self._counted_to = position
        return self._counted


def _count_lines(data: bytes | bytearray | mmap.mmap, start: int, end: int) -> int:
    if isinstance(data, mmap.mmap):
        return sum(
            data[at : min(at + _COUNT_OCTETS, end)].count(b"\n")
            for at in range(start, end, _COUNT_OCTETS)
        )
    return data.count(b"\n", start, end)


def _boundary(params: Params) -> bytes:
    value = next((value for name, value in params if name == b"boundary"), None)
    if value is None:  # in pieces (RFC 2231 §3)
        value = (parameter(params, "boundary") or "").encode("utf-8", "replace")
    value = value.rstrip(b" \t")
    return value if len(value) <= BOUNDARY_OCTETS_MAX else b""


def _describe(part: Part, fields: dict[bytes, bytes], *, digest: bool) -> None:
    """Fills in what the header says about the content. fields: as of `by_name`."""
    kind = fields.get(b"content-type")
    if kind is not None:
        part.type, part.subtype, part.params = content_type(kind)
    elif digest:  # RFC 2046 §5.1.5
        part.type, part.subtype, part.params = b"message", b"rfc822", ()
    if (mechanism := fields.get(b"content-transfer-encoding")) is not None:
        part.encoding = _encoding(mechanism)
    if _DESCRIBING.isdisjoint(fields):
        return
    part.id = _plain(fields.get(b"content-id"))
    part.description = _plain(fields.get(b"content-description"))
    part.md5 = _plain(fields.get(b"content-md5"))
    part.language = _plain(fields.get(b"content-language"))
    part.location = _plain(fields.get(b"content-location"))
    if (placed := fields.get(b"content-disposition")) is not None:
        part.disposition = disposition(placed)


def _encoding(value: bytes) -> bytes:
    """The mechanism in lower case (RFC 2045 §6.1), without a comment some programs add."""
    words = unfold(value).partition(b"(")[0].split(b";", 1)[0].split()
    return words[0].strip(b'"').lower() if words else b"7bit"


def _plain(value: bytes | None) -> bytes | None:
    return None if value is None else unfold(value)
