"""Verify: both stores read again side by side, every row of every table, and compared.

A row that is missing, too many or different is named by its key. What is equal is hashed, so that
the summary of a move can be compared with that of another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import msgspec

from estafeta.store.engine import Row, Store, StoreError
from estafeta.store.move.copy import Step
from estafeta.store.move.slices import Pace, plain, read_slice
from estafeta.store.move.tables import Table, tables


class NotTheSame(StoreError):
    """Source and target differ; the text names the first row that does."""


class Proven(msgspec.Struct, frozen=True):
    """What both stores hold. hash: SHA-256 over the rows of all tables in order."""

    rows: dict[str, int]
    hash: str


async def verify(source: Store, target: Store, step: Step) -> Proven:
    """Raises NotTheSame, StoreError."""
    rows: dict[str, int] = {}
    whole = hashlib.sha256()
    for table in tables():
        digest, rows[table.name] = await _verify_table(source, target, table, step)
        whole.update(digest)
    return Proven(rows, whole.hexdigest())


async def _verify_table(
    source: Store, target: Store, table: Table, step: Step
) -> tuple[bytes, int]:
    pace, after, count = Pace(), None, 0
    digest = hashlib.sha256(table.name.encode())
    while True:
        limit = pace.rows
        theirs, ours = await asyncio.gather(
            read_slice(source, table, after, limit), read_slice(target, table, after, limit)
        )
        theirs, ours = [plain(row) for row in theirs], [plain(row) for row in ours]
        if theirs != ours:
            raise NotTheSame(_difference(table, theirs, ours))
        if not theirs:
            return digest.digest(), count
        digest.update(b"".join(map(msgspec.msgpack.encode, theirs)))
        count += len(theirs)
        octets = pace.learn(theirs)
        after = table.key_of(theirs[-1])
        step(table, len(theirs), octets)


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
