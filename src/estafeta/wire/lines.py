"""lines: bytes that came from a peer, taken as CRLF lines or as octets.

Promises: only CRLF ends a line, a bare CR or LF never does (RFC 5321 §2.3.8); a line longer than
the caller's limit is told once and then read away in bounded memory; nothing is scanned twice.
"""

from __future__ import annotations


class LineTooLong(Exception):
    """The line at hand passes the limit; what is left of it is being skipped."""


class LineBuffer:
    """Unread octets of one direction of a connection. `len()` is how many there are."""

    __slots__ = ("_at", "_data", "_scanned", "_skipping")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        # No CRLF begins between _at and _scanned.
        self._scanned = 0
        self._skipping = False

    def __len__(self) -> int:
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Appends what the peer sent."""
        if self._at == len(self._data):
            self._data = data
        else:
            self._data = self._data[self._at :] + data
        self._scanned -= self._at
        self._at = 0

    def clear(self) -> None:
        self._data = b""
        self._at = self._scanned = 0

    def take_line(self, octets_max: int) -> bytes | None:
        """The next line without its CRLF, or None while it is not whole.

        octets_max counts the CRLF. Raises LineTooLong once for a longer line, as soon as that is
        known; the next call goes on behind its end.
        """
        if self._skipping and not self._skip():
            return None
        at = self._at
        end = self._data.find(b"\r\n", self._scanned)
        if end < 0:
            size = len(self._data)
            # A CR at the very end may be half of a CRLF that is still coming.
            self._scanned = size - 1 if size > at and self._data[-1] == 13 else size
            if size - at > octets_max:
                self._skipping = True
                self._skip()
                raise LineTooLong
            return None
        self._at = self._scanned = end + 2
        if end + 2 - at > octets_max:
            raise LineTooLong
        return self._data[at:end]

    def take(self, octets_max: int) -> bytes:
        """Up to that many octets, all that are there."""
        at = self._at
        end = min(at + octets_max, len(self._data))
        piece = self._data if at == 0 and end == len(self._data) else self._data[at:end]
        self._at = self._scanned = end
        return piece

    def take_all(self) -> bytes:
        """All octets there are."""
        return self.take(len(self._data))

    def put_back(self, data: bytes) -> None:
        """Makes `data`, the rest of what `take_all` just gave, the next to be read."""
        self._data = data
        self._at = self._scanned = 0

    def _skip(self) -> bool:
        """Drops the rest of a long line; True once its end was found."""
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            half = len(self._data) > self._at and self._data[-1] == 13
            self.put_back(b"\r" if half else b"")
            return False
        self._at = self._scanned = end + 2
        self._skipping = False
        return True
