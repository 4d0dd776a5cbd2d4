"""Log lines: written together, once for each turn of the event loop.

A line is logged for every message, and a system call for each line was a twentieth of what a
message costs. Lines of one turn go out in one call at its end; a process that is killed may lose
those of its last turn, never more: the ledger is the record, the log only tells.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import select
from collections.abc import Iterator
from typing import Any, TextIO


class Lines:
    """A text stream over `stream`, for structlog and for the standard library's handlers.

    shared: other processes write to it too. Then no more is written at once than a pipe takes whole
    (PIPE_BUF), so that the lines of two do not mix; a longer line goes alone.
    """

    def __init__(self, stream: TextIO, *, shared: bool = False) -> None:
        self._stream = stream
        self._shared = shared
        self._waiting: list[str] = []
        atexit.register(self.flush)

    def line(self, text: str) -> None:
        """`text` is one line, without its end."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write(f"{text}\n")
            return
        if not self._waiting:
            loop.call_soon(self.flush)
        self._waiting.append(f"{text}\n")

    def write(self, text: str) -> None:
        """At once, behind what waits."""
        self._waiting.append(text)
        self.flush()

    def flush(self) -> None:
        """Writes what waits. A log that cannot be written stops nobody."""
        waiting, self._waiting = self._waiting, []
        if waiting and not self._stream.closed:
            with contextlib.suppress(OSError):
                for part in self._parts(waiting) if self._shared else ("".join(waiting),):
                    self._stream.write(part)
                    self._stream.flush()

    def _parts(self, waiting: list[str]) -> Iterator[str]:
        part: list[str] = []
        octets = 0
        for line in waiting:
            size = len(line.encode("utf-8", "replace"))
            if part and octets + size > select.PIPE_BUF:
                yield "".join(part)
                part, octets = [], 0
            part.append(line)
            octets += size
        yield "".join(part)

    def logger(self, *_: Any) -> LineLogger:
        """structlog's logger factory."""
        return LineLogger(self)


class LineLogger:
    """What structlog hands rendered lines to: the processors have put the level into the line."""

    def __init__(self, lines: Lines) -> None:
        self.msg = self.log = self.debug = self.info = lines.line
        self.warn = self.warning = self.error = lines.line
        self.exception = self.critical = self.fatal = lines.line
