"""Inline: a store in PostgreSQL in which everything runs on the loop; for the simulation.

No threads and no NOTIFY: a transaction begins and ends within one turn of the loop, so that none
holds a lock while virtual time passes; `commit_latency` passes on the loop's clock between COMMIT
and answer. Units are grouped, run and answered as they are in the threads (batch.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from estafeta.store.engine import Listening, StoreClosed, Unit
from estafeta.store.hints import Hints
from estafeta.store.limits import POSTGRES_BATCH_UNITS_MAX
from estafeta.store.postgres.batch import Job, Writing
from estafeta.store.postgres.line import Line
from estafeta.store.postgres.reading import Reading

T = TypeVar("T")
Topics = Iterable[tuple[str, int]]

COMMIT_LATENCY_SECONDS = 0.001


class InlinePostgresStore:
    """Made by `open_inline`. on_hints: is told, in place of NOTIFY, what other processes are to
    `hear`."""

    def __init__(
        self,
        connect: Callable[[], Line],
        hints: Hints,
        commit_latency: float = COMMIT_LATENCY_SECONDS,
    ) -> None:
        self.on_hints: Callable[[Topics], None] = lambda topics: None
        self._writing = Writing(connect, 0)
        self._reading = Reading(connect)
        self._hints = hints
        self._commit_latency = commit_latency
        self._queue: deque[Job] = deque()
        self._busy = False
        self._idle: asyncio.Future[None] | None = None
        self._closed = False
        self._abandoned = False

    async def run(
        self, unit: Unit[T], *, accounts: Sequence[int] = (), names: Sequence[str] = ()
    ) -> T:
        """See `engine.Store.run`."""
        self._must_be_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append(Job(unit, accounts, future, names))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._work)
        return await future

    async def read(self, unit: Unit[T]) -> T:
        """See `engine.Store.read`. At once."""
        self._must_be_open()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job = Job(unit, (), future)
        self._reading.run([job])
        job.answer()
        return future.result()

    def listen(self, topic: tuple[str, int]) -> Listening:
        return self._hints.add(topic)

    def hear(self, topics: Topics) -> None:
        """What another process hinted at."""
        self._hints.wake(topics)

    async def tidy(self) -> None:
        """See `engine.Store.tidy`. PostgreSQL's autovacuum does it."""

    async def close(self) -> None:
        """Units already given are finished first."""
        if self._closed:
            return
        self._closed = True
        await self.drained()
        self._hang_up()

    async def drained(self) -> None:
        """Returns once nothing is on its way."""
        if self._busy:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def abandon(self) -> None:
        """As the death of the process: no unit is answered any more, connections are cut."""
        self._closed = self._abandoned = True
        for job in self._queue:
            job.future.cancel()
        self._queue.clear()
        self._hang_up()

    # -- one batch after another ---------------------------------------------------------------

    def _work(self) -> None:
        if self._abandoned:
            return
        jobs: list[Job] = []
        while self._queue and len(jobs) < POSTGRES_BATCH_UNITS_MAX:
            job = self._queue.popleft()
            if not job.future.done():  # else its caller was cancelled
                jobs.append(job)
        if not jobs:
            self._busy = False
            if self._idle is not None:
                self._idle.set_result(None)
                self._idle = None
            return
        self._writing.run(jobs)
        asyncio.get_running_loop().call_later(self._commit_latency, self._answer, jobs)

    def _answer(self, jobs: Sequence[Job]) -> None:
        if self._abandoned:
            return
        topics: dict[tuple[str, int], None] = {}
        for job in jobs:
            job.answer()
            topics.update(dict.fromkeys(job.hints))
        if topics:
            self._hints.wake(topics)
            self.on_hints(topics)
        asyncio.get_running_loop().call_soon(self._work)

    def _must_be_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    def _hang_up(self) -> None:
        self._writing.close()
        self._reading.close()
