"""Greylist: who was asked to come again, and who did, for all workers and nodes of a store.

A row is a stranger: who (organisation or network), from which sender, to which recipient, all of it
hashed. It waits from the first try on, and passes when the same comes again, not too soon and not
too late. Beside them one row for each `who`, with how many of its messages came again.

Promises: two who see the same first try at once write it once, and both are told the same; a
passing is counted once. Times are milliseconds, days are since 1970 UTC.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from estafeta.store.engine import Row, Tx
from estafeta.store.limits import GREYLIST_SLICE

DAY_MS = 24 * 3600 * 1000

_WHO_OCTETS = 8
_REST_OCTETS = 12


class Terms(msgspec.Struct, frozen=True):
    """delay, window: who comes again sooner waits on, later begins anew. keep: who passed is known
    for so long after the last use. known_after: messages of one `who`. apart: what comes again
    within so much of each other is one message of theirs. All but known_after in milliseconds."""

    delay: int
    window: int
    keep: int
    known_after: int
    apart: int


class Known(msgspec.Struct, frozen=True):
    """It need not wait. key: of the row that says so; stale: which `use` is to be told of."""

    key: bytes
    stale: bool


class Waiting(msgspec.Struct, frozen=True):
    """It was here, and has to wait for so many milliseconds more."""

    left: int


class Due(msgspec.Struct, frozen=True):
    """It was here, and may come in now, or begins anew: `arrive` says which."""


class Standing(msgspec.Struct, frozen=True):
    """What is remembered of one `who`. came: its messages that came again; last: when the last one
    did, 0 for never. waiting, passed: strangers of theirs."""

    came: int
    last: int
    waiting: int
    passed: int


def key_of_who(who: str) -> bytes:
    return blake2b(_octets(who), digest_size=_WHO_OCTETS).digest()


def key_of(who: str, sender: str, recipient: str) -> bytes:
    """Begins with the key of `who`, so that what is of one lies together."""
    rest = b"\0".join((_octets(sender), _octets(recipient)))
    return key_of_who(who) + blake2b(rest, digest_size=_REST_OCTETS).digest()


def look(tx: Tx, key: bytes, now: int, terms: Terms) -> Known | Waiting | Due | None:
    """What there is to say without writing anything; None: it was never here."""
    today = now // DAY_MS
    who = key[:_WHO_OCTETS]
    found = {
        row[0]: row
        for row in tx.rows(
            "SELECT key, first, passed, came, ends FROM greylist WHERE key IN (?, ?)", (who, key)
        )
    }
    of_who = found.get(who)
    if of_who is not None and of_who[3] >= terms.known_after and of_who[4] >= today:
        return Known(who, _is_stale(of_who, today, terms))
    row = found.get(key)
    if row is None:
        return None
    _, first, passed, _, ends = row
    if ends >= today and passed:
        return Known(key, _is_stale(row, today, terms))
    left = first + terms.delay - now
    return Waiting(left) if not passed and 0 < left <= terms.delay else Due()


def arrive(tx: Tx, key: bytes, now: int, terms: Terms, *, counts: bool = True) -> int | None:
    """Milliseconds to wait; None: it came again in time, or had before, and comes in.

    counts: its passing speaks for its `who`.
    """
    ends = (now + terms.window) // DAY_MS
    while True:
        begun = tx.run(
            "INSERT INTO greylist (key, first, ends) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (key, now, ends),
        )
        if begun:
            return terms.delay
        row = tx.row(
            "SELECT first, passed, ends FROM greylist WHERE key = ? /*postgresql: FOR UPDATE */",
            (key,),
        )
        if row is not None:
            break
        # Removed in between as too old.
    first, passed, last_day = row
    if last_day >= now // DAY_MS and passed:
        return None
    if not 0 <= now - first <= terms.window or passed:
        tx.run(
            "UPDATE greylist SET first = ?, passed = 0, ends = ? WHERE key = ?", (now, ends, key)
        )
        return terms.delay
    if now - first < terms.delay:
        return int(first + terms.delay - now)
    tx.run(
        "UPDATE greylist SET passed = ?, ends = ? WHERE key = ?",
        (now, (now + terms.keep) // DAY_MS, key),
    )
    if counts:
        _count(tx, key[:_WHO_OCTETS], now, terms)
    return None


def use(tx: Tx, key: bytes, now: int, terms: Terms) -> None:
    """It is known, and was here today."""
    tx.send(
        "UPDATE greylist SET ends = ? WHERE key = ? AND passed > 0",
        ((now + terms.keep) // DAY_MS, key),
    )


def expire(tx: Tx, now: int, limit: int = GREYLIST_SLICE) -> bool:
    """Removes up to `limit` rows that count no more; True when there are no further ones."""
    today = now // DAY_MS
    # Said twice: a row that another worker is using at this moment is looked at again.
    gone = tx.run(
        "DELETE FROM greylist WHERE ends < ? AND key IN"
        " (SELECT key FROM greylist WHERE ends < ? ORDER BY ends LIMIT ?)",
        (today, today, limit),
    )
    return gone < limit


def standing(tx: Tx, who: str) -> Standing:
    """Of an organisation or network, as `Visitor.who` names it."""
    key = key_of_who(who)
    row = tx.row("SELECT came, passed FROM greylist WHERE key = ?", (key,))
    came, last = row or (0, 0)
    strangers = tx.row(
        "SELECT count(*), sum(CASE WHEN passed > 0 THEN 1 ELSE 0 END) FROM greylist"
        " WHERE key > ? AND key <= ?",
        (key, _end(key)),
    )
    assert strangers is not None
    total, passed = int(strangers[0]), int(strangers[1] or 0)
    return Standing(came, last, total - passed, passed)


def forget(tx: Tx, who: str) -> int:
    """Rows removed: they are strangers again, for every process once it asks the store anew. What
    passes at this very instant may count as their first message."""
    key = key_of_who(who)
    return tx.run("DELETE FROM greylist WHERE key >= ? AND key <= ?", (key, _end(key)))


def _count(tx: Tx, who: bytes, now: int, terms: Terms) -> None:
    """One message more of theirs; recipients of the same one come within moments."""
    tx.run(
        "INSERT INTO greylist (key, first, passed, came, ends) VALUES (?, ?, ?, 1, ?)"
        " ON CONFLICT (key) DO UPDATE SET"
        " came = CASE WHEN greylist.ends < ? THEN 1 ELSE greylist.came + 1 END,"
        " passed = excluded.passed, ends = excluded.ends"
        " WHERE greylist.passed <= excluded.passed - ? OR greylist.ends < ?",
        (
            who,
            now,
            now,
            (now + terms.keep) // DAY_MS,
            now // DAY_MS,
            terms.apart,
            now // DAY_MS,
        ),
    )


def _is_stale(row: Row, today: int, terms: Terms) -> bool:
    return bool(row[4] < today + terms.keep // DAY_MS)


def _end(key: bytes) -> bytes:
    return key + b"\xff" * (_REST_OCTETS + 1)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
