"""Garbage: bodies that nothing refers to any more, and files and objects that no row knows.

A body is alive while a message has it or an acceptance with an open recipient. There are no
counters: it is garbage by the absence of references, a day old at least, and looked at again under
the lock that removes it. Files and objects go one run after their rows: who reads a message just
expunged has that time to finish. A run may end anywhere, and several may go on at once: whatever is
left is found again, because what is looked for is never what a run has written down.

A run begins with what else is better done later than in a delivery: acceptances are filed under
their keys, ended days sealed.
"""

from __future__ import annotations

import contextlib
from functools import partial

import msgspec

from estafeta.store import counters, mailboxes, messages, trail
from estafeta.store.audit import seal_slice
from estafeta.store.bodies import FOLDER, Bodies, BodiesUnavailable, path_of
from estafeta.store.bodies.names import parse_object, parts_of
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import first_at, parse_queue_id
from estafeta.store.limits import (
    GARBAGE_AGE_MS,
    GARBAGE_SLICE,
    OBJECTS_LISTED,
    TOMBSTONES_MAX,
)

COLLECTOR = "garbage"
"""Held by whoever removes bodies, and by whoever refers again to one that may be nobody's."""

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
    objects: int = 0
    messages_erased: int = 0  # slices of removed mailboxes


async def collect_garbage(store: Store, bodies: Bodies, now: int) -> Collected:
    """One run over everything, in slices. now: ms since 1970. Raises StoreError, OSError.

    Where the object store is away the rest is done, and BodiesUnavailable raised at the end.
    """
    done = Collected()
    for file in (trail.extend, seal_slice):
        while not await store.run(partial(file, now=now)):
            pass
    await _erase_removed(store, done)
    await _fold(store)
    oldest_kept = first_at(now - GARBAGE_AGE_MS)
    await _files(store, bodies, oldest_kept, done)
    away: BodiesUnavailable | None = None
    try:
        await _objects(store, bodies, oldest_kept, done)
    except BodiesUnavailable as error:
        away = error
    await _rows(store, oldest_kept, done)
    await store.tidy()
    if away is not None:
        raise away
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
    counters.hold(tx, COLLECTOR)
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
            known = await store.read(partial(_sizes, ids=some))
            for id in some:
                if id in known:
                    continue
                with contextlib.suppress(FileNotFoundError):  # another collector was here
                    disk.remove(path_of(id))
                    done.files += 1


async def _objects(store: Store, bodies: Bodies, before: int, done: Collected) -> None:
    shelf = bodies.shelf
    if shelf is None:
        return
    await bodies.own(store)  # never what another installation keeps there
    after = ""
    while True:
        some = await shelf.names(after, OBJECTS_LISTED)
        old: list[tuple[str, int, int]] = []
        for name, _ in some:
            try:
                id, part = parse_object(name)
            except ValueError:
                continue  # not ours to judge
            if id < before:
                old.append((name, id, part))
        ids = sorted({id for _, id, _ in old})
        known = await store.read(partial(_sizes, ids=ids))
        # A body may have fewer parts than somebody began to put under its name.
        dead = [name for name, id, part in old if id not in known or part >= parts_of(known[id])]
        await shelf.delete(dead)
        done.objects += len(dead)
        # Names are in the order of ids: behind a young one there is nothing old.
        if len(some) < OBJECTS_LISTED or not old:
            return
        after = some[-1][0]


def _sizes(tx: Tx, ids: list[int]) -> dict[int, int]:
    """Of those bodies that have a row. Where it says they lie does not matter: who moves a body
    has it in two places for a while."""
    found = {}
    for id in ids:
        size = tx.value("SELECT size FROM body WHERE id = ?", (id,))
        if size is not None:
            found[id] = size
    return found
