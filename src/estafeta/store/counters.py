"""Counters: numbers that are never given out twice."""

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
