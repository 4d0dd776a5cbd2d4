"""Sent: what comes into an account's \\Sent, by its client's APPEND or from us at acceptance.

Promises: a message has one copy there where client and server both file it: whichever comes second
finds the other's. Each copy is followed (store/tracker.py), with the right keyword from the start.
"""

from __future__ import annotations

import msgspec

from estafeta.mail.header import remove
from estafeta.mail.limits import HEADER_OCTETS_MAX
from estafeta.mail.message.fields import header_end, units
from estafeta.mail.protocols import Content
from estafeta.store import accounts, flags, mailboxes, messages, tracker
from estafeta.store.bodies import Body
from estafeta.store.engine import Tx
from estafeta.store.limits import BODY_PIECE_OCTETS, SAME_COPY_MS
from estafeta.store.mailboxes import MailboxError
from estafeta.store.messages import Placed, Text
from estafeta.store.rows import Acceptance

PRIVATE_FIELDS = ("Bcc", "Resent-Bcc")
"""What leaves with no copy but this one."""

_NAME = "Sent"
_ADDED = frozenset({b"received", b"message-id", b"date"})
"""Fields that submission puts on top of what the client gave it."""


class Copy(msgspec.Struct, frozen=True):
    """One of \\Sent. prefix: the fields with which it begins there, Bcc."""

    body: Body
    prefix: bytes
    text: Text


def file(tx: Tx, acceptance: Acceptance, copy: Copy) -> str:
    """Puts our copy of a message just accepted into the \\Sent of who submitted it, read; "" where
    it is there now, else why it is not. The body has been `put` in this unit."""
    account, message_id = acceptance.account, acceptance.message_id
    owner = None if account is None else accounts.account_by_id(tx, account)
    if owner is None:
        return "the account is gone"
    try:
        box = mailboxes.for_role(tx, owner.id, tracker.SENT, _NAME)
    except MailboxError as error:
        return str(error)
    if any(one.mailbox == box.id for one in tracker.copies(tx, owner.id, message_id)):
        return ""  # its client was faster, or it comes a second time
    if accounts.is_full(owner):
        return "the account has no room for it"
    placed = messages.append(
        tx,
        owner.id,
        box.id,
        body=copy.body,
        size=len(copy.prefix) + copy.body.size,
        prefix=copy.prefix,
        text=copy.text,
        flags=flags.SEEN,
        keywords=tracker.keyword_of(tx, owner.id, message_id),
        received=acceptance.at,
    )
    tracker.link(tx, owner.id, box.id, placed.uid, message_id, filed=acceptance.at)
    return ""


class Given(msgspec.Struct, frozen=True):
    """A message that a client appends."""

    body: Body
    text: Text
    flags: int
    keywords: str
    received: int


def append(tx: Tx, account: int, mailbox: int, given: Given) -> Placed:
    """APPEND, to any mailbox. The body has been `put` in this unit. Raises NoSuchMailbox."""
    message_id = ""
    if tracker.is_sent(tx, account, mailbox):
        owner = accounts.account_by_id(tx, account)
        if owner is not None:
            message_id = tracker.fits(tx, owner, given.text.message_id, given.text.envelope)
    keyword = tracker.keyword_of(tx, account, message_id)
    placed = messages.append(
        tx,
        account,
        mailbox,
        body=given.body,
        size=given.body.size,
        prefix=b"",
        text=given.text,
        flags=given.flags,
        keywords=flags.with_ours(given.keywords, keyword),
        received=given.received,
    )
    if message_id:
        tracker.link(tx, account, mailbox, placed.uid, message_id)
    return placed


# The same copy, filed by us and appended by a client -------------------------------------------


class Filed(msgspec.Struct, frozen=True):
    """A copy that we filed a short while ago. body: its id."""

    uid: int
    uidvalidity: int
    body: int


def filed_lately(tx: Tx, account: int, mailbox: str, message_id: str, now: int) -> list[Filed]:
    """Those of a message in this mailbox, the first one first. now: ms since 1970."""
    message_id = message_id.strip()
    if not message_id:
        return []
    return [
        Filed(*row)
        for row in tx.rows(
            "SELECT copy.uid, mailbox.uidvalidity, message.body FROM sent_copy AS copy"
            " JOIN mailbox ON mailbox.account = copy.account AND mailbox.id = copy.mailbox"
            " JOIN message ON message.account = copy.account AND message.mailbox = copy.mailbox"
            " AND message.uid = copy.uid"
            " WHERE copy.account = ? AND copy.message_id = ? AND mailbox.name = ?"
            " AND copy.filed >= ? ORDER BY copy.uid",
            (account, message_id, mailbox, max(1, now - SAME_COPY_MS)),
        )
    ]


def is_same(kept: Content, given: Content) -> bool:
    """Whether a client appends what it submitted: the octets agree but for Bcc, for what submission
    put on top and for the last line end. kept: as we accepted it. Both can be read."""
    head = given.read(0, HEADER_OCTETS_MAX)
    end = header_end(head)
    bare = remove(head[:end], PRIVATE_FIELDS)
    rest = given.size - end
    added = kept.size - len(bare) - rest
    if given.read(given.size - 2) != b"\r\n":
        added -= 2  # SMTP ends every line
    if added < 0 or not _is_added(kept.read(0, added)):
        return False
    if kept.read(added, added + len(bare)) != bare:
        return False
    at = added + len(bare)
    for start in range(0, rest, BODY_PIECE_OCTETS):
        piece = given.read(end + start, min(end + start + BODY_PIECE_OCTETS, given.size))
        if kept.read(at + start, at + start + len(piece)) != piece:
            return False
    return True


def _is_added(fields: bytes) -> bool:
    found = units(fields)
    return sum(len(octets) for _, octets in found) == len(fields) and all(
        name in _ADDED for name, _ in found
    )
