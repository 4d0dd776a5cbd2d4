"""Turn: fairness between the processes that write to one file.

SQLite's own wait for the write lock is a poll, so a process that commits without pause starves the
others. Whoever waits holds the turn file; who would begin a transaction looks at it first and
queues behind the waiter.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Turn:
    """An flock on a file of its own, beside the database."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def take(self) -> None:
        """Blocks."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def give(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)
