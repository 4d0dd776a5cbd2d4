"""Writer: runs units in grouped, synced transactions on one connection.

Promises: a result is given out only after the COMMIT that holds it has returned. A unit that raises
is rolled back alone, to its savepoint. Where SQLite itself rolled back the whole transaction (no
space, I/O error, no memory, interrupt) or COMMIT failed, no unit of the batch is answered; each is
run again alone. A connection whose COMMIT failed is closed and another opened.

Units run on the loop; only COMMIT, with its sync, and waiting for another process leave it, on one
thread: a writer thread beside a busy loop would starve by the GIL. Without a thread (`worker=None`)
everything runs inline, and `commit_latency` passes on the loop's clock between COMMIT and answer.

States: idle -> begin -> work -> commit -> answer -> idle. `_busy` is false in idle alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

import apsw

from estafeta.store.engine import StoreError, Unit
from estafeta.store.limits import BATCH_SECONDS_MAX, BATCH_UNITS_MAX, LOCK_WAIT_MS_MAX
from estafeta.store.sqlite.checkpoint import Checkpointer
from estafeta.store.sqlite.errors import translated
from estafeta.store.sqlite.hints import Hints
from estafeta.store.sqlite.statistics import Statistics
from estafeta.store.sqlite.transaction import SqliteTx
from estafeta.store.sqlite.turn import Turn
from estafeta.store.sqlite.worker import Worker

T = TypeVar("T")


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
        self._batch: list[Job] = []
        self._busy = False
        self._idle: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._abandoned = False
        # A time of day would make simulated runs differ; there no batch is cut by time.
        self._stopwatch = perf_counter if worker is not None else lambda: 0.0
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
            loop.call_soon(self._begin)
        return future

    def saw_foreign_commit(self) -> bool:
        """Whether another connection has committed since the last call that said so."""
        if self._busy:
            return False
        version = self._read_data_version()
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
        for job in (*self._queue, *self._alone, *self._batch):
            job.future.cancel()
        self._queue.clear()
        self._alone.clear()

    # Begin -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._abandoned:
            return
        if not self._queue and not self._alone:
            self._busy = False
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
            return
        if self._checkpointer.wants_pause:
            self.statistics.pauses += 1
            self._checkpointer.run_paused(self._begin_soon)
            return
        turn = self._turn
        if turn is not None:
            if not turn.try_take():
                self._wait_for_turn()
                return
            try:
                self.connection.execute("BEGIN IMMEDIATE")
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
            self.connection.execute("BEGIN IMMEDIATE")
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
            self.connection.set_busy_handler(_wait_a_millisecond)
            self.connection.execute("BEGIN IMMEDIATE")
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
        source, units_max = self._next()
        while source and len(self._batch) < units_max:
            job = source.popleft()
            job.error = error
            self._batch.append(job)
        self._answer()

    def _next(self) -> tuple[deque[Job], int]:
        """(where the next units come from, how many go together)."""
        return (self._alone, 1) if self._alone else (self._queue, BATCH_UNITS_MAX)

    # Work ------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Runs units in the open transaction, then has it committed."""
        source, units_max = self._next()
        batch = self._batch
        began = self._stopwatch()
        latest = began + BATCH_SECONDS_MAX
        good = 0
        while source and len(batch) < units_max:
            job = source.popleft()
            if job.future.done():  # its caller was cancelled
                continue
            batch.append(job)
            # A batch of one needs no savepoint: it is rolled back whole.
            single = len(batch) == 1 and (units_max == 1 or not source)
            if not self._run(job, single):
                self._lost(job)
                return
            if job.error is None:
                good += 1
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

    def _run(self, job: Job, single: bool) -> bool:
        """Runs one unit; False when the whole transaction is gone."""
        connection, tx = self.connection, self._tx
        tx.restart()
        error: Exception | None
        try:
            if not single:
                connection.execute("SAVEPOINT unit")
            job.result = job.unit(tx)
            error = tx.failed  # where the unit swallowed it
            if error is None:
                job.hints = tx.hints
                if not single:
                    connection.execute("RELEASE unit")
                if connection.in_transaction:
                    return True
                job.error = StoreError("the unit ended the transaction it ran in")
                return False
        except apsw.Error as raised:  # of the savepoint
            error = translated(raised, connection.system_errno)
        except StopIteration as raised:  # a future does not take it
            error = RuntimeError(f"the unit raised {raised!r}")
        except Exception as raised:
            error = raised
        job.error = error
        if not connection.in_transaction:
            return False
        if single:
            return True
        try:
            connection.execute("ROLLBACK TO unit; RELEASE unit")
        except apsw.Error:
            return False
        return connection.in_transaction

    def _lost(self, job: Job) -> None:
        """The whole transaction is gone, or must go: nothing of the batch has happened."""
        self.statistics.lost += 1
        self._roll_back()
        if len(self._batch) == 1:
            self._answer()
        else:
            self._again_alone()

    def _again_alone(self) -> None:
        for job in self._batch:
            job.result = None
            job.error = None
            job.hints = []
        self._alone.extend(self._batch)
        self._batch = []
        assert self._loop is not None
        self._loop.call_soon(self._begin)

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except apsw.Error:
                self._reopen()

    # Commit ----------------------------------------------------------------------------------

    def _commit(self) -> StoreError | None:
        try:
            self.connection.execute("COMMIT")
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
            self._again_alone()
            return
        self._batch[0].error = error
        self._answer()

    def _reopen(self) -> None:
        self.connection.close(True)
        try:
            self._open()
        except apsw.Error:
            # BEGIN will say so to every unit until it can be opened again.
            self._data_version = -1

    # Answer ----------------------------------------------------------------------------------

    def _answer(self) -> None:
        if self._abandoned:
            return
        batch, self._batch = self._batch, []
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
                if not job.future.done():
                    job.future.set_exception(error)
        assert self._loop is not None
        # Behind those just answered, who may bring their next unit for the next batch.
        self._loop.call_soon(self._begin)

    def close(self) -> None:
        """When drained."""
        self.connection.close(True)


def _wait_a_millisecond(calls: int) -> bool:
    apsw.sleep(1)
    return calls < LOCK_WAIT_MS_MAX
