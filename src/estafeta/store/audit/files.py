"""Files: each body has its data, in the database or in its file, of the size its row says."""

from __future__ import annotations

from estafeta.store.audit.finding import Finding
from estafeta.store.bodies import path_of
from estafeta.store.engine import Tx
from estafeta.store.ids import queue_id
from estafeta.store.limits import AUDIT_SLICE
from estafeta.world.seams import Disk


def bodies_slice(tx: Tx, after: int, disk: Disk | None) -> tuple[list[Finding], int | None]:
    """The next bodies after id `after`. See full.Step."""
    some = tx.rows(
        "SELECT body.id, size, filed, length(data) FROM body"
        " LEFT JOIN body_data ON body_data.id = body.id WHERE body.id > ? ORDER BY body.id LIMIT ?",
        (after, AUDIT_SLICE),
    )
    found = []
    for id, size, filed, stored in some:
        real = stored
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
