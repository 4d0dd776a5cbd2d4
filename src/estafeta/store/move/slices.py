"""Slices: a table read in the order of its key, so much at a time as memory should hold."""

from __future__ import annotations

from collections.abc import Sequence

from estafeta.store.engine import Row, Store
from estafeta.store.limits import MOVE_SLICE_OCTETS, MOVE_SLICE_ROWS_MAX, MOVE_SLICE_ROWS_MIN
from estafeta.store.move.tables import Table


class Pace:
    """How many rows a slice should have, by how large those before were."""

    def __init__(self) -> None:
        self.rows = MOVE_SLICE_ROWS_MIN

    def learn(self, rows: Sequence[Row]) -> int:
        """Returns the octets that these rows take, roughly."""
        octets = sum(map(octets_of, rows))
        if rows:
            fitting = MOVE_SLICE_OCTETS * len(rows) // max(1, octets)
            # At most fourfold: the next rows may be larger than these.
            self.rows = max(MOVE_SLICE_ROWS_MIN, min(MOVE_SLICE_ROWS_MAX, fitting, 4 * self.rows))
        return octets


def octets_of(row: Row) -> int:
    """Of texts and blobs their length, of numbers eight."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)


async def read_slice(
    store: Store, table: Table, after: Sequence[object] | None, limit: int
) -> list[Row]:
    """The next rows after that key, in order; none at the end. Raises StoreError."""
    sql = table.select(after=after is not None)
    return await store.read(lambda tx: tx.rows(sql, [*(after or ()), limit]))


def plain(row: Row) -> tuple[object, ...]:
    """As either engine can hold it: PostgreSQL's text knows no NUL."""
    if any(isinstance(value, str) and "\0" in value for value in row):
        return tuple(v.replace("\0", "\ufffd") if isinstance(v, str) else v for v in row)
    return row
