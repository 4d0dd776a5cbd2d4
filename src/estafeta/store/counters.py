"""Counters: numbers that are never given out twice, and what one transaction alone may do."""

from __future__ import annotations

from estafeta.store.engine import Tx


def take(tx: Tx, name: str, by: int = 1) -> int:
    """The first of `by` numbers in a row; the very first is 1."""
    last: int = tx.value(
        "INSERT INTO counter (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value"
        " RETURNING value",
        (name, by),
    )
    return last - by + 1


def hold(tx: Tx, name: str) -> None:
    """Whoever else holds `name` waits from here until this transaction has ended, and then sees
    what it did. For what is looked at in order to be changed and belongs to no account."""
    tx.send(
        "INSERT INTO counter (name, value) VALUES (?, 0)"
        " ON CONFLICT (name) DO UPDATE SET value = counter.value",
        (name,),
    )
