"""Mortal: a connection to PostgreSQL whose process may die, or lose it, at any exchange.

The simulation's faults count SQLite's writes (`vfs.PowerDomain`); where the store is PostgreSQL
each exchange with the server counts as one. Whoever dies there drops the connection: the server
rolls back what was not committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw
import psycopg
from psycopg.pq.abc import PGresult

from estafeta.store.postgres.errors import StoreLost
from estafeta.store.postgres.line import Line


class MortalLine(Line):
    """strike: called before each exchange; raises apsw.Error where it is the last one."""

    def __init__(self, strike: Callable[[], None], connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self._strike = strike

    def finish(self) -> PGresult | None:
        try:
            self._strike()
        except apsw.Error as error:
            self.close()
            raise StoreLost(f"PostgreSQL went away ({error})") from error
        return super().finish()
