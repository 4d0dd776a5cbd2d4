"""content: the octets of a message as DATA and BDAT carry them.

Promises: work is done for whole pieces, never per line; only CRLF.CRLF ends DATA, whatever else is
in it; a bare CR or LF anywhere is found; the result does not depend on how the octets were split.
RFC 5321 §2.3.8, §4.1.1.4, §4.5.2; RFC 3030 §2.
"""

from __future__ import annotations

from typing import Final

from estafeta.wire.lines import LineBuffer

_END: Final = b"\r\n.\r\n"
_TAILS: Final = (_END[:4], _END[:3], _END[:2], _END[:1])


class _Reader:
    """What both have: the count, the limit, what was found wrong."""

    __slots__ = ("bare", "ended", "octets", "octets_max")

    def __init__(self, octets_max: int) -> None:
        self.octets_max = octets_max
        self.octets = 0
        self.bare = False
        self.ended = False

    @property
    def over_size(self) -> bool:
        return self.octets > self.octets_max

    def _checked(self, piece: bytes) -> bytes:
        """The piece, or b"" once something is wrong. It never begins or ends inside a CRLF."""
        self.octets += len(piece)
        line_ends = piece.count(b"\r\n")
        if piece.count(b"\n") != line_ends or piece.count(b"\r") != line_ends:
            self.bare = True
        if self.bare or self.octets > self.octets_max:
            return b""
        return piece


class DotReader(_Reader):
    """A message sent by DATA. `ended` once CRLF.CRLF was read."""

    __slots__ = ("_begun",)

    def __init__(self, octets_max: int) -> None:
        super().__init__(octets_max)
        self._begun = False

    def take(self, source: LineBuffer) -> bytes:
        """Message octets from `source`, unstuffed, all that can be told; b"" for none."""
        data = source.take_all()
        if not self._begun:
            # The CRLF that ended the DATA line opens the first line (RFC 5321 §4.1.1.4).
            if data.startswith(b".\r\n"):
                source.put_back(data[3:])
                self.ended = True
                return b""
            if b".\r\n".startswith(data):
                source.put_back(data)
                return b""
            self._begun = True
            if data.startswith(b"."):
                data = data[1:]
        end = data.find(_END)
        if end >= 0:
            self.ended = True
            source.put_back(data[end + 5 :])
            piece = data[: end + 2]
        else:
            piece = data
            for tail in _TAILS:
                if data.endswith(tail):
                    source.put_back(tail)
                    piece = data[: -len(tail)]
                    break
        return self._checked(piece.replace(b"\r\n.", b"\r\n"))


class ChunkReader(_Reader):
    """A message sent by BDAT, over all its chunks. `ended` once the announced chunk is read."""

    __slots__ = ("_left", "_pending_cr", "announced")

    def __init__(self, octets_max: int) -> None:
        super().__init__(octets_max)
        self._left = self.announced = 0
        self._pending_cr = False

    def announce(self, octets: int) -> None:
        """A chunk of that many octets follows."""
        self._left = self.announced = octets
        self.ended = octets == 0

    def take(self, source: LineBuffer) -> bytes:
        """Message octets from `source`, all that can be told; b"" for none."""
        data = source.take(self._left)
        self._left -= len(data)
        self.ended = self._left == 0
        if not data:
            return b""
        if self._pending_cr:
            data = b"\r" + data
        # A CRLF may lie across two reads, and across two chunks.
        self._pending_cr = data.endswith(b"\r")
        return self._checked(data[:-1] if self._pending_cr else data)

    def finish(self) -> None:
        """The last chunk is read: a CR still held back was a bare one."""
        if self._pending_cr:
            self.octets += 1
            self.bare = True
