"""Journey: everything the store knows of one message's way. Data only; the office renders it."""

from __future__ import annotations

from typing import Any

import msgspec

from estafeta.store import ledger
from estafeta.store.engine import Row, Tx
from estafeta.store.ids import queue_id
from estafeta.store.rows import Acceptance
from estafeta.store.trail import find

__all__ = ["Event", "Journey", "QueueRow", "Relative", "find", "journey"]


class Event(msgspec.Struct, frozen=True):
    """An attempt, delay, hold … at: ms since 1970. n: the recipient, or ledger.ALL_RECIPIENTS."""

    id: int
    at: int
    n: int
    kind: str
    detail: dict[str, Any]


class Waits(msgspec.Struct, frozen=True):
    """What a destination waits for: a host that has no time, or, named by "@" and its domain, one
    that asked us to slow down. since: of the first failure of those in a row; until: of the next
    probe (ms since 1970). probed: one is being made now."""

    name: str
    since: int
    until: int
    failures: int
    probed: bool


class QueueRow(msgspec.Struct, frozen=True):
    """Where an open recipient waits. due: ms since 1970. leased: somebody is at it now; due is
    then when that lease ends. last: the last Outcome, or None. waits: nobody tries it before."""

    n: int
    destination: str
    due: int
    attempts: int
    leased: bool
    held: str
    last: dict[str, Any] | None
    waits: Waits | None = None


class Relative(msgspec.Struct, frozen=True):
    """The acceptance this one came from, or one that came from it."""

    id: int
    queue_id: str
    origin: str
    at: int


class Journey(msgspec.Struct, frozen=True):
    queue_id: str
    acceptance: Acceptance
    recipients: list[ledger.Entry]
    events: list[Event]
    queue: list[QueueRow]
    parent: Relative | None
    children: list[Relative]


def journey(tx: Tx, id: int) -> Journey:
    """Raises KeyError where there is no such acceptance."""
    acceptance = ledger.acceptance(tx, id)
    events = tx.rows(
        "SELECT id, at, n, kind, detail FROM event WHERE acceptance = ? ORDER BY at, id", (id,)
    )
    queue = tx.rows(
        "SELECT n, destination, queue.due, attempts, lease, held, last, backoff.name, since,"
        " not_before, failures, prober FROM queue"
        " LEFT JOIN destination ON destination.name = queue.destination"
        " LEFT JOIN backoff ON backoff.name = waits_for"
        " WHERE acceptance = ? ORDER BY n",
        (id,),
    )
    children = tx.rows("SELECT id, origin, at FROM acceptance WHERE parent = ? ORDER BY id", (id,))
    parent = None
    if acceptance.parent is not None:
        row = tx.row("SELECT id, origin, at FROM acceptance WHERE id = ?", (acceptance.parent,))
        parent = None if row is None else _relative(*row)
    return Journey(
        queue_id=queue_id(id),
        acceptance=acceptance,
        recipients=ledger.entries(tx, id),
        events=[Event(row[0], row[1], row[2], row[3], _object(row[4]) or {}) for row in events],
        queue=[_queue_row(row) for row in queue],
        parent=parent,
        children=[_relative(*row) for row in children],
    )


def _queue_row(row: Row) -> QueueRow:
    n, destination, due, attempts, lease, held, last, name, since, until, failures, prober = row
    waits = None if name is None else Waits(name, since, until, failures, prober is not None)
    return QueueRow(n, destination, due, attempts, lease is not None, held, _object(last), waits)


def _relative(id: int, origin: str, at: int) -> Relative:
    return Relative(id, queue_id(id), origin, at)


def _object(text: str) -> dict[str, Any] | None:
    return msgspec.json.decode(text, type=dict[str, Any]) if text else None
