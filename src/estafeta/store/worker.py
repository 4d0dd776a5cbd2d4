"""Worker: one thread that does one thing after another.

Leaner than an executor: no future and no condition variable per piece of work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Worker:
    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """`work` reports its own errors; it must not raise."""
        self._work.put(work)

    def stop(self) -> None:
        """Returns once everything submitted is done."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
