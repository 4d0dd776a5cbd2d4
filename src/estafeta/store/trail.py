"""Trail: by Message-ID or address to acceptances, without an index that a delivery pays for.

`extend` files acceptances under their keys some time after they were made, in slices; `find` looks
there and, for those not filed yet, at the rows themselves. It is right whether or not `extend` ever
runs, only slower.
"""

from __future__ import annotations

from estafeta.store.engine import Tx
from estafeta.store.ids import first_at, parse_queue_id
from estafeta.store.limits import FOUND_MAX, TRAIL_DELAY_MS, TRAIL_RECENT, TRAIL_SLICE

_COUNTER = "trail"


def extend(tx: Tx, now: int, limit: int = TRAIL_SLICE) -> bool:
    """Files up to `limit` acceptances; True when there are no more of sufficient age.

    An id is older than its commit: what is not settled yet is left for a later run.
    """
    last = _last(tx)
    some = tx.rows(
        "SELECT id, message_id, reverse_path FROM acceptance WHERE id > ? AND id < ?"
        " ORDER BY id LIMIT ?",
        (last, first_at(now - TRAIL_DELAY_MS), limit),
    )
    if not some:
        return True
    end = some[-1][0]
    keys = {(message_id, id) for id, message_id, _ in some if message_id}
    keys |= {(lowered(path), id) for id, _, path in some if path}
    keys |= {
        (lowered(address), id)
        for id, address in tx.rows(
            "SELECT acceptance, address FROM recipient WHERE acceptance > ? AND acceptance <= ?",
            (last, end),
        )
    }
    tx.run_many(
        "INSERT INTO trail (key, acceptance) VALUES (?, ?) ON CONFLICT DO NOTHING", sorted(keys)
    )
    tx.run(
        "INSERT INTO counter (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        " WHERE excluded.value > counter.value",
        (_COUNTER, end),
    )
    return len(some) < limit


def find(tx: Tx, what: str, limit: int = FOUND_MAX) -> list[int]:
    """Acceptances that `what` names, newest first: a queue id, a Message-ID with or without its
    brackets, or an address as sender or recipient."""
    what = what.strip()
    try:
        id = parse_queue_id(what)
    except ValueError:
        pass
    else:
        if tx.value("SELECT 1 FROM acceptance WHERE id = ?", (id,)) is not None:
            return [id]
    message_id = what if what.startswith("<") else f"<{what}>"
    address = lowered(what)
    filed = tx.rows(
        "SELECT DISTINCT acceptance FROM trail WHERE key IN (?, ?)"
        " ORDER BY acceptance DESC LIMIT ?",
        (message_id, address, limit),
    )
    last = _last(tx)
    senders = tx.rows(
        "SELECT id FROM acceptance WHERE id > ? AND (message_id = ? OR lower(reverse_path) = ?)"
        " ORDER BY id DESC LIMIT ?",
        (last, message_id, address, limit),
    )
    recipients = tx.rows(
        "SELECT DISTINCT acceptance FROM recipient WHERE acceptance > ? AND lower(address) = ?"
        " ORDER BY acceptance DESC LIMIT ?",
        (last, address, limit),
    )
    found = {id for (id,) in (*filed, *senders, *recipients)}
    return sorted(found, reverse=True)[:limit]


def newest(tx: Tx, address: str, limit: int) -> list[int]:
    """The newest acceptances that `address` has to do with, as sender or recipient; of those not
    filed yet, only as sender, and only among the newest of all. Costs the same whatever the age of
    the store."""
    key = lowered(address)
    filed = tx.rows(
        "SELECT acceptance FROM trail WHERE key = ? ORDER BY acceptance DESC LIMIT ?", (key, limit)
    )
    recent = tx.rows(
        "SELECT id FROM (SELECT id, reverse_path FROM acceptance WHERE id > ?"
        " ORDER BY id DESC LIMIT ?) AS recent WHERE lower(reverse_path) = ?",
        (_last(tx), TRAIL_RECENT, key),
    )
    return sorted({id for (id,) in (*filed, *recent)}, reverse=True)[:limit]


def sent_as(tx: Tx, message_id: str, limit: int) -> list[int]:
    """The newest acceptances with that Message-ID; of those not filed yet, only among the newest of
    all. Costs the same whatever the age of the store."""
    filed = tx.rows(
        "SELECT acceptance FROM trail WHERE key = ? ORDER BY acceptance DESC LIMIT ?",
        (message_id, limit),
    )
    recent = tx.rows(
        "SELECT id FROM (SELECT id, message_id FROM acceptance WHERE id > ?"
        " ORDER BY id DESC LIMIT ?) AS recent WHERE message_id = ?",
        (_last(tx), TRAIL_RECENT, message_id),
    )
    return sorted({id for (id,) in (*filed, *recent)}, reverse=True)[:limit]


def _last(tx: Tx) -> int:
    last: int | None = tx.value("SELECT value FROM counter WHERE name = ?", (_COUNTER,))
    return last or 0


def lowered(address: str) -> str:
    """An address as a key: ASCII alone, as lower() of SQL does on either engine."""
    return address.encode("utf-8", "surrogatepass").lower().decode("utf-8", "replace")
