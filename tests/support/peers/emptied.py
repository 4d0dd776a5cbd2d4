"""emptied: a database that a test has used, made as new for the next one: 4 ms of CPU, where a copy
of the template and dropping it cost 70 at least, and 250 on a busy machine.

Promises: every row that the template did not have is gone and every row that it had is there; or
the answer is that the database must go: when the catalogue was touched (tables, indexes, functions,
settings of the database, statistics), or so much was deleted that what is dead would slow the next.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

DEAD_ROWS_MAX = 2000
"""In one database; nothing vacuums there."""
USER_OID = 16384  # the first that is not PostgreSQL's own
_TABLES = """SELECT relname FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname"""
_CATALOGUE = f"""SELECT
  (SELECT count(*) FROM pg_statistic WHERE starelid >= {USER_OID}),
  (SELECT count(*) FROM pg_db_role_setting),
  (SELECT sum(xmin::text::bigint) FROM pg_database WHERE datname = current_database()),
  (SELECT sum(xmin::text::bigint) FROM pg_attribute WHERE attrelid >= {USER_OID})""" + "".join(
    f", (SELECT (count(*), sum(oid::bigint), sum(xmin::text::bigint))::text FROM {name}"
    f" WHERE oid >= {USER_OID})"
    for name in ("pg_class", "pg_constraint", "pg_proc", "pg_trigger", "pg_namespace", "pg_type")
)


class Used:
    """connection: autocommit, to a database that nobody has used yet; stays open."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        connection.prepare_threshold = 0
        self.connection = connection
        each = sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})")
        names = [name for (name,) in connection.execute(_TABLES)]
        self._filled = sql.SQL(" UNION ALL ").join(
            each.format(sql.Literal(name), sql.Identifier(name)) for name in names
        )
        filled = connection.execute(self._filled).fetchall()
        self._kept = {name: self._rows(name) for (name,) in filled}
        self._catalogue = self._look()
        self._dead = 0

    def empty(self) -> bool:
        """False: the database cannot be used again. Nobody else may be connected."""
        if self._look() != self._catalogue:
            return False
        filled = {name for (name,) in self.connection.execute(self._filled)}
        with self.connection.transaction():
            for name in filled | set(self._kept):
                if name not in self._kept or self._rows(name) != self._kept[name]:
                    self._reset(sql.Identifier(name), self._kept.get(name, b""))
        return self._dead <= DEAD_ROWS_MAX

    def _reset(self, table: sql.Identifier, rows: bytes) -> None:
        self._dead += self.connection.execute(sql.SQL("DELETE FROM {}").format(table)).rowcount
        if rows:
            back = sql.SQL("COPY {} FROM STDIN").format(table)
            with self.connection.cursor() as cursor, cursor.copy(back) as copy:
                copy.write(rows)

    def _rows(self, name: str) -> bytes:
        """As COPY writes them."""
        text = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
        with self.connection.cursor() as cursor, cursor.copy(text) as copy:
            return b"".join(bytes(block) for block in copy)

    def _look(self) -> tuple[Any, ...]:
        found: tuple[Any, ...] | None = self.connection.execute(_CATALOGUE).fetchone()
        assert found is not None
        return found
