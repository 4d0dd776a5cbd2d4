"""Queue rows: the SQL of the queue's states (queue/states.py), each function part of a unit.

Several workers lease at the same time: on PostgreSQL each passes over what others have locked.

Two levels: `destination` by next due, rows within a destination; those destinations that wait for a
host to have time again (queue/backoff.py) are not among those that are looked at. A lease moves
`due` to its own end, so one index serves due rows and ended leases alike, and nobody looks at a row
being worked on. `destination.due` may be early, never late: early costs one look, late would forget
the row. So an ended row leaves it alone, and whoever looks for nothing puts it right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from estafeta.queue import backoff
from estafeta.queue.greylist import GREYLISTED
from estafeta.store.engine import Tx

NEVER = backoff.NEVER
TOKEN_MAX = (1 << 63) - 1
ALL_TOKENS = range(TOKEN_MAX + 1)
HINT = backoff.HINT
POSTPONED_MS = 1000


RETURNING = "(returning)"
"""In place of a destination, of rows that are not attempted any more (queue/returns.py): no domain
has such a name. Their own stands in `last`."""


class Waiting(msgspec.Struct, frozen=True):
    """What becomes a row. token: lease of the worker that takes it on at once, or None."""

    acceptance: int
    n: int
    destination: str
    due: int
    token: int | None = None


class Leased(msgspec.Struct, frozen=True):
    """Rows of one acceptance for one destination, under one token. numbers, attempts: parallel.

    greylisted: those of `numbers` that a greylist turned away the last time. probe: the name in
    `backoff` that the destination waits for; this job is to find out.
    """

    token: int
    acceptance: int
    destination: str
    numbers: tuple[int, ...]
    attempts: tuple[int, ...]
    greylisted: frozenset[int] = frozenset()
    probe: str = ""


class LateOutcome(Exception):
    """The lease ended and somebody else may have taken the rows: the outcome is not applied."""


def enqueue(tx: Tx, rows: Iterable[Waiting]) -> None:
    """No row -> waiting, or leased where a token is given; `due` is then the end of that lease."""
    destinations: dict[str, int] = {}
    for row in rows:
        tx.send(
            "INSERT INTO queue (acceptance, n, destination, due, lease) VALUES (?, ?, ?, ?, ?)",
            (row.acceptance, row.n, row.destination, row.due, row.token),
        )
        destinations[row.destination] = min(row.due, destinations.get(row.destination, NEVER))
        if row.token is None:
            tx.hint(HINT)
    for name, due in destinations.items():
        expect(tx, name, due)


def expect(tx: Tx, destination: str, due: int) -> None:
    """Sees to it that `destination` is looked at by `due`. Writes only where that is earlier.

    Who leases locks the row, and then looks for what comes first: what it cannot see yet waits here
    and looks again. Among themselves those who enqueue do not wait. Who must write does not share
    the row first: two who did would wait for each other.
    """
    known = tx.value(
        "SELECT due FROM destination WHERE name = ? AND due <= ? /*postgresql: FOR SHARE */",
        (destination, due),
    )
    if known is not None:
        return
    tx.send(
        "INSERT INTO destination (name, due) VALUES (?, ?) ON CONFLICT (name) DO UPDATE "
        "SET due = excluded.due WHERE excluded.due < destination.due",
        (destination, due),
    )
    backoff.expect(tx, destination, due)


def due_destinations(tx: Tx, now: int, limit: int, busy: Collection[str]) -> list[str]:
    """Names of destinations that may have due rows, the longest overdue first, without `busy`."""
    found: list[str] = []
    names = tx.rows(
        "SELECT name FROM destination WHERE waits_for = '' AND due <= ? ORDER BY due, name LIMIT ?",
        (now, limit + len(busy)),
    )
    for (name,) in names:
        if name not in busy:
            found.append(name)
    return found[:limit]


def lease(
    tx: Tx,
    destination: str,
    *,
    now: int,
    until: int,
    tokens: Sequence[int],
    recipients_max: int,
    probe: str = "",
) -> list[Leased]:
    """Waiting -> leased: at most one job for each of `tokens`, oldest due first.

    Recipients of one acceptance go into one job, `recipients_max` at most. probe: see `Leased`.
    """
    rows = tx.rows(
        "SELECT acceptance, n, attempts, last FROM queue WHERE destination = ? AND due <= ? "
        "AND held = '' AND wish = '' ORDER BY due, acceptance, n LIMIT ? "
        "/*postgresql: FOR UPDATE SKIP LOCKED */",
        (destination, now, len(tokens) * recipients_max),
    )
    groups: dict[int, list[tuple[int, int, str]]] = {}
    for acceptance, n, attempts, last in rows:
        group = groups.get(acceptance)
        if group is None:
            if len(groups) == len(tokens):
                continue
            group = groups[acceptance] = []
        if len(group) < recipients_max:
            group.append((n, attempts, last))
    jobs = [
        take(tx, Leased(token, acceptance, destination, (), (), probe=probe), group, until)
        for token, (acceptance, group) in zip(tokens, groups.items(), strict=False)
    ]
    settle_destination(tx, destination)
    return jobs


def take(tx: Tx, job: Leased, group: Sequence[tuple[int, int, str]], until: int) -> Leased:
    """Waiting -> leased, for these rows of one acceptance, which the caller has locked.

    group: (n, attempts, last) of each.
    """
    tx.run_many(
        "UPDATE queue SET lease = ?, due = ? WHERE acceptance = ? AND n = ?",
        [(job.token, until, job.acceptance, n) for n, _, _ in group],
    )
    return msgspec.structs.replace(
        job,
        numbers=tuple(n for n, _, _ in group),
        attempts=tuple(attempts for _, attempts, _ in group),
        greylisted=frozenset(n for n, _, last in group if GREYLISTED in last),
    )


def settle_destination(tx: Tx, destination: str) -> None:
    """Makes `destination.due` exact, or removes it with its last row. See `expect`.

    Where somebody is at it now, it stays as it is, too early perhaps: who waited for one row with
    another in hand could be waited for.
    """
    known = tx.value(
        "SELECT due FROM destination WHERE name = ? /*postgresql: FOR UPDATE SKIP LOCKED */",
        (destination,),
    )
    if known is None:
        return
    first = tx.value("SELECT MIN(due) FROM queue WHERE destination = ?", (destination,))
    if first is None:
        tx.send("DELETE FROM destination WHERE name = ?", (destination,))
    elif first != known:
        tx.send("UPDATE destination SET due = ? WHERE name = ?", (first, destination))


def finish(tx: Tx, job: Leased, n: int) -> None:
    """Leased -> no row; the caller ends the recipient in the same unit. Raises LateOutcome."""
    if not tx.run(
        "DELETE FROM queue WHERE acceptance = ? AND n = ? AND lease = ?",
        (job.acceptance, n, job.token),
    ):
        raise LateOutcome(f"recipient {n} of {job.acceptance} is no longer leased to {job.token}")


def defer(tx: Tx, job: Leased, n: int, *, due: int, last: str) -> str:
    """Leased -> waiting until `due`, one attempt more. Raises LateOutcome.

    Returns what somebody wished of it meanwhile, for `wish.grant`; "" for nothing.
    """
    wished: str | None = tx.value(
        "UPDATE queue SET lease = NULL, due = ?, attempts = attempts + 1, last = ? "
        "WHERE acceptance = ? AND n = ? AND lease = ? RETURNING wish",
        (due, last, job.acceptance, n, job.token),
    )
    if wished is None:
        raise LateOutcome(f"recipient {n} of {job.acceptance} is no longer leased to {job.token}")
    expect(tx, job.destination, due)
    tx.hint(HINT)
    return wished


def begin_return(tx: Tx, job: Leased, n: int, *, due: int, last: str) -> None:
    """Leased -> returning, until `due` at most. Raises LateOutcome."""
    if not tx.run(
        "UPDATE queue SET destination = ?, lease = NULL, due = ?, last = ?, wish = ''"
        " WHERE acceptance = ? AND n = ? AND lease = ?",
        (RETURNING, due, last, job.acceptance, n, job.token),
    ):
        raise LateOutcome(f"recipient {n} of {job.acceptance} is no longer leased to {job.token}")
    expect(tx, RETURNING, due)
    tx.hint(HINT)


def finish_return(tx: Tx, acceptance: int, n: int) -> None:
    """Returning -> no row, leased or not; the caller ends the recipient in the same unit."""
    tx.send(
        "DELETE FROM queue WHERE acceptance = ? AND n = ? AND destination = ?",
        (acceptance, n, RETURNING),
    )


def postpone(tx: Tx, job: Leased, now: int) -> list[tuple[int, str]]:
    """Leased -> waiting, and no attempt was made: its host has no time. Raises LateOutcome.

    They are due again a moment later, whatever the host's back-off: nothing comes round at once.
    Returns (n, wish) where somebody wished something of a row meanwhile, for `wish.grant`.
    """
    due = now + POSTPONED_MS
    wishes: list[tuple[int, str]] = []
    for n in job.numbers:
        wished: str | None = tx.value(
            "UPDATE queue SET lease = NULL, due = ? WHERE acceptance = ? AND n = ? AND lease = ? "
            "RETURNING wish",
            (due, job.acceptance, n, job.token),
        )
        if wished is None:
            raise LateOutcome(f"recipient {n} of {job.acceptance} is not leased to {job.token}")
        if wished:
            wishes.append((n, wished))
    expect(tx, job.destination, due)
    tx.hint(HINT)
    return wishes


def give_back(tx: Tx, now: int, tokens: range = ALL_TOKENS) -> int:
    """Leased -> waiting: the leases of workers that have ended. Returns how many rows.

    tokens: theirs (queue/holders.py).
    """
    backoff.give_back(tx, now, tokens)
    lowest, highest = tokens.start, tokens.stop - 1
    names = tx.rows(
        "SELECT DISTINCT destination FROM queue WHERE lease BETWEEN ? AND ? ORDER BY destination",
        (lowest, highest),
    )
    if not names:
        return 0
    count = tx.run(
        "UPDATE queue SET lease = NULL, due = ? WHERE lease BETWEEN ? AND ?",
        (now, lowest, highest),
    )
    for (name,) in names:
        expect(tx, name, now)
    tx.hint(HINT)
    return count


def renew(tx: Tx, leases: Sequence[tuple[int, int]], until: int) -> None:
    """Moves the end of leases that are still held. leases: (token, acceptance)."""
    tx.run_many(
        "UPDATE queue SET due = ? WHERE acceptance = ? AND lease = ?",
        [(until, acceptance, token) for token, acceptance in leases],
    )


def next_due(tx: Tx, busy: Collection[str] = ()) -> int | None:
    """When the queue is to be looked at next, in milliseconds; None where nothing waits.

    busy: destinations that could not be served now anyway.
    """
    soonest = tx.rows(
        "SELECT due, name FROM destination WHERE waits_for = '' ORDER BY due, name LIMIT ?",
        (len(busy) + 1,),
    )
    found = next((int(due) for due, name in soonest if name not in busy and due != NEVER), None)
    probe = backoff.next_due(tx)
    return found if probe is None else probe if found is None else min(found, probe)


def return_due(tx: Tx) -> int | None:
    """When the next of those that are returning is due; None where there is none."""
    due: int | None = tx.value("SELECT due FROM destination WHERE name = ?", (RETURNING,))
    return None if due is None or due == NEVER else due


def size(tx: Tx) -> int:
    """Rows in the queue, whatever their state."""
    return int(tx.value("SELECT COUNT(*) FROM queue"))
