"""Log lines: written together, once for each turn of the event loop.

A line is logged for every message, and a system call for each line was a twentieth of what a
message costs. Lines of one turn go out in one call at its end; a process that is killed may lose
those of its last turn, never more: the ledger is the record, the log only tells.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
from typing import Any, TextIO


class Lines:
    """A text stream over `stream`, for structlog and for the standard library's handlers."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
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
                self._stream.write("".join(waiting))
                self._stream.flush()

    def logger(self, *_: Any) -> LineLogger:
        """structlog's logger factory."""
        return LineLogger(self)


class LineLogger:
    """What structlog hands rendered lines to."""

    def __init__(self, lines: Lines) -> None:
        self.msg = lines.line

    def __getattr__(self, level: str) -> Any:
        """debug, info, warning … : the processors have put the level into the line."""
        return self.msg
