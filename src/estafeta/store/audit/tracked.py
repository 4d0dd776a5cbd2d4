"""Tracked: copies that are followed exist, and say of their message what the ledger says."""

from __future__ import annotations

from estafeta.store import flags, mailboxes, tracker
from estafeta.store.audit.finding import Finding
from estafeta.store.engine import Tx
from estafeta.store.limits import AUDIT_SLICE

_COPIES = (
    "SELECT copy.uid, copy.message_id, message.keywords FROM sent_copy AS copy"
    " LEFT JOIN message ON message.account = copy.account AND message.mailbox = copy.mailbox"
    " AND message.uid = copy.uid"
    " WHERE copy.account = ? AND copy.mailbox = ? AND copy.uid > ? ORDER BY copy.uid LIMIT ?"
)


def tracked_findings(
    tx: Tx, after: int, *, account: int, id: int
) -> tuple[list[Finding], int | None]:
    """Of the next copies in a mailbox, after uid `after`. See full.Step."""
    box = mailboxes.mailbox(tx, account, id)
    if box is None:
        return [], None  # removed meanwhile
    address = str(tx.value("SELECT address FROM account WHERE id = ?", (account,)))
    some = tx.rows(_COPIES, (account, id, after, AUDIT_SLICE))
    found = []
    for uid, message_id, keywords in some:
        kind = ""
        if keywords is None:
            kind, what = "tracked-lost", "is followed and not there"
        elif (told := flags.ours_of(keywords)) != (
            known := tracker.keyword_of(tx, account, message_id)
        ):
            kind = "tracked-untrue"
            what = f"says {told or 'nothing'} of {message_id}, the ledger {known or 'nothing'}"
        if kind:
            text = f"{address}: message {uid} in {box.name} {what}"
            found.append(Finding(kind, text, account=account, mailbox=id, uid=uid))
    return found, some[-1][0] if len(some) == AUDIT_SLICE else None
