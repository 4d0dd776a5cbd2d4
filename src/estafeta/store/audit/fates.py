"""Fates: every acceptance has its recipients, and every fate what it points to."""

from __future__ import annotations

from estafeta.store import mailboxes
from estafeta.store.audit.boxes import is_removed
from estafeta.store.audit.finding import Finding
from estafeta.store.engine import Row, Tx
from estafeta.store.ids import queue_id
from estafeta.store.limits import AUDIT_SLICE

_ACCEPTANCES = (
    "SELECT acceptance.id, acceptance.recipients, acceptance.parent, other.id, acceptance.body,"
    " body.id FROM acceptance LEFT JOIN acceptance AS other ON other.id = acceptance.parent"
    " LEFT JOIN body ON body.id = acceptance.body"
    " WHERE acceptance.id > ? ORDER BY acceptance.id LIMIT ?"
)
# With what each points to, where that is there: asked for one by one it costs a round trip each.
_RECIPIENTS = (
    "SELECT recipient.acceptance, recipient.n, fate, fate_account, fate_mailbox, fate_uid,"
    " fate_acceptance, message.uid, other.id FROM recipient"
    " LEFT JOIN message ON message.account = fate_account AND message.mailbox = fate_mailbox"
    " AND message.uid = fate_uid"
    " LEFT JOIN acceptance AS other ON other.id = fate_acceptance"
    " WHERE recipient.acceptance > ? AND recipient.acceptance <= ?"
    " ORDER BY recipient.acceptance, recipient.n"
)
_END = (1 << 63) - 1


def fates(tx: Tx, after: int) -> tuple[list[Finding], int | None]:
    """The next acceptances after id `after`. See full.Step."""
    some = tx.rows(_ACCEPTANCES, (after, AUDIT_SLICE))
    last = some[-1][0] if len(some) == AUDIT_SLICE else _END
    by_id: dict[int, list[Row]] = {}
    for row in tx.rows(_RECIPIENTS, (after, last)):
        by_id.setdefault(row[0], []).append(row)
    found = []
    for id, count, parent, found_parent, body, found_body in some:
        recipients = by_id.pop(id, [])
        if [row[1] for row in recipients] != list(range(count)):
            text = f"{queue_id(id)}: {count} recipients were accepted, {len(recipients)} rows exist"
            found.append(Finding("recipients-lost", text, acceptance=id))
        if parent is not None and found_parent is None:
            text = f"{queue_id(id)}: {queue_id(parent)}, which it came from, is lost"
            found.append(Finding("acceptance-lost", text, acceptance=parent))
        if any(row[2] is None for row in recipients) and found_body is None:
            text = f"{queue_id(id)}: its body {queue_id(body)} is missing, recipients are open"
            found.append(Finding("body-missing", text, acceptance=id, body=body))
        for row in recipients:
            found.extend(_fate(tx, *row))
    for id in by_id:
        text = f"{queue_id(id)}: the acceptance of {len(by_id[id])} recipients is lost"
        found.append(Finding("acceptance-lost", text, acceptance=id))
    return found, None if last == _END else last


def _fate(
    tx: Tx,
    id: int,
    n: int,
    fate: str | None,
    account: int | None,
    mailbox: int | None,
    uid: int | None,
    other: int | None,
    found_uid: int | None,
    found_other: int | None,
) -> list[Finding]:
    if fate == "stored" and account is not None and mailbox is not None and uid is not None:
        if found_uid is not None:
            return []
        why = _not_stored(tx, account, mailbox, uid)
        if why:
            text = f"{queue_id(id)}: recipient {n} was stored as uid {uid}: {why}"
            return [Finding("stored-lost", text, id, n, account, mailbox, uid)]
    elif fate in ("returned", "expanded", "duplicate") and found_other is None:
        text = f"{queue_id(id)}: recipient {n} is {fate}, {queue_id(other or 0)} is lost"
        return [Finding("acceptance-lost", text, acceptance=id, n=n)]
    return []


def _not_stored(tx: Tx, account: int, mailbox: int, uid: int) -> str:
    """Why a message that is not there is not gone by its owner's wish either; "" if it is.

    What the owner deletes leaves a tombstone; tombstones below the floor are gone, and then the
    count of the mailbox vouches.
    """
    here = (account, mailbox, uid)
    box = mailboxes.mailbox(tx, account, mailbox)
    if box is None:
        return "" if is_removed(tx, account, mailbox) else f"mailbox {mailbox} is lost"
    if tx.value("SELECT 1 FROM expunged WHERE account = ? AND mailbox = ? AND uid = ?", here):
        return ""
    if box.floor and uid < box.uidnext:
        count = tx.value(
            "SELECT count(*) FROM message WHERE account = ? AND mailbox = ?", (account, mailbox)
        )
        if count == box.messages:
            return ""
    return f"the message is not in mailbox {box.name}, and nobody expunged it"
