"""Files: each body has its data, wherever its row says that it lies, of the size it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from estafeta.store.audit.finding import Finding
from estafeta.store.bodies import IN_OBJECT, Shelf, path_of
from estafeta.store.bodies.names import parts_of
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import queue_id
from estafeta.store.limits import AUDIT_SLICE
from estafeta.world.seams import Disk


def bodies_slice(tx: Tx, after: int, disk: Disk | None) -> tuple[list[Finding], int | None]:
    """The next bodies after id `after`, without those in objects. See full.Step."""
    some = tx.rows(
        "SELECT body.id, size, filed, length(data) FROM body"
        " LEFT JOIN body_data ON body_data.id = body.id WHERE body.id > ? ORDER BY body.id LIMIT ?",
        (after, AUDIT_SLICE),
    )
    found = []
    for id, size, filed, stored in some:
        real = stored
        if filed == IN_OBJECT:
            continue
        if filed:
            if disk is None:
                continue
            try:
                real = disk.size(path_of(id))
            except OSError:
                real = None
        if real != size:
            where = "its file" if filed else "its row of data"
            what = "is missing" if real is None else f"has {real} octets instead of {size}"
            found.append(Finding("body-missing", f"body {queue_id(id)}: {where} {what}", body=id))
    return found, some[-1][0] if len(some) == AUDIT_SLICE else None


async def object_findings(store: Store, shelf: Shelf | None) -> AsyncIterator[Finding]:
    """Of all bodies in objects. Asked of the object store after the snapshot of their rows; what
    is not found is looked up again, because a row may have gone meanwhile. Raises StoreError."""
    after = 0
    while some := await store.read(partial(_in_objects, after=after)):
        after = some[-1][0]
        if shelf is None:
            text = f"body {queue_id(some[0][0])} and others: no object store is named to find them"
            yield Finding("body-missing", text, body=some[0][0])
            return
        sizes = await shelf.sizes(some[0][0], after)
        for id, size in some:
            parts = sizes.get(id, {})
            real = sum(parts.get(part, 0) for part in range(parts_of(size)))
            if real == size or not await store.read(partial(_has_row, id=id)):
                continue
            what = f"have {real} octets instead of {size}" if parts else "are missing"
            yield Finding("body-missing", f"body {queue_id(id)}: its objects {what}", body=id)


def _in_objects(tx: Tx, after: int) -> list[tuple[int, int]]:
    found = tx.rows(
        "SELECT id, size FROM body WHERE id > ? AND filed = ? ORDER BY id LIMIT ?",
        (after, IN_OBJECT, AUDIT_SLICE),
    )
    return [(row[0], row[1]) for row in found]


def _has_row(tx: Tx, id: int) -> bool:
    return tx.value("SELECT 1 FROM body WHERE id = ?", (id,)) is not None
