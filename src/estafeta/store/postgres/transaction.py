"""Transaction: what a unit sees of a connection to PostgreSQL.

Once a statement has failed, every further one of the same unit fails too. What is sent ahead
(`send`) may fail later than where it stands: at the next question, or at the unit's end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg.pq.abc import PGresult

from estafeta.store.engine import PARTS, Row, StoreError
from estafeta.store.postgres.line import Line


class PostgresTx:
    """Made once for a line; `restart` before each unit."""

    __slots__ = ("_line", "failed", "hints", "part")

    def __init__(self, line: Line) -> None:
        self._line = line
        self.part = line.pid % PARTS
        self.failed: StoreError | None = None
        self.hints: list[tuple[str, int]] = []

    def restart(self) -> None:
        self.failed = None
        if self.hints:
            self.hints = []

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._line.rows(self._ask(sql, parameters))

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        found = self._line.rows(self._ask(sql, parameters))
        return found[0] if found else None

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        found = self._line.rows(self._ask(sql, parameters))
        return found[0][0] if found else None

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self._ask(sql, parameters).command_tuples or 0

    def send(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        if self.failed is not None:
            raise self.failed
        try:
            self._line.send(sql, parameters)
        except StoreError as error:
            self.failed = error
            raise

    def run_many(self, sql: str, parameter_rows: Iterable[Sequence[Any]]) -> None:
        for parameters in parameter_rows:
            self.send(sql, parameters)

    def hint(self, topic: tuple[str, int]) -> None:
        self.hints.append(topic)

    def _ask(self, sql: str, parameters: Sequence[Any]) -> PGresult:
        if self.failed is not None:
            raise self.failed
        try:
            return self._line.ask(sql, parameters)
        except StoreError as error:
            self.failed = error
            raise
