"""Cpu: a process pool for Python work of more than 2 ms, so that the loop is never held up.

Workers are started at first use, in fresh interpreters (a fork would copy sockets and locks).
`work` is a function at the top level of a module, its arguments and result picklable.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from .limits import CPU_INLINE_OCTETS_MAX, CPU_WORKERS

T = TypeVar("T")


class ProcessCpu:
    """Implements `seams.Cpu`. `workers`: processes."""

    def __init__(self, workers: int = CPU_WORKERS) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of `work(*arguments)`, or what it raises. Little input is worked on here and
        now; a worker that died is replaced and the work tried once more, then BrokenProcessPool."""
        octets = sum(len(given) for given in arguments if isinstance(given, (bytes, str)))
        if octets <= CPU_INLINE_OCTETS_MAX:
            return work(*arguments)
        return await self.apart(work, *arguments)

    async def apart(self, work: Callable[..., T], *arguments: Any) -> T:
        """As `run`, in a worker however little the input is."""
        loop = asyncio.get_running_loop()
        pool = self._start()
        try:
            return await loop.run_in_executor(pool, work, *arguments)
        except BrokenProcessPool:
            if self._pool is pool:
                self.close()
            return await loop.run_in_executor(self._start(), work, *arguments)

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_end_with_parent,
            )
        return self._pool

    def close(self) -> None:
        """Ends the workers once they are through; a later `run` starts others."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


def _end_with_parent() -> None:
    """In a worker: whoever started it may be killed, and then nobody would tell it to end."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()
