"""Select: what is in a mailbox, and what has changed there. Listing touches narrow rows alone."""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from estafeta.store.bodies import Bodies, Body
from estafeta.store.engine import Row, Tx
from estafeta.store.mailboxes import NoSuchMailbox
from estafeta.store.messages.records import Changes, MessageRow, Uids
from estafeta.store.messages.runs import conditions

COLUMNS = "uid, modseq, flags, keywords, size, received, body"
TEXT_COLUMNS = frozenset(
    {
        "prefix",
        "envelope",
        "structure",
        "basic",
        "parts",
        "message_id",
        "subject",
        "preview",
    }
)
_ROWS = f"SELECT {COLUMNS} FROM message WHERE account = ? AND mailbox = ?"
_RANGE = f"{_ROWS} AND uid BETWEEN ? AND ? ORDER BY uid"
_CHANGED = f"{_ROWS} AND modseq > ? AND modseq > created AND created <= ?"
_LAST = (
    f"SELECT {COLUMNS}, created FROM message WHERE account = ? AND mailbox = ?"
    " AND uid < ? ORDER BY uid DESC LIMIT ?"
)
_LAST_FIRST = 32  # rows looked at from the end; then eight times as many, and so on


def uids(tx: Tx, account: int, mailbox: int) -> array[int]:
    """All uids of a mailbox, ascending, as array('I')."""
    found = tx.rows(
        "SELECT uid FROM message WHERE account = ? AND mailbox = ? ORDER BY uid",
        (account, mailbox),
    )
    return array("I", [uid for (uid,) in found])


def uids_with_flags(tx: Tx, account: int, mailbox: int) -> Uids:
    """All uids with flags and modseqs: what a session keeps of a mailbox."""
    found = tx.rows(
        "SELECT uid, flags, modseq FROM message WHERE account = ? AND mailbox = ? ORDER BY uid",
        (account, mailbox),
    )
    if not found:
        return Uids(array("I"), array("H"), array("Q"))
    columns = tuple(zip(*found, strict=True))
    return Uids(array("I", columns[0]), array("H", columns[1]), array("Q", columns[2]))


def rows(tx: Tx, account: int, mailbox: int, low: int, high: int) -> list[MessageRow]:
    """Those with low <= uid <= high, ascending."""
    return [MessageRow(*row) for row in tx.rows(_RANGE, (account, mailbox, low, high))]


def rows_after(tx: Tx, account: int, mailbox: int, uid: int, limit: int) -> list[MessageRow]:
    """The first so many behind `uid`, ascending."""
    found = tx.rows(f"{_ROWS} AND uid > ? ORDER BY uid LIMIT ?", (account, mailbox, uid, limit))
    return [MessageRow(*row) for row in found]


def rows_for(tx: Tx, account: int, mailbox: int, uids: Iterable[int]) -> list[MessageRow]:
    """Those of `uids` that exist, ascending."""
    return [MessageRow(*row) for row in _select(tx, _ROWS, account, mailbox, uids)]


def texts_for(
    tx: Tx, account: int, mailbox: int, uids: Iterable[int], columns: Sequence[str]
) -> list[tuple[Any, ...]]:
    """(uid, *columns) of those that exist, ascending. columns: some of TEXT_COLUMNS."""
    if not TEXT_COLUMNS.issuperset(columns):
        raise ValueError(f"columns are {sorted(TEXT_COLUMNS)}, not {columns}")
    sql = (
        f"SELECT {', '.join(('uid', *columns))} FROM message_text WHERE account = ? AND mailbox = ?"
    )
    return _select(tx, sql, account, mailbox, uids)


def _select(tx: Tx, sql: str, account: int, mailbox: int, uids: Iterable[int]) -> list[Row]:
    parts = [
        tx.rows(f"{sql} AND {condition} ORDER BY uid", (account, mailbox, *parameters))
        for condition, parameters in conditions(uids)
    ]
    if len(parts) == 1:
        return parts[0]
    return sorted((row for part in parts for row in part), key=lambda row: int(row[0]))


def content(
    tx: Tx, bodies: Bodies, account: int, mailbox: int, uid: int
) -> tuple[bytes, Body] | None:
    """(prefix, body) of a message, or None where there is none. The body may be read after the
    transaction has ended. Raises BodyMissing."""
    row = tx.row(
        "SELECT wide.prefix, message.body, body.size, body.filed, body_data.data FROM message"
        " JOIN message_text AS wide ON wide.account = message.account"
        " AND wide.mailbox = message.mailbox AND wide.uid = message.uid"
        " LEFT JOIN body ON body.id = message.body"
        " LEFT JOIN body_data ON body_data.id = message.body"
        " WHERE message.account = ? AND message.mailbox = ? AND message.uid = ?",
        (account, mailbox, uid),
    )
    if row is None:
        return None
    prefix, body, size, filed, data = row
    return prefix, bodies.made(body, size, filed, data)


def changes_since(tx: Tx, account: int, mailbox: int, modseq: int) -> Changes:
    """What happened after `modseq` (RFC 7162 §3.2.5). Raises NoSuchMailbox."""
    row = tx.row(
        "SELECT modseq, floor, uidnext FROM mailbox WHERE account = ? AND id = ?",
        (account, mailbox),
    )
    if row is None:
        raise NoSuchMailbox(f"account {account} has no mailbox {mailbox}")
    highest, floor, uidnext = row
    if modseq >= highest:
        return Changes(highest, [], [], True)
    changed = tx.rows(_CHANGED, (account, mailbox, modseq, modseq))
    changed += _new_since(tx, account, mailbox, modseq, uidnext)
    changed.sort()
    gone = tx.rows(
        "SELECT uid FROM expunged WHERE account = ? AND mailbox = ? AND modseq > ? ORDER BY uid",
        (account, mailbox, modseq),
    )
    return Changes(
        highest, [MessageRow(*row) for row in changed], [uid for (uid,) in gone], modseq >= floor
    )


def _new_since(tx: Tx, account: int, mailbox: int, modseq: int, uidnext: int) -> list[Row]:
    """Those that arrived after `modseq`: arrival rises with uid, so from the end."""
    found: list[Row] = []
    before, limit = uidnext, _LAST_FIRST
    while True:
        some = tx.rows(_LAST, (account, mailbox, before, limit))
        for row in some:
            if row[-1] <= modseq:
                return found
            found.append(row[:-1])
        if len(some) < limit:
            return found
        before, limit = some[-1][0], limit * 8


def take_recent(tx: Tx, account: int, mailbox: int) -> tuple[int, int]:
    """(first, uidnext): messages with first <= uid < uidnext are \\Recent to the one who asks, and
    to nobody after (RFC 3501 §2.3.2). Raises NoSuchMailbox."""
    row = tx.row(
        "SELECT recent, uidnext FROM mailbox WHERE account = ? AND id = ?"
        " /*postgresql: FOR UPDATE */",
        (account, mailbox),
    )
    if row is None:
        raise NoSuchMailbox(f"account {account} has no mailbox {mailbox}")
    first, uidnext = row
    if first != uidnext:
        tx.run(
            "UPDATE mailbox SET recent = uidnext WHERE account = ? AND id = ?", (account, mailbox)
        )
    return first, uidnext
