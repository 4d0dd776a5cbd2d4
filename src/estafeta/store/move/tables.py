"""Tables: what a store consists of, read off its migrations, so that none can be forgotten."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import apsw
import msgspec

from estafeta.store.engine import Row
from estafeta.store.migrate import migrations

OWN = ("migration",)
"""Tables that tell of the store that holds them, and are not moved."""

OWN_NAMES = ("move", "moved")
"""Of rows in `meta` that do, besides those of running workers (queue/holders.py)."""

OWN_PREFIX = "worker "


class Table(msgspec.Struct, frozen=True):
    """One table. key: the columns of its primary key, by which it is read in order; texts: those of
    them that are text; blobs: those that are octets."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    texts: tuple[str, ...]
    blobs: tuple[str, ...] = ()

    def noted(self, row: Row) -> list[int | str]:
        """The key of a row as a mark keeps it, in JSON."""
        key = (row[self.columns.index(column)] for column in self.key)
        return [value.hex() if isinstance(value, bytes) else value for value in key]

    def place(self, noted: list[int | str] | None) -> list[object] | None:
        """The key that was noted."""
        if noted is None:
            return None
        return [
            bytes.fromhex(str(value)) if column in self.blobs else value
            for column, value in zip(self.key, noted, strict=True)
        ]

    def key_of(self, row: Row) -> list[object]:
        return [row[self.columns.index(column)] for column in self.key]

    def select(self, *, after: bool = False, keys_only: bool = False) -> str:
        """The next rows; parameters: the key after which, if so, and how many."""
        key = ", ".join(self.key)
        begins = [f"({key}) > ({', '.join('?' * len(self.key))})"] if after else []
        if self.name == "meta":
            names = ", ".join(f"'{name}'" for name in OWN_NAMES)
            # Not LIKE: what its `_` and its case mean is not the same for both engines.
            begins += [
                f"name NOT IN ({names})",
                f"substr(name, 1, {len(OWN_PREFIX)}) <> '{OWN_PREFIX}'",
            ]
        where = f" WHERE {' AND '.join(begins)}" if begins else ""
        wanted = self.key if keys_only else self.columns
        return (
            f"SELECT {', '.join(wanted)} FROM {self.name}{where}"  # noqa: S608
            f" ORDER BY {key} LIMIT ?"
        )

    @property
    def select_one(self) -> str:
        """The row of a key."""
        where = " AND ".join(f"{column} = ?" for column in self.key)
        return f"SELECT {', '.join(self.columns)} FROM {self.name} WHERE {where}"  # noqa: S608

    @property
    def has_nul_keys(self) -> str:
        """For SQLite: a row where a key holds NUL, if there is one. It reads them all."""
        some = " OR ".join(f"instr({column}, char(0)) > 0" for column in self.texts)
        return f"SELECT 1 FROM {self.name} WHERE {some} LIMIT 1"  # noqa: S608

    @property
    def insert(self) -> str:
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)})"  # noqa: S608
            f" VALUES ({', '.join('?' * len(self.columns))})"
        )


@functools.cache
def tables() -> Sequence[Table]:
    """Every table that is moved, in the order in which the migrations make them."""
    scratch = apsw.Connection(":memory:")
    try:
        for _, _, sql in migrations():
            scratch.execute(sql)
        names = scratch.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid"
        ).fetchall()
        return [_table(scratch, str(name)) for (name,) in names if name not in OWN]
    finally:
        scratch.close()


def _table(scratch: apsw.Connection, name: str) -> Table:
    sql = "SELECT name, pk, type FROM pragma_table_info(?)"
    found = [(str(c), int(pk), kind) for c, pk, kind in scratch.execute(sql, (name,))]
    key = [column for _, column in sorted((place, column) for column, place, _ in found if place)]
    assert key, f"table {name} has no primary key: it could not be read in order"
    texts = tuple(column for column, place, kind in found if place and kind == "TEXT")
    blobs = tuple(column for column, place, kind in found if place and kind == "BLOB")
    return Table(name, tuple(column for column, _, _ in found), tuple(key), texts, blobs)
