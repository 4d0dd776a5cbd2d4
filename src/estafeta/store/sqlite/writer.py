"""Writer: runs units in grouped, synced transactions on one connection.

Promises: a result is given out only after the COMMIT that holds it has returned. A unit that raises
is undone alone: the batch is rolled back and run again with a savepoint for each (those cost a
quarter of a delivery, so the first run has none). Where SQLite itself rolled back the whole
transaction (no space, I/O error, no memory, interrupt) or COMMIT failed, no unit of the batch is
answered; each is run again alone. A connection whose COMMIT failed is closed and another opened.

Units run on the loop; only COMMIT, with its sync, and waiting for another process leave it, on one
thread: a writer thread beside a busy loop would starve by the GIL. Without a thread (`worker=None`)
everything runs inline, and `commit_latency` passes on the loop's clock between COMMIT and answer.

States: idle -> gather -> begin -> work -> commit -> answer -> gather | idle. `_busy` is false in
idle alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from time import perf_counter, sleep
from typing import Any, TypeVar

import apsw

from estafeta.store.engine import StoreConflict, StoreError, Unit
from estafeta.store.hints import Hints
from estafeta.store.limits import (
    BATCH_SECONDS_MAX,
    BATCH_UNITS_MAX,
    LOCK_POLL_SECONDS,
    LOCK_WAIT_MS_MAX,
)
from estafeta.store.sqlite.checkpoint import Checkpointer
from estafeta.store.sqlite.errors import translated
from estafeta.store.sqlite.gather import Gather
from estafeta.store.sqlite.transaction import SqliteTx
from estafeta.store.sqlite.turn import Turn
from estafeta.store.statistics import Statistics
from estafeta.store.worker import Worker

T = TypeVar("T")


class _State(Enum):
    GOOD = 0
    UNDONE = 1  # it failed and its savepoint took it back
    FAILED = 2  # it failed, and what it did is still there
    LOST = 3  # the whole transaction is gone


class Job:
    """A unit on its way."""

    __slots__ = ("error", "future", "hints", "result", "unit")

    def __init__(self, unit: Unit[Any], future: asyncio.Future[Any]) -> None:
        self.unit = unit
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None
        self.hints: list[tuple[str, int]] = []


class Writer:
    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        hints: Hints,
        statistics: Statistics,
        *,
        checkpointer: Checkpointer,
        worker: Worker | None,
        turn: Turn | None,
        commit_latency: float,
    ) -> None:
        self._connect = connect
        self._hints = hints
        self.statistics = statistics
        self._checkpointer = checkpointer
        self._worker = worker
        self._turn = turn
        self._commit_latency = commit_latency
        self._queue: deque[Job] = deque()
        self._alone: deque[Job] = deque()  # to be run each in a transaction of its own
        self._careful: deque[Job] = deque()  # to be run with savepoints
        self._batch: list[Job] = []
        self._busy = False
        self._idle: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._abandoned = False
        self._broken = False  # the connection failed, and no other could be opened yet
        # A time of day would make simulated runs differ; there no batch is cut by time.
        self._stopwatch = perf_counter if worker is not None else lambda: 0.0
        self._foreign = False  # another process has committed, and nobody was told yet
        self._crowded = False  # the last batch had more than one unit
        self._gather = Gather(
            self._begin, lambda: len(self._queue) >= BATCH_UNITS_MAX, self._stopwatch
        )
        self._open()

    def _open(self) -> None:
        self.connection = self._connect()
        self.connection.set_wal_hook(self._checkpointer.committed)
        self._tx = SqliteTx(self.connection)
        self._data_version = self._read_data_version()

    # Idle ------------------------------------------------------------------------------------

    def submit(self, unit: Unit[T]) -> asyncio.Future[T]:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append(Job(unit, future))
        if not self._busy:
            self._busy = True
            # Not at once: other tasks of this turn of the loop may bring units too.
            if self._crowded:
                self._gather.start(loop)
            else:
                loop.call_soon(self._begin)
        return future

    @property
    def waiting(self) -> int:
        """Units that were given and are not answered."""
        return len(self._queue) + len(self._alone) + len(self._careful) + len(self._batch)

    def saw_foreign_commit(self) -> bool:
        """Whether another process has committed since the last call that said so."""
        if self._foreign:
            self._foreign = False
            return True
        if self._busy:
            return False  # its own next transaction sees it
        return self._is_other_version()

    def _is_other_version(self) -> bool:
        """Than at the last look. Where it cannot be read now, the next look will tell."""
        try:
            version = self._read_data_version()
        except apsw.Error:
            return False
        if version == self._data_version:
            return False
        self._data_version = version
        return True

    def _read_data_version(self) -> int:
        ((version,),) = self.connection.execute("PRAGMA data_version").fetchall()
        assert isinstance(version, int)
        return version

    async def drained(self) -> None:
        """Returns once nothing is on its way."""
        if self._busy:
            assert self._loop is not None
            self._idle = self._loop.create_future()
            await self._idle

    def abandon(self) -> None:
        """Never answers anything again."""
        self._abandoned = True
        for source in (self._queue, self._alone, self._careful, self._batch):
            for job in source:
                job.future.cancel()
            source.clear()

    # Begin -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._abandoned:
            return
        if not (self._queue or self._alone or self._careful):
            self._busy = False
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
            return
        if self._checkpointer.wants_pause:
            self.statistics.pauses += 1
            self._checkpointer.run_paused(self._begin_soon)
            return
        if self._broken:
            try:
                self._open()
            except apsw.Error as error:
                self._begun(translated(error))
                return
            self._broken = False
        turn = self._turn
        if turn is not None:
            if not turn.try_take():
                self._wait_for_turn()
                return
            try:
                self._tx.control("BEGIN IMMEDIATE")
            except apsw.BusyError:
                turn.give()
                self._wait_for_turn()
                return
            except apsw.Error as error:
                turn.give()
                self._begun(translated(error, self.connection.system_errno))
                return
            turn.give()
            self._work()
            return
        try:
            self._tx.control("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._begun(translated(error, self.connection.system_errno))
            return
        self._work()

    def _begin_soon(self) -> None:
        assert self._loop is not None
        self._loop.call_soon(self._begin)

    def _wait_for_turn(self) -> None:
        assert self._worker is not None
        self.statistics.waited += 1
        self._worker.submit(self._begin_in_thread)

    def _begin_in_thread(self) -> None:
        assert self._turn is not None
        assert self._loop is not None
        failure: StoreError | None = None
        self._turn.take()
        try:
            # Only one waits at a time, the others queue at the turn: short steps cost nothing.
            self.connection.set_busy_handler(_wait_a_little)
            self._tx.control("BEGIN IMMEDIATE")
        except apsw.Error as error:
            failure = translated(error, self.connection.system_errno)
        finally:
            self.connection.set_busy_handler(None)
            self._turn.give()
        self._loop.call_soon_threadsafe(self._begun, failure)

    def _begun(self, error: StoreError | None) -> None:
        if error is None:
            self._work()
            return
        self._roll_back()  # an interrupted BEGIN may have begun
        source, units_max = self._next()
        while source and len(self._batch) < units_max:
            job = source.popleft()
            job.error = error
            self._batch.append(job)
        self._answer()

    def _next(self) -> tuple[deque[Job], int]:
        """(where the next units come from, how many go together)."""
        if self._alone:
            return self._alone, 1
        return self._careful or self._queue, BATCH_UNITS_MAX

    # Work ------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Runs units in the open transaction, then has it committed."""
        if self._turn is not None and self._is_other_version():
            self._foreign = True
        source, units_max = self._next()
        careful = source is self._careful
        batch = self._batch
        began = self._stopwatch()
        latest = began + BATCH_SECONDS_MAX
        good = 0
        while source and len(batch) < units_max:
            job = source.popleft()
            if job.future.done():  # its caller was cancelled
                continue
            batch.append(job)
            state = self._run(job, careful)
            if state is _State.GOOD:
                good += 1
            elif state is not _State.UNDONE:
                self._spoiled(state)
                return
            if self._stopwatch() > latest:
                break
        self.statistics.work_seconds += self._stopwatch() - began
        if good == 0:
            self._roll_back()
            self._answer()
        elif self._worker is not None:
            self._worker.submit(self._commit_in_thread)
        else:
            self._committed(self._commit(), 0.0)

    def _run(self, job: Job, careful: bool) -> _State:
        connection, tx = self.connection, self._tx
        tx.restart()
        error: Exception | None
        try:
            if careful:
                tx.control("SAVEPOINT unit")
            job.result = job.unit(tx)
            error = tx.failed  # where the unit swallowed it
            if error is None:
                job.hints = tx.hints
                if careful:
                    tx.control("RELEASE unit")
                if connection.in_transaction:
                    return _State.GOOD
                error = StoreError("the unit ended the transaction it ran in")
        except apsw.Error as raised:  # of the savepoint
            error = translated(raised, connection.system_errno)
        except StopIteration as raised:  # a future does not take it
            error = RuntimeError(f"the unit raised {raised!r}")
        except Exception as raised:
            error = raised
        job.error = error
        if not connection.in_transaction:
            return _State.LOST
        if not careful:
            return _State.FAILED
        try:
            tx.control("ROLLBACK TO unit; RELEASE unit")
        except apsw.Error:
            return _State.LOST
        return _State.UNDONE

    def _spoiled(self, state: _State) -> None:
        """The transaction is gone, or must go: nothing of the batch has happened."""
        self._roll_back()
        if state is _State.LOST:
            self.statistics.lost += 1
        if len(self._batch) == 1:
            self._answer()
        else:
            self._again(self._alone if state is _State.LOST else self._careful)

    def _again(self, how: deque[Job]) -> None:
        for job in self._batch:
            job.result = None
            job.error = None
            job.hints = []
        how.extend(self._batch)
        self._batch = []
        self._begin_soon()

    def _roll_back(self) -> None:
        if not self._broken and self.connection.in_transaction:
            try:
                self._tx.control("ROLLBACK")
            except apsw.Error:
                self._reopen()

    # Commit ----------------------------------------------------------------------------------

    def _commit(self) -> StoreError | None:
        try:
            self._tx.control("COMMIT")
        except apsw.Error as error:
            return translated(error, self.connection.system_errno)
        return None

    def _commit_in_thread(self) -> None:
        assert self._loop is not None
        began = perf_counter()
        error = self._commit()
        self._loop.call_soon_threadsafe(self._committed, error, perf_counter() - began)

    def _committed(self, error: StoreError | None, seconds: float) -> None:
        if self._abandoned:
            return
        if error is None:
            self.statistics.commits += 1
            self.statistics.last_failure = ""
            self.statistics.commit_seconds += seconds
            self._checkpointer.consider()
            if self._commit_latency and self._worker is None:
                assert self._loop is not None
                self._loop.call_later(self._commit_latency, self._answer)
            else:
                self._answer()
            return
        self.statistics.lost += 1
        # SQLite may or may not have undone it; a new connection knows what is in the file.
        self._reopen()
        if len(self._batch) > 1:
            self._again(self._alone)
            return
        self._batch[0].error = error
        self._answer()

    def _reopen(self) -> None:
        self.connection.close(True)
        try:
            self._open()
        except apsw.Error:
            # Every batch tries again, and its units are told why it cannot be.
            self._broken = True
            self._data_version = -1

    # Answer ----------------------------------------------------------------------------------

    def _answer(self) -> None:
        if self._abandoned:
            return
        batch, self._batch = self._batch, []
        self._crowded = len(batch) > 1
        statistics = self.statistics
        for job in batch:
            error = job.error
            if error is None:
                statistics.units += 1
                if not job.future.done():
                    job.future.set_result(job.result)
                if job.hints:
                    self._hints.wake(job.hints)
            else:
                statistics.failed += 1
                if isinstance(error, StoreError) and not isinstance(error, StoreConflict):
                    statistics.last_failure = str(error) or type(error).__name__
                if not job.future.done():
                    job.future.set_exception(error)
        # Behind those just answered, who may bring their next unit for the next batch.
        assert self._loop is not None
        if self._crowded or self._queue:
            self._gather.start(self._loop)
        else:
            self._begin_soon()

    def close(self) -> None:
        """When drained."""
        self.connection.close(True)


def _wait_a_little(calls: int) -> bool:
    """SQLite's busy handler, in the thread."""
    sleep(LOCK_POLL_SECONDS)
    return calls * LOCK_POLL_SECONDS * 1000 < LOCK_WAIT_MS_MAX
