"""Reading: one connection that shows a unit one state of the store and lets it change nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from estafeta.store.engine import StoreError
from estafeta.store.limits import LOST_MAX
from estafeta.store.postgres.batch import Job
from estafeta.store.postgres.errors import StoreLost
from estafeta.store.postgres.line import Line
from estafeta.store.postgres.transaction import PostgresTx

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Reading:
    """connect: gives a line, or raises StoreError."""

    def __init__(self, connect: Callable[[], Line]) -> None:
        self._connect = connect
        self._line: Line | None = None

    def run(self, jobs: list[Job]) -> None:
        """When this returns every job has its result or its error. Does not raise."""
        for job in jobs:
            self._read(job)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _read(self, job: Job) -> None:
        lost = 0
        while True:
            job.forget()
            try:
                if self._line is None or not self._line.is_alive():
                    self.close()
                    self._line = self._connect()
                self._once(self._line, job)
                return
            except StoreLost as error:
                self.close()
                lost += 1
                if lost == LOST_MAX:
                    job.forget(error)
                    return
            except StoreError as error:
                self.close()
                job.forget(error)
                return

    def _once(self, line: Line, job: Job) -> None:
        """Raises StoreError where the connection is of no more use."""
        line.send(_BEGIN)
        tx = PostgresTx(line)
        try:
            job.result = job.unit(tx)
            job.error = tx.failed
        except StopIteration as raised:  # a future does not take it
            job.error = RuntimeError(f"the unit raised {raised!r}")
        except Exception as raised:
            job.error = raised
        if isinstance(tx.failed, StoreLost):
            raise tx.failed
        with suppress(StoreError):
            line.finish()
        line.ask("ROLLBACK")
