"""Place: a new message into a mailbox; the hot path of delivery, five statements.

RETURNING would save one of them, and is dearer than the look it saves.
"""

from __future__ import annotations

from estafeta.store.bodies import Body
from estafeta.store.engine import Tx
from estafeta.store.flags import SEEN
from estafeta.store.mailboxes import NoSuchMailbox
from estafeta.store.messages.records import Placed, Text

_FIND = (
    "SELECT account.modseq, mailbox.id, mailbox.uidnext, mailbox.uidvalidity, account.used,"
    " account.quota"
    " FROM account JOIN mailbox ON mailbox.account = account.id"
    " WHERE account.id = ? AND mailbox.{} = ?"
)
_FIND_BY_ID = _FIND.format("id")
_FIND_BY_NAME = _FIND.format("name")


class Full(Exception):
    """What the mailboxes of the account hold fills its quota."""


def append(
    tx: Tx,
    account: int,
    mailbox: int | str,
    *,
    body: Body | int,
    size: int,
    prefix: bytes,
    text: Text,
    flags: int = 0,
    keywords: str = "",
    received: int,
    within_quota: bool = False,
) -> Placed:
    """A new message. mailbox: id or name. body: one that has been `put` before in this unit, or an
    id in the store.

    size: octets, prefix included. keywords: as `flags.joined` gives them. within_quota: where
    what was there before fills the quota it does not come in; else quota is the caller's matter.
    Raises NoSuchMailbox, Full.
    """
    # First, so that the account's row is ours when we look.
    tx.send("UPDATE account SET modseq = modseq + 1, used = used + ? WHERE id = ?", (size, account))
    row = tx.row(_FIND_BY_ID if isinstance(mailbox, int) else _FIND_BY_NAME, (account, mailbox))
    if row is None:
        raise NoSuchMailbox(f"account {account} has no mailbox {mailbox}")
    modseq, id, uid, uidvalidity, used, limit = row
    if within_quota and 0 < limit <= used - size:
        tx.send(
            "UPDATE account SET modseq = modseq - 1, used = used - ? WHERE id = ?", (size, account)
        )
        raise Full(f"account {account} is full")
    tx.send(
        "UPDATE mailbox SET uidnext = uidnext + 1, modseq = ?, messages = messages + 1,"
        " unseen = unseen + ?, bytes = bytes + ? WHERE account = ? AND id = ?",
        (modseq, 0 if flags & SEEN else 1, size, account, id),
    )
    tx.send(
        "INSERT INTO message"
        " (account, mailbox, uid, modseq, created, flags, keywords, size, received, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account,
            id,
            uid,
            modseq,
            modseq,
            flags,
            keywords,
            size,
            received,
            body if isinstance(body, int) else body.id,
        ),
    )
    tx.send(
        "INSERT INTO message_text (account, mailbox, uid, prefix, envelope, structure, basic,"
        " parts, message_id, subject, preview) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account,
            id,
            uid,
            prefix,
            text.envelope,
            text.structure,
            text.basic,
            text.parts,
            text.message_id,
            text.subject,
            text.preview,
        ),
    )
    tx.hint(("account", account))
    return Placed(id, uid, modseq, uidvalidity)


def quota(tx: Tx, account: int) -> tuple[int, int]:
    """(used, quota) in octets; quota 0 is none. (0, 0) where the account is gone."""
    row = tx.row("SELECT used, quota FROM account WHERE id = ?", (account,))
    return (0, 0) if row is None else (row[0], row[1])
