"""Open: the part of the audit that is cheap, whatever the age of the store.

Open recipients and queue rows are a bijection, each queue row will be looked at, be it after what
its destination waits for, and of the days
not sealed yet as many were accepted as were answered. Partial indexes serve all of it.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from estafeta.store.audit.finding import Finding, day_name
from estafeta.store.engine import Tx
from estafeta.store.ids import LOW_BITS, first_at, queue_id
from estafeta.store.ledger import ANSWERED_ORIGINS, DAY_MS
from estafeta.store.rows import FAULT_HELD

_OPEN = (
    "SELECT acceptance, n, address FROM recipient WHERE fate IS NULL AND NOT EXISTS"
    " (SELECT 1 FROM queue WHERE queue.acceptance = recipient.acceptance"
    " AND queue.n = recipient.n)"
)
_QUEUED = (
    "SELECT queue.acceptance, queue.n, queue.destination, recipient.fate FROM queue"
    " LEFT JOIN recipient ON recipient.acceptance = queue.acceptance AND recipient.n = queue.n"
    " WHERE recipient.acceptance IS NULL OR recipient.fate IS NOT NULL"
)
_UNSEEN = (
    "SELECT queue.acceptance, queue.n, queue.destination, destination.due FROM queue"
    " LEFT JOIN destination ON destination.name = queue.destination"
    " WHERE destination.name IS NULL OR destination.due > queue.due"
)
_FORGOTTEN = (
    "SELECT destination.name, destination.waits_for, backoff.due FROM destination"
    " LEFT JOIN backoff ON backoff.name = destination.waits_for"
    " WHERE destination.waits_for <> ''"
    " AND (backoff.name IS NULL OR backoff.due = ? AND destination.due < ?)"
)
_HELD_FOR_EVER = (
    "SELECT acceptance, n, destination FROM queue WHERE held <> '' AND substr(held, 1, ?) = ?"
    " AND NOT EXISTS (SELECT 1 FROM parked JOIN fault ON fault.code = parked.fault"
    " AND fault.about = parked.about WHERE parked.acceptance = queue.acceptance"
    " AND parked.n = queue.n AND parked.held = queue.held)"
)
_ORIGINS = ", ".join(f"'{origin}'" for origin in sorted(ANSWERED_ORIGINS))
_NEVER = 1 << 62
_DAY = f"(id >> {LOW_BITS}) / {DAY_MS}"
_ACCEPTED = (
    f"SELECT {_DAY}, count(*), sum(recipients) FROM acceptance"
    f" WHERE id >= ? AND id < ? AND origin IN ({_ORIGINS}) GROUP BY {_DAY}"
)


def audit_open(tx: Tx) -> list[Finding]:
    found = [
        Finding(
            "recipient-without-queue-row",
            f"{queue_id(id)}: recipient {n} ({address}) is open and not in the queue",
            acceptance=id,
            n=n,
        )
        for id, n, address in tx.rows(_OPEN)
    ]
    for id, n, destination, fate in tx.rows(_QUEUED):
        state = "does not exist" if fate is None else f"has ended ({fate})"
        found.append(
            Finding(
                "queue-row-without-recipient",
                f"{queue_id(id)}: recipient {n} is queued for {destination} but {state}",
                acceptance=id,
                n=n,
            )
        )
    for id, n, destination, due in tx.rows(_UNSEEN):
        why = "has no row" if due is None else "is looked at too late"
        found.append(
            Finding(
                "queue-row-out-of-sight",
                f"{queue_id(id)}: recipient {n} waits for {destination}, which {why}",
                acceptance=id,
                n=n,
            )
        )
    for destination, name, due in tx.rows(_FORGOTTEN, (_NEVER, _NEVER)):
        why = "is not there" if due is None else "nobody looks at"
        found.append(
            Finding("destination-out-of-sight", f"{destination} waits for {name}, which {why}")
        )
    for id, n, destination in tx.rows(_HELD_FOR_EVER, (len(FAULT_HELD), FAULT_HELD)):
        found.append(
            Finding(
                "held-for-ever",
                f"{queue_id(id)}: recipient {n}, queued for {destination}, is held for a fault of"
                " ours that nobody looks for",
                acceptance=id,
                n=n,
            )
        )
    sealed: int | None = tx.value("SELECT max(day) FROM seal WHERE sealed IS NOT NULL")
    return found + audit_days(tx, -1 if sealed is None else sealed)


def audit_days(tx: Tx, after: int, until: int | None = None) -> list[Finding]:
    """Answered against accepted, of the days after `after` up to `until` (both since 1970)."""
    end = (1 << 62) if until is None else first_at((until + 1) * DAY_MS)
    answered = {
        day: (messages, recipients)
        for day, messages, recipients in tx.rows(
            "SELECT day, sum(messages), sum(recipients) FROM answered WHERE day > ? GROUP BY day",
            (after,),
        )
        if until is None or day <= until
    }
    rows = tx.rows(_ACCEPTED, (first_at(max(0, after + 1) * DAY_MS), end))
    accepted = {day: (messages, recipients) for day, messages, recipients in rows}
    found = []
    for day in sorted(answered.keys() | accepted.keys()):
        told, have = answered.get(day, (0, 0)), accepted.get(day, (0, 0))
        if told != have:
            found.append(
                Finding(
                    "answered-not-accepted",
                    f"{day_name(day)}: answered 250 for {told[0]} messages to {told[1]} recipients,"
                    f" the ledger has {have[0]} to {have[1]}",
                    day=day,
                )
            )
    return found
