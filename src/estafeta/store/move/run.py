"""Run: a move from its beginning, or from where it was broken off, to the proof of it.

Promises: nothing of the source is changed; the target counts as a store only once every row has
been compared; a kill at any moment costs at most the slice that was on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from estafeta.store import meta
from estafeta.store.engine import Store, Tx
from estafeta.store.limits import MOVE_ERASE_ROWS
from estafeta.store.move import mark as marks
from estafeta.store.move.copy import copy_rows
from estafeta.store.move.mark import Done, Mark, MoveRefused
from estafeta.store.move.tables import Table, tables
from estafeta.store.move.verify import NotTheSame, verify
from estafeta.store.sqlite import SqliteStore


class Report(Protocol):
    """Who is told how far it has come."""

    def phase(self, name: str, rows: int, done: int) -> None:
        """ "erase", "copy" or "verify" begins. rows: in all; done: already, by a run before."""
        ...

    def step(self, table: Table, rows: int, octets: int) -> None:
        """So much more of it is done."""
        ...


class Moved(msgspec.Struct, frozen=True):
    """What was moved. filed_bodies, filed_octets: of large bodies, which are not in the store.

    resumed: rows that a run before had copied. hash: over all rows, the same on both sides.
    """

    rows: dict[str, int]
    hash: str
    resumed: int
    filed_bodies: int
    filed_octets: int


async def move_store(
    source: Store,
    target: Store,
    *,
    name: str,
    now: int,
    report: Report,
    again: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Moved:
    """Moves all of `source` into `target`, which must be new or hold a move that has begun.

    name: of the source, for people. now: ms since 1970. again: begins anew, with what a move
    before has copied thrown away. Neither store may be in service; check raises where somebody may
    have changed the source meanwhile. Raises MoveRefused, NotTheSame, StoreError.
    """
    half = await source.read(marks.read_mark)
    if half is not None:
        raise MoveRefused(f"{name} is only half a store: a move from {half.name} has not ended")
    origin = await source.read(marks.fingerprint)
    mark = await _begun(source, target, Mark(origin, name), report, again=again)
    total = sum((await source.read(_counts)).values())
    resumed = sum(mark.rows.values())
    report.phase("copy", total, resumed)
    if mark.state == "copy":
        await copy_rows(source, target, mark, report.step)
    version = await _version(source)
    report.phase("verify", total, 0)
    try:
        proven = await verify(source, target, report.step)
    except NotTheSame as wrong:
        raise NotTheSame(
            f"{wrong}: the source has changed since the move began, or a disk is not to be "
            "trusted; move --again begins anew"
        ) from wrong
    if await _version(source) != version:
        raise NotTheSame(
            f"{name} was changed while it was compared; move --again once nobody changes it"
        )
    check()
    await target.run(partial(marks.complete, done=Done(origin, name, now, proven.rows)))
    filed, octets = await source.read(_filed)
    return Moved(proven.rows, proven.hash, resumed, filed, octets)


async def _begun(source: Store, target: Store, fresh: Mark, report: Report, *, again: bool) -> Mark:
    """The mark from which to go on, all that stood in the way taken away."""
    mark = await target.read(marks.read_mark)
    if mark is None and not await target.read(marks.is_new):
        done = await target.read(marks.read_done)
        if done is not None and done.source == fresh.source:
            raise MoveRefused(f"{fresh.name} was moved into the target already, and all of it")
        raise MoveRefused("the target is not empty; name a new store")
    if mark is None or again:
        fresh.state = "clear" if mark is None else "erase"
        mark = fresh
        await target.run(partial(marks.write_mark, mark=mark))
    elif mark.source != fresh.source:
        raise MoveRefused(
            f"a move from {mark.name} into the target has begun; finish that one, or throw away "
            "what it has copied with --again"
        )
    if await source.read(marks.read_mark) is not None:
        await target.run(lambda tx: meta.drop(tx, marks.MOVE))
        raise MoveRefused("source and target are the same store")
    if mark.state == "erase":
        await _erase(target, report)
    if mark.state in ("erase", "clear"):
        mark.state = "copy"
        await target.run(partial(marks.clear_new, mark=mark))
    return mark


async def _erase(target: Store, report: Report) -> None:
    """Everything but the mark, in slices; a kill leaves the mark."""
    counts = await target.read(_counts)
    report.phase("erase", sum(counts.values()), 0)
    for table in tables():
        while count := await target.run(partial(_erase_slice, table=table)):
            report.step(table, count, 0)


def _erase_slice(tx: Tx, table: Table) -> int:
    some = tx.rows(table.select(keys_only=True), (MOVE_ERASE_ROWS,))
    where = " AND ".join(f"{column} = ?" for column in table.key)
    tx.run_many(
        f"DELETE FROM {table.name} WHERE {where}",  # noqa: S608 - our own tables
        some,
    )
    return len(some)


def _counts(tx: Tx) -> dict[str, int]:
    return {
        table.name: tx.value(f"SELECT count(*) FROM {table.name}")  # noqa: S608
        for table in tables()
    }


def _filed(tx: Tx) -> tuple[int, int]:
    row = tx.row("SELECT count(*), coalesce(sum(size), 0) FROM body WHERE filed <> 0")
    assert row is not None
    return int(row[0]), int(row[1])


async def _version(store: Store) -> int:
    """Changes when anybody commits, where the engine can tell; PostgreSQL's tables are locked."""
    if not isinstance(store, SqliteStore):
        return 0
    return int(await store.read(lambda tx: tx.value("PRAGMA data_version")))
