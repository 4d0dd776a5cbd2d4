"""Batch: units grouped into one transaction, in the thread of one connection.

A savepoint costs as much as a small unit, so the first run has none: if a unit fails, all is rolled
back and run again with savepoints, and the one at fault is undone alone. A unit that ended the
transaction itself has all run again, each alone. Deadlocks and their like are nobody's fault: the
batch is run again.

Promises: a unit is answered only after COMMIT was. Where the connection broke before COMMIT was
sent, the batch is run on another; where it broke after, each unit is told that nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter, sleep
from typing import Any

from estafeta.store.engine import StoreError, StoreUncertain, Unit
from estafeta.store.limits import AGAIN_MAX, AGAIN_SECONDS, LOST_MAX
from estafeta.store.postgres.errors import Again, StoreLost
from estafeta.store.postgres.line import Line
from estafeta.store.postgres.transaction import PostgresTx
from estafeta.store.statistics import Statistics

_LOCK = "SELECT id FROM account WHERE id = ? FOR UPDATE"
_LOCK_NAME = "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))"


class Job:
    """A unit on its way."""

    __slots__ = ("accounts", "error", "future", "hints", "names", "result", "unit")

    def __init__(
        self,
        unit: Unit[Any],
        accounts: Sequence[int],
        future: asyncio.Future[Any],
        names: Sequence[str] = (),
    ) -> None:
        self.unit = unit
        self.accounts = accounts
        self.names = names
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None
        self.hints: list[tuple[str, int]] = []

    def answer(self) -> None:
        """On the loop."""
        if self.future.done():  # its caller was cancelled
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)

    def forget(self, error: Exception | None = None) -> None:
        """What it came to did not happen."""
        self.result = None
        self.error = error
        self.hints = []


class _Failed(Exception):
    """A unit failed, and what it did is still there."""


class _Ended(Exception):
    """A unit ended the transaction itself."""


class Writing:
    """One connection and what is done with it. connect: gives a line ready for writing, or raises
    StoreError. number: of the connection among those of this process, from 0."""

    def __init__(self, connect: Callable[[], Line], number: int) -> None:
        self._connect = connect
        self._number = number
        self._line: Line | None = None
        self.statistics = Statistics()  # of its transactions

    def run(self, jobs: Sequence[Job]) -> None:
        """When this returns every job has its result or its error. Does not raise."""
        careful = False
        try:
            try:
                self._persistently(jobs, careful=False)
            except _Failed:
                careful = True
            if careful:
                self._persistently(jobs, careful=True)
        except _Ended:
            for job in jobs:
                try:
                    self._persistently([job], careful=True)
                except _Ended:
                    job.forget(StoreError("the unit ended the transaction it ran in"))

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _persistently(self, jobs: Sequence[Job], *, careful: bool) -> None:
        """Until it is done, or was tried often enough. Raises _Failed, _Ended."""
        met = lost = 0
        while True:
            for job in jobs:
                job.forget()
            try:
                if self._line is None or not self._line.is_alive():
                    self.close()
                    self._line = self._connect()
                self._once(self._line, jobs, careful)
                return
            except Again as error:
                self.statistics.waited += 1
                self._roll_back()
                met += 1
                if met < AGAIN_MAX:
                    # Two that met do not wait equally long.
                    sleep(AGAIN_SECONDS * met * (1 + self._number))
                    continue
                failure: StoreError = error
            except StoreLost as error:
                self.statistics.lost += 1
                self.close()
                lost += 1
                if lost < LOST_MAX:
                    continue  # on another one
                failure = error
            except StoreError as error:
                self.statistics.lost += 1
                self.close()
                failure = error
            except (_Failed, _Ended):
                self._roll_back()
                raise
            for job in jobs:
                job.forget(failure)
            return

    def _once(self, line: Line, jobs: Sequence[Job], careful: bool) -> None:
        """Raises StoreError where nothing has happened, StoreUncertain where it may have."""
        began = perf_counter()
        line.send("BEGIN")
        for account in sorted({account for job in jobs for account in job.accounts}):
            line.send(_LOCK, (account,))
        for name in sorted({name for job in jobs for name in job.names}):
            line.send(_LOCK_NAME, (name,))
        line.begun()
        tx = PostgresTx(line)
        good = 0
        for job in jobs:
            if careful:
                good += _carefully(tx, line, job)
            else:
                good += _boldly(tx, line, job, alone=len(jobs) == 1)
        worked = perf_counter()
        self.statistics.work_seconds += worked - began
        if not good:
            self._roll_back()
            return
        try:
            tag = line.ask("COMMIT").command_status
        except StoreLost as error:
            raise StoreUncertain(f"whether a COMMIT happened is not known: {error}") from error
        except Again:
            raise
        except StoreError as error:
            # Of something sent ahead. Alone, it is that unit's.
            if careful:
                raise
            if len(jobs) > 1:
                raise _Failed from error
            jobs[0].forget(error)
            self._roll_back()
            return
        if tag != b"COMMIT":
            raise StoreError(f"PostgreSQL answered COMMIT with {tag!r}")
        self.statistics.commits += 1
        self.statistics.commit_seconds += perf_counter() - worked

    def _roll_back(self) -> None:
        line = self._line
        if line is None:
            return
        try:
            with suppress(StoreError):
                line.finish()  # what was sent ahead must not take the ROLLBACK along
            if line.in_transaction:
                line.ask("ROLLBACK")
        except StoreError:
            self.close()


def _boldly(tx: PostgresTx, line: Line, job: Job, *, alone: bool) -> int:
    """1 where it went well, so far. Raises Again, StoreLost, _Failed, _Ended."""
    job.error = _run(tx, job)
    if line.has_ended:
        raise _Ended
    if job.error is None:
        return 1
    if not alone:
        raise _Failed
    return 0


def _carefully(tx: PostgresTx, line: Line, job: Job) -> int:
    """As `_boldly`, and where it went wrong it is undone."""
    line.send("SAVEPOINT unit")
    job.error = _run(tx, job)
    if line.has_ended:
        raise _Ended
    if job.error is None:
        try:
            line.ask("RELEASE SAVEPOINT unit")
            return 1
        except (Again, StoreLost):
            raise
        except StoreError as error:
            job.error = error
    job.forget(job.error)
    with suppress(StoreError):
        line.finish()
    line.ask("ROLLBACK TO SAVEPOINT unit")
    return 0


def _run(tx: PostgresTx, job: Job) -> Exception | None:
    """What it raised, or swallowed. Raises Again, StoreLost: those concern the whole batch."""
    tx.restart()
    error: Exception | None
    try:
        job.result = job.unit(tx)
        job.hints = tx.hints
        error = tx.failed
    except StopIteration as raised:  # a future does not take it
        error = RuntimeError(f"the unit raised {raised!r}")
    except Exception as raised:
        error = raised
    if isinstance(tx.failed, Again | StoreLost):
        raise tx.failed
    return error
