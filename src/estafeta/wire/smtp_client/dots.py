"""dots: transparency for DATA (RFC 5321 §4.5.2), chunk by chunk.

A dot that begins a line is doubled. The rule is applied after every LF, which for content with
CRLF lines is the RFC's rule, and for any other keeps a lone dot behind a bare LF from ending the
message at a server that takes bare LF for a line end.
"""

from __future__ import annotations


class DotStuffer:
    """Stuffs one message. `chunk` for each piece in order, then `end` once."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def chunk(self, data: bytes) -> bytes:
        if not data:
            return data
        stuffed = data.replace(b"\n.", b"\n..")
        # The border: the line break may be the end of the chunk before.
        if data[0] == 0x2E and self._tail[-1] == 0x0A:
            stuffed = b"." + stuffed
        self._tail = data[-2:] if len(data) > 1 else self._tail[-1:] + data
        return stuffed

    def end(self) -> bytes:
        """The final dot, on a line of its own; a missing CRLF before it is added."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"
