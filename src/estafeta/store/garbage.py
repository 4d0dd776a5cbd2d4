"""Garbage: bodies that nothing refers to any more, and files that no row knows.

A body is alive while a message has it or an acceptance with an open recipient. There are no
counters: it is garbage by the absence of references, a day old at least, and looked at again under
the lock that removes it. Files go one run after their rows: who reads a message just expunged has
that time to finish.

A run begins with what else is better done later than in a delivery: acceptances are filed under
their keys, ended days sealed.
"""

from __future__ import annotations

from functools import partial

import msgspec

from estafeta.store import mailboxes, messages, trail
from estafeta.store.audit import seal_slice
from estafeta.store.bodies import FOLDER, Bodies, path_of
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import first_at, parse_queue_id
from estafeta.store.limits import GARBAGE_AGE_MS, GARBAGE_SLICE, TOMBSTONES_MAX

_UNUSED = (
    " NOT EXISTS (SELECT 1 FROM message WHERE message.body = body.id)"
    " AND NOT EXISTS (SELECT 1 FROM acceptance"
    " JOIN recipient ON recipient.acceptance = acceptance.id"
    " WHERE acceptance.body = body.id AND recipient.fate IS NULL)"
)


class Collected(msgspec.Struct):
    """What one run removed."""

    bodies: int = 0
    octets: int = 0
    files: int = 0
    messages_erased: int = 0  # slices of removed mailboxes


async def collect_garbage(store: Store, bodies: Bodies, now: int) -> Collected:
    """One run over everything, in slices. now: ms since 1970. Raises StoreError, OSError."""
    done = Collected()
    for file in (trail.extend, seal_slice):
        while not await store.run(partial(file, now=now)):
            pass
    await _erase_removed(store, done)
    await _fold(store)
    oldest_kept = first_at(now - GARBAGE_AGE_MS)
    await _files(store, bodies, oldest_kept, done)
    await _rows(store, oldest_kept, done)
    await store.tidy()
    return done


async def _erase_removed(store: Store, done: Collected) -> None:
    while boxes := await store.read(mailboxes.unerased):
        for account, mailbox in boxes:
            finished = False
            while not finished:
                finished = await store.run(
                    partial(mailboxes.erase_slice, account=account, mailbox=mailbox)
                )
                done.messages_erased += 1


async def _fold(store: Store) -> None:
    """Mailboxes with far too many tombstones."""

    def crowded(tx: Tx) -> list[tuple[int, int]]:
        found = tx.rows(
            "SELECT account, mailbox FROM expunged GROUP BY account, mailbox HAVING count(*) > ?",
            (2 * TOMBSTONES_MAX,),
        )
        return [(row[0], row[1]) for row in found]

    for account, mailbox in await store.read(crowded):
        await store.run(partial(messages.fold_tombstones, account=account, mailbox=mailbox))


async def _rows(store: Store, before: int, done: Collected) -> None:
    after: int | None = 0
    while after is not None:
        unused, after = await store.read(partial(_unused, after=after, before=before))
        if unused:
            sizes = await store.run(partial(_remove, ids=unused))
            done.bodies += len(sizes)
            done.octets += sum(sizes)


def _unused(tx: Tx, after: int, before: int) -> tuple[list[int], int | None]:
    """(unused ones of the next bodies, the last one looked at; None at the end)."""
    some = tx.rows(
        "SELECT id FROM body WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
        (after, before, GARBAGE_SLICE),
    )
    if not some:
        return [], None
    last = some[-1][0]
    unused = tx.rows(
        f"SELECT id FROM body WHERE id BETWEEN ? AND ? AND{_UNUSED}",  # noqa: S608
        (some[0][0], last),
    )
    return [id for (id,) in unused], last if len(some) == GARBAGE_SLICE else None


def _remove(tx: Tx, ids: list[int]) -> list[int]:
    """Sizes of those that are unused still."""
    sizes = []
    for id in ids:
        size = tx.value(
            f"DELETE FROM body WHERE id = ? AND{_UNUSED} RETURNING size",  # noqa: S608
            (id,),
        )
        if size is not None:
            tx.run("DELETE FROM body_data WHERE id = ?", (id,))
            sizes.append(size)
    return sizes


async def _files(store: Store, bodies: Bodies, before: int, done: Collected) -> None:
    disk = bodies.disk
    for folder in sorted(disk.list(FOLDER)):
        ids = []
        for name in disk.list(f"{FOLDER}/{folder}"):
            try:
                id = parse_queue_id(name)
            except ValueError:
                continue  # not ours to judge
            if id < before:
                ids.append(id)
        for start in range(0, len(ids), GARBAGE_SLICE):
            some = ids[start : start + GARBAGE_SLICE]
            for id in await store.read(partial(_unknown, ids=some)):
                disk.remove(path_of(id))
                done.files += 1


def _unknown(tx: Tx, ids: list[int]) -> list[int]:
    return [id for id in ids if tx.value("SELECT 1 FROM body WHERE id = ?", (id,)) is None]
