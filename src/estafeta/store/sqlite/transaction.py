"""Transaction: what a unit sees of a SQLite connection.

Once a statement has failed, every further one of the same unit fails too, as on PostgreSQL: a unit
cannot swallow an error, after which SQLite may have rolled back everything, and write on outside
any transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from estafeta.store.engine import Row, StoreError
from estafeta.store.sqlite.errors import translated


class SqliteTx:
    """Made once for a connection; `restart` before each unit.

    It keeps one cursor: one for each statement costs nearly as much as a small statement. A
    statement whose rows were not all asked for ends when the next one begins, so what closes a
    transaction must pass here too (`control`).
    """

    __slots__ = ("_connection", "_execute", "_many", "failed", "hints")

    part = 0  # one transaction at a time

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.cursor().execute
        self._many = connection.executemany
        self.failed: StoreError | None = None
        self.hints: list[tuple[str, int]] = []

    def restart(self) -> None:
        self.failed = None
        if self.hints:
            self.hints = []

    def control(self, sql: str) -> None:
        """A statement of the engine's own, also after a failure. Raises apsw.Error."""
        self._execute(sql)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        if self.failed is not None:
            raise self.failed
        try:
            return self._execute(sql, parameters).fetchall()
        except apsw.Error as error:
            raise self._fail(error) from error

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        if self.failed is not None:
            raise self.failed
        try:
            return self._execute(sql, parameters).fetchone()
        except apsw.Error as error:
            raise self._fail(error) from error

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        if self.failed is not None:
            raise self.failed
        try:
            row = self._execute(sql, parameters).fetchone()
        except apsw.Error as error:
            raise self._fail(error) from error
        return None if row is None else row[0]

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        self.send(sql, parameters)
        return self._connection.changes()

    def send(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        if self.failed is not None:
            raise self.failed
        try:
            self._execute(sql, parameters)
        except apsw.Error as error:
            raise self._fail(error) from error

    def run_many(self, sql: str, parameter_rows: Iterable[Sequence[Any]]) -> None:
        if self.failed is not None:
            raise self.failed
        try:
            self._many(sql, parameter_rows)
        except apsw.Error as error:
            raise self._fail(error) from error

    def hint(self, topic: tuple[str, int]) -> None:
        self.hints.append(topic)

    def _fail(self, error: apsw.Error) -> StoreError:
        self.failed = translated(error, self._connection.system_errno)
        return self.failed
