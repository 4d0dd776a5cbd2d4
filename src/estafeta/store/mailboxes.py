"""Mailboxes: their names and lives (RFC 3501 §6.3.3-§6.3.9, RFC 6154 roles).

Promises: a name's parents exist; UIDVALIDITY and ids are never given out twice; a mailbox that is
deleted leaves a row in `removed`, so that audit can tell it from one that was lost.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from estafeta.store import counters
from estafeta.store.engine import Row, Tx
from estafeta.store.limits import (
    ERASE_SLICE,
    MAILBOX_DEPTH_MAX,
    MAILBOX_NAME_OCTETS_MAX,
    MAILBOXES_MAX,
    SUBSCRIPTIONS_MAX,
)
from estafeta.store.rows import Mailbox

INBOX = "INBOX"
SEPARATOR = "/"
ROLES = ("drafts", "sent", "junk", "trash", "archive")
FIRST = (
    (INBOX, ""),
    ("Drafts", "drafts"),
    ("Sent", "sent"),
    ("Junk", "junk"),
    ("Trash", "trash"),
    ("Archive", "archive"),
)
"""What a new account begins with."""

_COLUMNS = (
    "account, id, name, role, uidvalidity, uidnext, recent, modseq, floor, messages, unseen, bytes"
)
_BY_NAME = f"SELECT {_COLUMNS} FROM mailbox WHERE account = ? AND name = ?"
_BY_ID = f"SELECT {_COLUMNS} FROM mailbox WHERE account = ? AND id = ?"
_BY_ROLE = f"SELECT {_COLUMNS} FROM mailbox WHERE account = ? AND role = ? ORDER BY id"
_ALL = f"SELECT {_COLUMNS} FROM mailbox WHERE account = ? ORDER BY name"


class MailboxError(Exception):
    """The text says why, for a person."""


class NoSuchMailbox(MailboxError):
    """RFC 5530 NONEXISTENT."""


class MailboxExists(MailboxError):
    """RFC 5530 ALREADYEXISTS."""


class MailboxNameInvalid(MailboxError):
    """RFC 5530 CANNOT."""


class MailboxProtected(MailboxError):
    """INBOX is neither deleted nor made."""


class MailboxHasChildren(MailboxError):
    """RFC 9051 HASCHILDREN."""


class MailboxLimit(MailboxError):
    """RFC 5530 LIMIT."""


def next_modseq(tx: Tx, account: int) -> int:
    """One greater than any the account has seen (RFC 7162 §3). Takes the account's lock."""
    modseq: int | None = tx.value(
        "UPDATE account SET modseq = modseq + 1 WHERE id = ? RETURNING modseq", (account,)
    )
    if modseq is None:
        raise NoSuchMailbox(f"account {account} does not exist")
    return modseq


def canonical_name(name: str) -> str:
    """`name` with INBOX, alone or as first level, in capitals. Raises MailboxNameInvalid."""
    first, slash, rest = name.partition(SEPARATOR)
    if first.upper() == INBOX:
        name = INBOX + slash + rest
    levels = name.split(SEPARATOR)
    if not name or "" in levels:
        raise MailboxNameInvalid("a mailbox name has no empty level")
    if len(levels) > MAILBOX_DEPTH_MAX:
        raise MailboxNameInvalid(f"a mailbox name has at most {MAILBOX_DEPTH_MAX} levels")
    try:
        octets = len(name.encode())
    except UnicodeEncodeError:
        raise MailboxNameInvalid("a mailbox name is UTF-8") from None
    if octets > MAILBOX_NAME_OCTETS_MAX:
        raise MailboxNameInvalid(f"a mailbox name has at most {MAILBOX_NAME_OCTETS_MAX} octets")
    if any(c < " " or "\x7f" <= c < "\xa0" or c in "\u2028\u2029" for c in name):
        raise MailboxNameInvalid("a mailbox name has no control characters")
    return name


# Looking ---------------------------------------------------------------------------------------


def mailboxes(tx: Tx, account: int) -> list[Mailbox]:
    """All of an account, by name."""
    return [Mailbox(*row) for row in tx.rows(_ALL, (account,))]


def messages_of(tx: Tx, who: str) -> int:
    """Messages in all mailboxes of an address, a domain, or, with "", of all accounts."""
    column = "address" if "@" in who else "domain"
    where = f" WHERE account.{column} = ?" if who else ""
    count: int | None = tx.value(
        f"SELECT sum(mailbox.messages) FROM mailbox JOIN account ON account.id = mailbox.account"
        f"{where}",
        (who,) if who else (),
    )
    return int(count or 0)


def mailbox(tx: Tx, account: int, id: int) -> Mailbox | None:
    return _made(tx.row(_BY_ID, (account, id)))


def mailbox_by_name(tx: Tx, account: int, name: str) -> Mailbox | None:
    if len(name) >= 5 and name[:5].upper() == INBOX and name[5:6] in ("", SEPARATOR):
        name = INBOX + name[5:]
    return _made(tx.row(_BY_NAME, (account, name)))


def by_role(tx: Tx, account: int, role: str) -> Mailbox | None:
    """The first with this role."""
    return _made(tx.row(_BY_ROLE, (account, role)))


def _made(row: Row | None) -> Mailbox | None:
    return None if row is None else Mailbox(*row)


def _existing(tx: Tx, account: int, name: str) -> Mailbox:
    found = mailbox_by_name(tx, account, name)
    if found is None:
        raise NoSuchMailbox(f"there is no mailbox {name!r}")
    return found


# Changing --------------------------------------------------------------------------------------


def for_role(tx: Tx, account: int, role: str, name: str) -> Mailbox:
    """The first with this role; where there is none, the one with that name gets it, and is made if
    need be. The caller has declared the account. Raises MailboxError."""
    found = by_role(tx, account, role)
    if found is not None:
        return found
    modseq = next_modseq(tx, account)
    named = mailbox_by_name(tx, account, name)
    if named is None:
        return create(tx, account, name, role)
    tx.run(
        "UPDATE mailbox SET role = ?, modseq = ? WHERE account = ? AND id = ?",
        (role, modseq, account, named.id),
    )
    tx.hint(("account", account))
    return named


def create(tx: Tx, account: int, name: str, role: str = "") -> Mailbox:
    """A new mailbox, and its parents where they are missing (RFC 3501 §6.3.3).

    A trailing separator announces children and makes the mailbox itself. Raises MailboxError.
    """
    name = canonical_name(name.removesuffix(SEPARATOR))
    modseq = next_modseq(tx, account)  # first: it takes the lock under which we look
    if mailbox_by_name(tx, account, name) is not None:
        raise MailboxExists(f"there is a mailbox {name!r} already")
    if role and by_role(tx, account, role) is not None:
        raise MailboxExists(f"there is a mailbox for {role} already")
    _create_parents(tx, account, name, modseq)
    id = _insert(tx, account, name, role, modseq)
    tx.hint(("account", account))
    made = mailbox(tx, account, id)
    assert made is not None
    return made


def create_first(tx: Tx, account: int) -> None:
    """What a new account begins with, subscribed to."""
    modseq = next_modseq(tx, account)
    for name, role in FIRST:
        _insert(tx, account, name, role, modseq)
        subscribe(tx, account, name)


def rename(tx: Tx, account: int, old: str, new: str) -> None:
    """Children come along. INBOX keeps its name and its children and hands over its messages
    (RFC 3501 §6.3.5). Raises MailboxError."""
    modseq = next_modseq(tx, account)
    mailbox = _existing(tx, account, old)
    name = canonical_name(new.removesuffix(SEPARATOR))
    if mailbox_by_name(tx, account, name) is not None:
        raise MailboxExists(f"there is a mailbox {name!r} already")
    inbox = mailbox.name == INBOX
    if not inbox and name.startswith(mailbox.name + SEPARATOR):
        raise MailboxNameInvalid("a mailbox cannot become its own child")
    moved = [] if inbox else _children(tx, account, mailbox.name)
    for child in moved:
        canonical_name(name + child.name[len(mailbox.name) :])
    _create_parents(tx, account, name, modseq)
    set_name = "UPDATE mailbox SET name = ?, modseq = ? WHERE account = ? AND id = ?"
    tx.run(set_name, (name, modseq, account, mailbox.id))
    for child in moved:
        child_name = name + child.name[len(mailbox.name) :]
        tx.run(set_name, (child_name, modseq, account, child.id))
    if inbox:
        # The row with the messages takes the new name; INBOX begins anew, under a new UIDVALIDITY.
        _insert(tx, account, INBOX, "", modseq)
    tx.hint(("account", account))


def delete(tx: Tx, account: int, name: str) -> Mailbox:
    """Removes a mailbox and its messages (RFC 9051 §6.3.5); one with children stays.

    Returns what it was. Many messages are erased later, in slices (`unerased`). Raises
    MailboxError.
    """
    modseq = next_modseq(tx, account)
    found = _existing(tx, account, name)
    if found.name == INBOX:
        raise MailboxProtected("INBOX cannot be deleted")
    if _children(tx, account, found.name):
        raise MailboxHasChildren(f"{found.name!r} has mailboxes below it: delete those first")
    tx.run("DELETE FROM mailbox WHERE account = ? AND id = ?", (account, found.id))
    tx.run(
        "INSERT INTO removed (account, mailbox, modseq) VALUES (?, ?, ?)",
        (account, found.id, modseq),
    )
    tx.run(
        "UPDATE account SET used = used - ? WHERE id = ?",
        (found.bytes, account),
    )
    erase_slice(tx, account, found.id)
    tx.hint(("account", account))
    return found


def erase_slice(tx: Tx, account: int, mailbox: int, limit: int = ERASE_SLICE) -> bool:
    """Erases up to `limit` messages of a mailbox that is gone; True when none are left."""
    last: int | None = tx.value(
        "SELECT max(uid) FROM (SELECT uid FROM message WHERE account = ? AND mailbox = ?"
        " ORDER BY uid LIMIT ?) AS slice",
        (account, mailbox, limit),
    )
    if last is None:
        tx.run("DELETE FROM expunged WHERE account = ? AND mailbox = ?", (account, mailbox))
        tx.run(
            "UPDATE removed SET erased = 1 WHERE account = ? AND mailbox = ?", (account, mailbox)
        )
        return True
    for table in ("message", "message_text", "sent_copy"):
        tx.run(
            f"DELETE FROM {table} WHERE account = ? AND mailbox = ? AND uid <= ?",
            (account, mailbox, last),
        )
    return False


def unerased(tx: Tx, limit: int = 100) -> list[tuple[int, int]]:
    """(account, mailbox) of those removed whose messages are not all erased yet."""
    return [
        (row[0], row[1])
        for row in tx.rows(
            "SELECT account, mailbox FROM removed WHERE erased = 0"
            " ORDER BY account, mailbox LIMIT ?",
            (limit,),
        )
    ]


def _children(tx: Tx, account: int, name: str) -> list[Mailbox]:
    # '0' is the character after '/': a range that the unique index serves.
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM mailbox WHERE account = ? AND name > ? AND name < ?",
        (account, name + SEPARATOR, name + "0"),
    )
    return [Mailbox(*row) for row in rows]


def _create_parents(tx: Tx, account: int, name: str, modseq: int) -> None:
    levels = name.split(SEPARATOR)
    for depth in range(1, len(levels)):
        parent = SEPARATOR.join(levels[:depth])
        if mailbox_by_name(tx, account, parent) is None:
            _insert(tx, account, parent, "", modseq)


def _insert(tx: Tx, account: int, name: str, role: str, modseq: int) -> int:
    count = tx.value("SELECT count(*) FROM mailbox WHERE account = ?", (account,))
    if count >= MAILBOXES_MAX:
        raise MailboxLimit(f"an account has at most {MAILBOXES_MAX} mailboxes")
    id = counters.take(tx, "mailbox")
    tx.run(
        "INSERT INTO mailbox (account, id, name, role, uidvalidity, modseq)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (account, id, name, role, counters.take(tx, "uidvalidity"), modseq),
    )
    return id


# Subscriptions: names alone, which may be those of no mailbox (RFC 3501 §6.3.6) -----------------


def subscribe(tx: Tx, account: int, name: str) -> None:
    name = canonical_name(name.removesuffix(SEPARATOR))
    count = tx.value("SELECT count(*) FROM subscription WHERE account = ?", (account,))
    if count >= SUBSCRIPTIONS_MAX:
        raise MailboxLimit(f"an account has at most {SUBSCRIPTIONS_MAX} subscriptions")
    tx.run(
        "INSERT INTO subscription (account, name) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (account, name),
    )


def unsubscribe(tx: Tx, account: int, name: str) -> None:
    name = canonical_name(name.removesuffix(SEPARATOR))
    tx.run("DELETE FROM subscription WHERE account = ? AND name = ?", (account, name))


def subscriptions(tx: Tx, account: int) -> list[str]:
    rows = tx.rows("SELECT name FROM subscription WHERE account = ? ORDER BY name", (account,))
    return [name for (name,) in rows]
