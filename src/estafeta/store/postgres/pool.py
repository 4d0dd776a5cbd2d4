"""Pool: hands units to connections, each of which has a thread of its own.

What waits when a connection becomes free goes to it together. All but what runs in the threads is
on the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import structlog

from estafeta.store.engine import StoreUncertain, Unit
from estafeta.store.postgres.batch import Job
from estafeta.store.worker import Worker

T = TypeVar("T")

log = structlog.get_logger("store")


class Hand(Protocol):
    """Works in a thread. See batch.Writing, reading.Reading."""

    def run(self, jobs: list[Job]) -> None: ...

    def close(self) -> None: ...


class Pool:
    """hands: one for each connection. together_max: units handed to one at once. answered: is told
    of those that were done, once they know."""

    def __init__(
        self,
        name: str,
        hands: Sequence[Hand],
        together_max: int,
        answered: Callable[[list[Job]], None],
    ) -> None:
        self._idle = list(reversed(hands))
        self._hands = hands
        self._workers = {id(hand): Worker(f"store-{name}-{n}") for n, hand in enumerate(hands)}
        self._together_max = together_max
        self._answered = answered
        self._queue: deque[Job] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._planned = False
        self._drained: asyncio.Future[None] | None = None

    def submit(
        self, unit: Unit[T], accounts: Sequence[int] = (), names: Sequence[str] = ()
    ) -> asyncio.Future[T]:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append(Job(unit, accounts, future, names))
        self._plan()
        return future

    def _plan(self) -> None:
        """Not at once: other tasks of this turn of the loop may bring units too."""
        if self._idle and not self._planned:
            assert self._loop is not None
            self._planned = True
            self._loop.call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._planned = False
        while self._queue and self._idle:
            jobs: list[Job] = []
            while self._queue and len(jobs) < self._together_max:
                job = self._queue.popleft()
                if not job.future.done():  # else its caller was cancelled
                    jobs.append(job)
            if jobs:
                hand = self._idle.pop()
                self._workers[id(hand)].submit(lambda hand=hand, jobs=jobs: self._work(hand, jobs))  # type: ignore[misc]
        if self._drained is not None and not self._queue and len(self._idle) == len(self._hands):
            self._drained.set_result(None)
            self._drained = None

    def _work(self, hand: Hand, jobs: list[Job]) -> None:
        """In the thread, which outlives a bug of ours: nobody would ever answer its units."""
        try:
            hand.run(jobs)
        except Exception as error:
            log.exception("a connection's work failed", units=len(jobs))
            with suppress(Exception):
                hand.close()  # nobody knows where its transaction stands
            for job in jobs:
                job.forget(StoreUncertain(f"a fault of ours; the log has more: {error!r}"))
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._done, hand, jobs)

    def _done(self, hand: Hand, jobs: list[Job]) -> None:
        self._idle.append(hand)
        for job in jobs:
            job.answer()
        self._answered(jobs)
        if self._queue or self._drained is not None:
            # Behind those just answered, who may bring their next unit.
            self._plan()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def drained(self) -> None:
        """Returns once nothing is on its way."""
        if self._queue or len(self._idle) < len(self._hands):
            assert self._loop is not None
            self._drained = self._loop.create_future()
            await self._drained

    def stop(self) -> None:
        """When drained. Blocks until the threads have ended."""
        for hand in self._hands:
            worker = self._workers[id(hand)]
            worker.submit(hand.close)
            worker.stop()
