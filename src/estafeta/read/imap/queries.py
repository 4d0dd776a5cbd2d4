"""queries: what IMAP alone asks of narrow rows, besides what `store.messages` gives."""

from __future__ import annotations

from array import array

from estafeta.store import flags as bits
from estafeta.store.engine import Tx


def first_unseen(tx: Tx, account: int, mailbox: int) -> int:
    """The uid of the first message without \\Seen, or 0."""
    found: int | None = tx.value(
        "SELECT uid FROM message WHERE account = ? AND mailbox = ? AND flags & ? = 0"
        " ORDER BY uid LIMIT 1",
        (account, mailbox, bits.SEEN),
    )
    return found or 0


def deleted(tx: Tx, account: int, mailbox: int, low: int, high: int) -> array[int]:
    """The uids in [low, high] of messages with \\Deleted, ascending."""
    rows = tx.rows(
        "SELECT uid FROM message WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ?"
        " AND flags & ? <> 0 ORDER BY uid",
        (account, mailbox, low, high, bits.DELETED),
    )
    return array("I", [uid for (uid,) in rows])
