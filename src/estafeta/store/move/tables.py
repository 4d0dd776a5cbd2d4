"""Tables: what a store consists of, read off its migrations, so that none can be forgotten."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources

import apsw
import msgspec

from estafeta.store.engine import Row

OWN = ("migration",)
"""Tables that tell of the store that holds them, and are not moved."""

OWN_NAMES = ("move", "moved")
"""Of rows in `meta` that do, besides those of running workers (queue/holders.py)."""

OWN_PREFIX = "worker "


class Table(msgspec.Struct, frozen=True):
    """One table. key: the columns of its primary key, by which it is read in order."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def key_of(self, row: Row) -> list[object]:
        return [row[self.columns.index(column)] for column in self.key]

    def select(self, *, after: bool = False, keys_only: bool = False) -> str:
        """The next rows; parameters: the key after which, if so, and how many."""
        key = ", ".join(self.key)
        wanted = key if keys_only else ", ".join(self.columns)
        begins = [f"({key}) > ({', '.join('?' * len(self.key))})"] if after else []
        if self.name == "meta":
            names = ", ".join(f"'{name}'" for name in OWN_NAMES)
            # Not LIKE: what its `_` and its case mean is not the same for both engines.
            begins += [f"name NOT IN ({names})", f"substr(name, 1, {len(OWN_PREFIX)}) <> 'worker '"]
        where = f" WHERE {' AND '.join(begins)}" if begins else ""
        return (
            f"SELECT {wanted} FROM {self.name}{where}"  # noqa: S608
            f" ORDER BY {key} LIMIT ?"
        )

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
        for sql in _migrations():
            scratch.execute(sql)
        names = scratch.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid"
        ).fetchall()
        return [_table(scratch, str(name)) for (name,) in names if name not in OWN]
    finally:
        scratch.close()


def _table(scratch: apsw.Connection, name: str) -> Table:
    found = scratch.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
    key = sorted((place, column) for column, place in found if place)
    assert key, f"table {name} has no primary key: it could not be read in order"
    return Table(
        name, tuple(str(column) for column, _ in found), tuple(str(column) for _, column in key)
    )


def _migrations() -> list[str]:
    folder = resources.files("estafeta.store").joinpath("migrations")
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda f: f.name)]
