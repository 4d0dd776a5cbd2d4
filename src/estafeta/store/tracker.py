"""Tracker: what became of a message, as a keyword on the copies that its sender has of it.

A copy is followed from when it comes into the account's \\Sent, or is filed there by us, and
wherever its owner moves or copies it then. It bears exactly one of `flags.OURS` once the account
has submitted a message with its Message-ID, and none before. `follow` is part of each unit that
ends, opens or puts off a recipient: so the keyword is true with the ledger, in one transaction.
Whoever calls it has declared the account.

What the recipients come to, aliases followed, the same address several times as one:

    one waits, and was put off before       $Delayed
    else one waits                          $Queued
    none was failed                         $Delivered
    one was reached, one was failed         $PartlyDelivered
    none was reached                        $Bounced

Reached are `stored` and `relayed`. Failed are `returned`, `dropped` and `cancelled`: whoever sees
$Delivered may rely on it that nobody was left out. Who was relayed, and then returned by another
server, has failed too where our token proves it (`prove`). `expanded` and `duplicate` say nothing
of themselves, nor do those that were corrected (queue/correct.py): who is meant stands in another
row.
"""

# ruff: noqa: S608  (names of our own are all that is put into SQL)

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping

import msgspec

from estafeta.mail.limits import LINE_OCTETS_MAX
from estafeta.mail.message.authors import authors
from estafeta.store import accounts, flags, mailboxes
from estafeta.store.engine import Row, Tx
from estafeta.store.rows import Acceptance, Account

SENT = "sent"
"""The role of \\Sent."""

_REACHED = "fate = 'stored' OR (fate = 'relayed' AND coalesce(proven.failed, 0) = 0)"
# Corrected: sent to another address instead, which is a recipient of a child.
_FAILED = (
    "(fate = 'relayed' AND proven.failed = 1)"
    " OR ((fate = 'returned' OR fate = 'dropped' OR fate = 'cancelled')"
    " AND NOT EXISTS (SELECT 1 FROM event WHERE event.acceptance = recipient.acceptance"
    " AND event.n = recipient.n AND event.kind = 'correct'))"
)
_STANDING = (
    "SELECT max(delayed), max(waiting), max(reached),"
    " max(CASE WHEN reached = 0 THEN failed ELSE 0 END) FROM (SELECT"
    " max(CASE WHEN fate IS NULL AND queue.attempts > 0 THEN 1 ELSE 0 END) AS delayed,"
    " max(CASE WHEN fate IS NULL THEN 1 ELSE 0 END) AS waiting,"
    f" max(CASE WHEN {_REACHED} THEN 1 ELSE 0 END) AS reached,"
    f" max(CASE WHEN {_FAILED} THEN 1 ELSE 0 END) AS failed"
    " FROM acceptance JOIN recipient ON recipient.acceptance = acceptance.id"
    " LEFT JOIN queue ON queue.acceptance = recipient.acceptance AND queue.n = recipient.n"
    " LEFT JOIN proven ON proven.acceptance = recipient.acceptance AND proven.n = recipient.n"
    " WHERE acceptance.account = ? AND acceptance.message_id = ?"
    " GROUP BY lower(recipient.address)) AS people"
)
_ANY = "SELECT 1 FROM sent_copy WHERE account = ? AND message_id = ? LIMIT 1"
# Not those of a mailbox that is being erased. In no order: asked for theirs, SQLite would walk all
# copies of the account along it.
_COPIES = (
    "SELECT copy.mailbox, copy.uid, message.keywords, copy.filed, mailbox.name"
    " FROM sent_copy AS copy"
    " JOIN mailbox ON mailbox.account = copy.account AND mailbox.id = copy.mailbox"
    " JOIN message ON message.account = copy.account AND message.mailbox = copy.mailbox"
    " AND message.uid = copy.uid"
    " WHERE copy.account = ? AND copy.message_id = ?"
)


class Standing(msgspec.Struct, frozen=True):
    """What the recipients of a message come to by now. failed: never counts one who was reached."""

    delayed: bool
    waiting: bool
    reached: bool
    failed: bool

    @property
    def keyword(self) -> str:
        if self.waiting:
            return flags.DELAYED if self.delayed else flags.QUEUED
        if not self.failed:
            return flags.DELIVERED
        return flags.PARTLY_DELIVERED if self.reached else flags.BOUNCED


class Copy(msgspec.Struct, frozen=True):
    """One that is followed. filed: when we filed it, in ms since 1970, 0 where its owner did."""

    mailbox: int
    uid: int
    keywords: str
    filed: int
    mailbox_name: str


# What there is to say --------------------------------------------------------------------------


def keyword_of(tx: Tx, account: int, message_id: str) -> str:
    """One of `flags.OURS`, or "" where the account has submitted no such message."""
    row = tx.row(_STANDING, (account, message_id)) if message_id else None
    if row is None or row[0] is None:
        return ""
    return Standing(*map(bool, row)).keyword


def copies(tx: Tx, account: int, message_id: str) -> list[Copy]:
    """All that are followed, in the order of mailbox and uid."""
    found = [Copy(*row) for row in tx.rows(_COPIES, (account, message_id))]
    return sorted(found, key=lambda copy: (copy.mailbox, copy.uid))


def follow(tx: Tx, acceptance: Acceptance) -> None:
    """The recipients of a message are not as they were: its copies bear what is true now."""
    if acceptance.account is not None and acceptance.message_id:
        _tell(tx, acceptance.account, acceptance.message_id)


def prove(tx: Tx, acceptance: Acceptance, n: int, *, failed: bool) -> None:
    """What a report from outside says, and our token proves, of a recipient that was relayed; the
    last one counts. The caller calls `follow` then."""
    tx.send(
        "INSERT INTO proven (acceptance, n, failed) VALUES (?, ?, ?)"
        " ON CONFLICT (acceptance, n) DO UPDATE SET failed = excluded.failed",
        (acceptance.id, n, int(failed)),
    )


def _tell(tx: Tx, account: int, message_id: str) -> None:
    if tx.value(_ANY, (account, message_id)) is None:  # all that most messages pay for
        return
    keyword = keyword_of(tx, account, message_id)
    changed = [
        (copy, keywords)
        for copy in copies(tx, account, message_id)
        if (keywords := flags.with_ours(copy.keywords, keyword)) != copy.keywords
    ]
    if not changed:
        return
    modseq = mailboxes.next_modseq(tx, account)
    tx.run_many(
        "UPDATE message SET keywords = ?, modseq = ? WHERE account = ? AND mailbox = ? AND uid = ?",
        [(keywords, modseq, account, copy.mailbox, copy.uid) for copy, keywords in changed],
    )
    tx.run_many(
        "UPDATE mailbox SET modseq = ? WHERE account = ? AND id = ?",
        [(modseq, account, box) for box in sorted({copy.mailbox for copy, _ in changed})],
    )
    tx.hint(("account", account))


# Which copies ----------------------------------------------------------------------------------


def fits(tx: Tx, account: Account, message_id: str, envelope: bytes) -> str:
    """The Message-ID by which a message in \\Sent is followed; "": it is not. envelope: as
    `mail.message.summary` gives it. All in From are addresses of the account's own."""
    message_id = message_id.strip()
    if len(message_id) > LINE_OCTETS_MAX or len(message_id.split()) != 1 or "\0" in message_id:
        return ""
    wrote = authors(envelope)
    if wrote and all(accounts.may_write_as(tx, account, each) for each in wrote):
        return message_id
    return ""


def link(tx: Tx, account: int, mailbox: int, uid: int, message_id: str, *, filed: int = 0) -> None:
    """From now on it is followed. The caller sees to its first keyword."""
    tx.send(
        "INSERT INTO sent_copy (account, mailbox, uid, message_id, filed) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (account, mailbox, uid) DO NOTHING",
        (account, mailbox, uid, message_id, filed),
    )


def copied(
    tx: Tx, account: int, new_uids: Mapping[int, int], followed: Iterable[Row], to_mailbox: int
) -> None:
    """Messages were copied: those of copies that are followed are too, and what comes into \\Sent
    begins to be. new_uids: by the old ones. followed: (old uid, message_id, filed) of `sent_copy`.
    """
    if not new_uids:
        return
    linked: set[int] = set()
    for old, message_id, filed in followed:
        new = new_uids.get(old)
        if new is not None:
            link(tx, account, to_mailbox, new, message_id, filed=filed)
            linked.add(new)
    if len(linked) < len(new_uids) and is_sent(tx, account, to_mailbox):
        _link_others(tx, account, to_mailbox, new_uids.values(), linked)


def is_sent(tx: Tx, account: int, mailbox: int) -> bool:
    sql = "SELECT role FROM mailbox WHERE account = ? AND id = ?"
    return bool(tx.value(sql, (account, mailbox)) == SENT)


def _link_others(
    tx: Tx, account: int, mailbox: int, uids: Collection[int], linked: Container[int]
) -> None:
    owner = accounts.account_by_id(tx, account)
    if owner is None:
        return
    begun: set[str] = set()
    for uid, message_id, envelope in tx.rows(
        "SELECT uid, message_id, envelope FROM message_text"
        " WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid",
        (account, mailbox, min(uids), max(uids)),
    ):
        found = "" if uid in linked else fits(tx, owner, message_id, envelope)
        if found:
            link(tx, account, mailbox, uid, found)
            begun.add(found)
    for each in sorted(begun):
        _tell(tx, account, each)
