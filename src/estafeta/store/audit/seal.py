"""Seal: what an ended day came to, once all of its recipients have ended.

Totals for each fate and a SHA-256 chain over the rows, slice by slice: whoever changes a row of a
sealed day, or takes one away, changes the hash that `audit --full` proves again.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec

from estafeta.store import counters
from estafeta.store.engine import Row, Tx
from estafeta.store.ids import first_at, milliseconds
from estafeta.store.ledger import ANSWERED_ORIGINS, DAY_MS, FATE_COLUMNS
from estafeta.store.limits import SEAL_DELAY_MS, SEAL_SLICE, SEAL_SLICES_MAX

Totals = dict[str, int]


def seal_days(tx: Tx, now: int) -> None:
    """Seals the days that can be, as far as one unit may take; a later call goes on from there."""
    for _ in range(SEAL_SLICES_MAX):
        if seal_slice(tx, now):
            return


def seal_slice(tx: Tx, now: int, limit: int = SEAL_SLICE) -> bool:
    """Hashes up to `limit` acceptances; True when there is nothing to be sealed now."""
    counters.hold(tx, "seal")
    row = tx.row("SELECT day, sealed, upto, totals, hash FROM seal ORDER BY day DESC LIMIT 1")
    if row is not None and row[1] is None:
        day, _, upto, encoded, chain = row
        totals = msgspec.json.decode(encoded, type=Totals)
        limit = totals["slice"]
    else:
        next_day = _next_day(tx, -1 if row is None else row[0])
        if next_day is None or (next_day + 1) * DAY_MS + SEAL_DELAY_MS > now:
            return True
        day, upto, totals, chain = next_day, first_at(next_day * DAY_MS) - 1, {}, ""
        if _still_open(tx, day):
            return True
    upto, chain, done = hash_slice(tx, day, upto, totals, chain, limit)
    tx.run(
        "INSERT INTO seal (day, sealed, upto, totals, hash) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (day) DO UPDATE SET sealed = excluded.sealed, upto = excluded.upto,"
        " totals = excluded.totals, hash = excluded.hash",
        (
            day,
            now if done else None,
            upto,
            msgspec.json.encode(totals, order="sorted").decode(),
            chain,
        ),
    )
    return False


def hash_slice(
    tx: Tx, day: int, after: int, totals: Totals, chain: str, limit: int = SEAL_SLICE
) -> tuple[int, str, bool]:
    """Adds the next acceptances of `day` to totals and chain: (last id, chain, whether all).

    The chain depends on `limit`, which is kept as totals['slice'].
    """
    end = first_at((day + 1) * DAY_MS)
    some = tx.rows(
        "SELECT id, origin, reverse_path, recipients FROM acceptance WHERE id > ? AND id < ?"
        " ORDER BY id LIMIT ?",
        (after, end, limit),
    )
    if not some:
        return after, chain, True
    last = some[-1][0]
    recipients = tx.rows(
        f"SELECT acceptance, n, address, ended, {FATE_COLUMNS} FROM recipient"  # noqa: S608
        " WHERE acceptance > ? AND acceptance <= ? ORDER BY acceptance, n",
        (after, last),
    )
    counts: Counter[str] = Counter(totals)
    counts["acceptances"] += len(some)
    for _, origin, _, count in some:
        if origin in ANSWERED_ORIGINS:
            counts["answered_messages"] += 1
            counts["answered_recipients"] += count
    counts["recipients"] += len(recipients)
    counts.update(str(row[4]) for row in recipients)
    totals.update(counts)
    totals["slice"] = limit
    return last, _link(chain, some, recipients), len(some) < limit


def _link(chain: str, acceptances: list[Row], recipients: list[Row]) -> str:
    digest = hashlib.sha256(chain.encode())
    digest.update(msgspec.json.encode((acceptances, recipients)))
    return digest.hexdigest()


def _next_day(tx: Tx, after: int) -> int | None:
    """The first day with acceptances after day `after`."""
    id: int | None = tx.value(
        "SELECT min(id) FROM acceptance WHERE id >= ?", (first_at(max(0, after + 1) * DAY_MS),)
    )
    return None if id is None else milliseconds(id) // DAY_MS


def _still_open(tx: Tx, day: int) -> bool:
    return (
        tx.value(
            "SELECT 1 FROM recipient WHERE fate IS NULL AND acceptance >= ? AND acceptance < ?"
            " LIMIT 1",
            (first_at(day * DAY_MS), first_at((day + 1) * DAY_MS)),
        )
        is not None
    )
