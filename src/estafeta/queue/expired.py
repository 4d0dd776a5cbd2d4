"""Expired: messages that grew too old while their host had no time for anybody.

Whoever waits behind a host that backs off is not looked at; only this does, now and then, in the
order of acceptance, so that a message is given up when the plan says although it is not its turn.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import groupby

import msgspec

from estafeta.queue import rows
from estafeta.queue.limits import EXPIRED_ROWS
from estafeta.queue.plan import Rules
from estafeta.store.engine import Tx
from estafeta.store.ids import first_at

Place = tuple[int, int]
"""Acceptance and number of the row looked at last."""

START: Place = (-1, -1)


class Found(msgspec.Struct):
    """after: where the next look begins; None once all were looked at."""

    jobs: list[rows.Leased]
    after: Place | None


def anybody(tx: Tx) -> bool:
    """Whether any destination waits for anything."""
    return tx.value("SELECT 1 FROM destination WHERE waits_for <> '' LIMIT 1") is not None


def take(
    tx: Tx,
    after: Place,
    rules: Rules,
    *,
    now: int,
    until: int,
    tokens: Iterator[int],
    recipients_max: int,
    suspended: Container[str] = (),
) -> Found:
    """Waiting -> leased, for some of those that are too old: a job each, as many as there are
    tokens. For the last try, if it can be made by now, or to be given up.

    suspended: destinations that get their last try once they are resumed.
    """
    found = Found([], None)
    least = rules.span_least()
    if least is None:
        return found
    # Not JOIN: that the rows come first, in their order, is not the planner's to choose.
    seen = tx.rows(
        "SELECT queue.acceptance, queue.n, queue.destination, queue.attempts, queue.last, "
        "acceptance.at FROM queue CROSS JOIN destination CROSS JOIN acceptance "
        "WHERE (queue.acceptance, queue.n) > (?, ?) AND queue.acceptance < ? "
        "AND queue.lease IS NULL AND queue.held = '' AND queue.wish = '' "
        "AND destination.name = queue.destination AND destination.waits_for <> '' "
        "AND acceptance.id = queue.acceptance "
        "ORDER BY queue.acceptance, queue.n LIMIT ? "
        "/*postgresql: FOR UPDATE OF queue SKIP LOCKED */",
        (*after, first_at(now - int(least * 1000)), EXPIRED_ROWS),
    )
    for (acceptance, destination), together in groupby(seen, key=lambda row: (row[0], row[2])):
        group = list(together)
        span = rules.of(destination).plan.span
        if destination in suspended or span is None or now < group[0][5] + int(span * 1000):
            continue
        for start in range(0, len(group), recipients_max):
            part = group[start : start + recipients_max]
            token = next(tokens, None)
            if token is None:
                return found
            job = rows.Leased(token, acceptance, destination, (), ())
            some = [(n, attempts, last) for _, n, _, attempts, last, _ in part]
            found.jobs.append(rows.take(tx, job, some, until))
            found.after = (acceptance, part[-1][1])
    found.after = (seen[-1][0], seen[-1][1]) if len(seen) == EXPIRED_ROWS else None
    return found
