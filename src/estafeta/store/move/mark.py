"""Mark: a target's note of how far a move into it has come, kept in the target itself.

It is written in the same transaction as the rows it speaks of, so a kill at any moment leaves both
or neither. While it is there the store is only half of one, and is refused to everybody else.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from estafeta.store import meta
from estafeta.store.engine import Store, StoreError, Tx
from estafeta.store.move.tables import tables

MOVE, MOVED = "move", "moved"

_MADE_WITH_THE_STORE = ("counter", "meta")
"""Tables that are not empty in a new store."""


class MoveRefused(StoreError):
    """It cannot be done, or not yet; nothing was changed. The text is one clear sentence."""


class Mark(msgspec.Struct):
    """source: its fingerprint; name: how people call it. state: what is being done; "erase" and
    "clear" are begun again from their start, "copy" goes on at table and after. rows: copied so
    far, by table.
    """

    source: str
    name: str
    state: Literal["erase", "clear", "copy", "verify"] = "clear"
    table: str = ""
    after: list[int | str] | None = None
    rows: dict[str, int] = {}


class Done(msgspec.Struct, frozen=True):
    """What is noted once all is proven. at: ms since 1970. Others as in `Mark`."""

    source: str
    name: str
    at: int
    rows: dict[str, int]


def read_mark(tx: Tx) -> Mark | None:
    value = meta.get(tx, MOVE)
    return None if value is None else msgspec.json.decode(value, type=Mark)


def read_done(tx: Tx) -> Done | None:
    value = meta.get(tx, MOVED)
    return None if value is None else msgspec.json.decode(value, type=Done)


def write_mark(tx: Tx, mark: Mark) -> None:
    meta.put(tx, MOVE, msgspec.json.encode(mark).decode())


def complete(tx: Tx, done: Done) -> None:
    """From now on it is a store like any other."""
    meta.put(tx, MOVED, msgspec.json.encode(done).decode())
    meta.drop(tx, MOVE)


def is_new(tx: Tx) -> bool:
    """Nothing is in it but what every new store has."""
    return all(
        tx.value(f"SELECT 1 FROM {table.name} LIMIT 1") is None  # noqa: S608 - our own tables
        for table in tables()
        if table.name not in _MADE_WITH_THE_STORE
    )


def clear_new(tx: Tx, mark: Mark) -> None:
    """Takes away what a new store has: it comes from the source. Writes the mark that says so."""
    tx.run("DELETE FROM counter")
    tx.run("DELETE FROM meta")
    write_mark(tx, mark)


def fingerprint(tx: Tx) -> str:
    """Tells a store from others: when its schema was made, to the millisecond, and since then."""
    digest = hashlib.sha256()
    for row in tx.rows("SELECT number, applied FROM migration ORDER BY number"):
        digest.update(msgspec.json.encode(row))
    return digest.hexdigest()[:16]


async def refuse_half_moved(store: Store, name: str) -> None:
    """Raises MoveRefused where a move into this store has begun and not ended."""
    mark = await store.read(read_mark)
    if mark is not None:
        raise MoveRefused(
            f"the store {name} is only half of one: a move from {mark.name} into it has not ended; "
            "run the same `estafeta store move` again to finish it"
        )
