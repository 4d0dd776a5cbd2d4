"""Verify: both stores read again side by side, every row of every table, and compared.

A row that is missing, too many or different is named by its key. What is equal is hashed, so that
the summary of a move can be compared with that of another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial

import msgspec

from estafeta.store.engine import Row, Store, StoreError, Tx
from estafeta.store.move.copy import Step
from estafeta.store.move.slices import Pace, plain, read_slice
from estafeta.store.move.tables import Table, tables
from estafeta.store.sqlite import SqliteStore


class NotTheSame(StoreError):
    """Source and target differ; the text names the first row that does."""


class Proven(msgspec.Struct, frozen=True):
    """What both stores hold. hash: over the rows of all tables, whatever their order."""

    rows: dict[str, int]
    hash: str


async def verify(source: Store, target: Store, step: Step) -> Proven:
    """Raises NotTheSame, StoreError."""
    rows: dict[str, int] = {}
    whole = hashlib.sha256()
    for table in tables():
        one_by_one = await _sorts_otherwise(source, target, table)
        look = _look_up if one_by_one else _read_along
        total = _Sum(table)
        await look(source, target, table, total, step)
        rows[table.name] = total.rows
        whole.update(total.digest())
    return Proven(rows, whole.hexdigest())


class _Sum:
    """Of the SHA-256 of each row of a table: the same in any order."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._sum = 0
        self.rows = 0

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            digest = hashlib.sha256(msgspec.msgpack.encode(row)).digest()
            self._sum += int.from_bytes(digest, "big")
        self.rows += len(rows)

    def digest(self) -> bytes:
        text = f"{self._table.name} {self.rows} {self._sum % (1 << 256)}"
        return hashlib.sha256(text.encode()).digest()


async def _read_along(source: Store, target: Store, table: Table, total: _Sum, step: Step) -> None:
    """Both in the order of the key."""
    pace, after = Pace(), None
    while True:
        limit = pace.rows
        theirs, ours = await asyncio.gather(
            read_slice(source, table, after, limit), read_slice(target, table, after, limit)
        )
        theirs, ours = [plain(row) for row in theirs], [plain(row) for row in ours]
        if theirs != ours:
            raise NotTheSame(_difference(table, theirs, ours))
        if not theirs:
            return
        total.add(theirs)
        octets = pace.learn(theirs)
        after = table.key_of(theirs[-1])
        step(table, len(theirs), octets)


async def _sorts_otherwise(source: Store, target: Store, table: Table) -> bool:
    """A stranger's Message-ID may hold NUL: a file keeps it, PostgreSQL has U+FFFD for it, and so
    another order."""
    if not table.texts or not isinstance(source, SqliteStore) or isinstance(target, SqliteStore):
        return False
    return await source.read(lambda tx: tx.value(table.has_nul_keys)) is not None


async def _look_up(source: Store, target: Store, table: Table, total: _Sum, step: Step) -> None:
    """The source in the order of its key, and each row looked up in the target; no row of which can
    stand for two, so that as many rows are the same rows."""
    pace, after = Pace(), None
    while rows := await read_slice(source, table, after, pace.rows):
        after = table.key_of(rows[-1])
        theirs = [plain(row) for row in rows]
        ours = await target.read(partial(_rows_of, table=table, rows=theirs))
        for was, now in zip(theirs, ours, strict=True):
            if was != now:
                raise NotTheSame(_difference(table, [was], [now] if now else []))
        total.add(theirs)
        step(table, len(theirs), pace.learn(theirs))
    count = await target.read(lambda tx: tx.value(f"SELECT count(*) FROM {table.name}"))  # noqa: S608
    if count != total.rows:
        raise NotTheSame(f"the target has {count} rows of {table.name}, not {total.rows}")


def _rows_of(tx: Tx, table: Table, rows: Sequence[Row]) -> list[Row | None]:
    return [tx.row(table.select_one, table.key_of(row)) for row in rows]


def _difference(table: Table, theirs: Sequence[Row], ours: Sequence[Row]) -> str:
    """Of two slices that are not equal: the first row at fault, by its key."""
    for was, now in zip(theirs, ours, strict=False):
        if was == now:
            continue
        before, after = table.key_of(was), table.key_of(now)
        if before == after:
            named = [c for c, x, y in zip(table.columns, was, now, strict=True) if x != y]
            return f"{_row(table, before)} differs in {', '.join(named)}"
        return _row(table, min(before, after)) + (
            " is missing in the target" if before < after else " is in the target only"
        )
    if len(theirs) > len(ours):
        return f"{_row(table, table.key_of(theirs[len(ours)]))} is missing in the target"
    return f"{_row(table, table.key_of(ours[len(theirs)]))} is in the target only"


def _row(table: Table, key: Sequence[object]) -> str:
    named = ", ".join(f"{name} {value}" for name, value in zip(table.key, key, strict=True))
    return f"the row {named} of {table.name}"
