"""Meta: single values of a store, each by its name."""

from __future__ import annotations

from estafeta.store.engine import Tx


def get(tx: Tx, name: str) -> str | None:
    found: str | None = tx.value("SELECT value FROM meta WHERE name = ?", (name,))
    return found


def put(tx: Tx, name: str, value: str) -> None:
    tx.send(
        "INSERT INTO meta (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def propose(tx: Tx, name: str, value: str) -> None:
    """`put`, where there is none yet."""
    tx.send(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, value)
    )


def agreed(tx: Tx, name: str, value: str) -> str:
    """The value of whoever proposed one first; ours, if that was nobody."""
    propose(tx, name, value)
    found = get(tx, name)
    assert found is not None
    return found


def drop(tx: Tx, name: str) -> None:
    tx.send("DELETE FROM meta WHERE name = ?", (name,))
