"""PostgresStore: a store in a database that any number of processes may serve at once.

Units run in threads, one for each connection: some connections write, some read. Commits of this
process wake its listeners at once, those of others by NOTIFY.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from estafeta.store.engine import Listening, StoreClosed, StoreConflict, StoreError, Unit
from estafeta.store.hints import Hints
from estafeta.store.limits import POSTGRES_BATCH_UNITS_MAX, READERS, WRITERS
from estafeta.store.postgres.batch import Job, Writing
from estafeta.store.postgres.bell import Bell
from estafeta.store.postgres.line import Line
from estafeta.store.postgres.pool import Pool
from estafeta.store.postgres.reading import Reading
from estafeta.store.statistics import Statistics

T = TypeVar("T")


class PostgresStore:
    """Made by `open_postgres`. statistics: counters for the metrics page; `waited` counts
    transactions that were run again because of another. remarks: sentences about the server."""

    def __init__(
        self, connect: Callable[[], Line], bell: Bell, hints: Hints, remarks: Sequence[str]
    ) -> None:
        self._counted = Statistics()
        self._hints = hints
        self.remarks = remarks
        self._bell = bell
        self._writing = [Writing(connect, n) for n in range(WRITERS)]
        self._writers = Pool(
            "write",
            self._writing,
            POSTGRES_BATCH_UNITS_MAX,
            self._answered,
        )
        self._readers = Pool(
            "read", [Reading(connect) for _ in range(READERS)], 1, lambda jobs: None
        )
        self._closed = False

    @property
    def statistics(self) -> Statistics:
        """As of now, of all connections."""
        total = msgspec.structs.replace(self._counted)
        for each in self._writing:
            total.commits += each.statistics.commits
            total.commit_seconds += each.statistics.commit_seconds
            total.work_seconds += each.statistics.work_seconds
            total.lost += each.statistics.lost
            total.waited += each.statistics.waited
        return total

    @property
    def waiting(self) -> int:
        """Units that were given to this process and no connection has yet."""
        return self._writers.waiting

    async def run(
        self, unit: Unit[T], *, accounts: Sequence[int] = (), names: Sequence[str] = ()
    ) -> T:
        """See `engine.Store.run`."""
        if self._closed:
            raise StoreClosed("the store is closed")
        return await self._writers.submit(unit, accounts, names)

    async def read(self, unit: Unit[T]) -> T:
        """See `engine.Store.read`."""
        if self._closed:
            raise StoreClosed("the store is closed")
        self._counted.reads += 1
        return await self._readers.submit(unit)

    def listen(self, topic: tuple[str, int]) -> Listening:
        self._bell.start()
        return self._hints.add(topic)

    async def tidy(self) -> None:
        """See `engine.Store.tidy`. PostgreSQL's autovacuum does it."""

    async def close(self) -> None:
        """Units already given are finished first."""
        if self._closed:
            return
        self._closed = True
        await self._writers.drained()
        await self._readers.drained()
        self._bell.close()
        await asyncio.gather(
            asyncio.to_thread(self._writers.stop), asyncio.to_thread(self._readers.stop)
        )

    def _answered(self, jobs: list[Job]) -> None:
        statistics = self._counted
        topics: dict[tuple[str, int], None] = {}
        for job in jobs:
            if job.error is None:
                statistics.units += 1
                statistics.last_failure = ""
                topics.update(dict.fromkeys(job.hints))
            else:
                statistics.failed += 1
                if isinstance(job.error, StoreError) and not isinstance(job.error, StoreConflict):
                    statistics.last_failure = str(job.error) or type(job.error).__name__
        if topics:
            self._hints.wake(topics)
            self._bell.ring(topics)
