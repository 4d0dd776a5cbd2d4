"""Copy: table by table, slice by slice, each slice in one transaction with the mark of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from estafeta.store.engine import Row, Store, Tx
from estafeta.store.move.mark import Mark, write_mark
from estafeta.store.move.slices import Pace, read_slice
from estafeta.store.move.tables import Table, tables

Step = Callable[[Table, int, int], None]
"""(table, rows, octets) of what has just been done."""


async def copy_rows(source: Store, target: Store, mark: Mark, step: Step) -> None:
    """From where the mark stands to the end; moves the mark along. Raises StoreError."""
    names = [table.name for table in tables()]
    at = names.index(mark.table) if mark.table else 0
    for table in tables()[at:]:
        if table.name != mark.table:
            mark.table, mark.after = table.name, None
        await _copy_table(source, target, table, mark, step)
    mark.state = "verify"
    await target.run(partial(write_mark, mark=mark))


async def _copy_table(source: Store, target: Store, table: Table, mark: Mark, step: Step) -> None:
    pace = Pace()
    rows = await read_slice(source, table, table.place(mark.after), pace.rows)
    while rows:
        octets = pace.learn(rows)
        mark.after = table.noted(rows[-1])
        mark.rows[table.name] = mark.rows.get(table.name, 0) + len(rows)
        # The next rows are read while these are brought to the disk.
        following = asyncio.ensure_future(
            read_slice(source, table, table.key_of(rows[-1]), pace.rows)
        )
        try:
            await target.run(partial(_write, table=table, rows=rows, mark=mark))
        except BaseException:
            following.cancel()
            raise
        step(table, len(rows), octets)
        rows = await following


def _write(tx: Tx, table: Table, rows: list[Row], mark: Mark) -> None:
    tx.run_many(table.insert, rows)
    write_mark(tx, mark)
