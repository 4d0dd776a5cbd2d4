"""Change: flags, copies, moves, expunges. Each is one modseq, whatever the number of messages."""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from estafeta.store import flags as bits
from estafeta.store import tracker
from estafeta.store.engine import Row, Tx
from estafeta.store.flags import SEEN
from estafeta.store.limits import TOMBSTONES_MAX
from estafeta.store.mailboxes import NoSuchMailbox, next_modseq
from estafeta.store.messages.records import MessageRow
from estafeta.store.messages.runs import conditions
from estafeta.store.messages.select import COLUMNS

Mode = Literal["set", "add", "remove"]
_HERE = "account = ? AND mailbox = ?"


class FlagsChanged(msgspec.Struct, frozen=True):
    """changed: rows as they are now, ascending. failed: uids newer than `unchanged_since`.

    modseq: of the changed rows, or 0 where nothing changed.
    """

    changed: list[MessageRow]
    failed: list[int]
    modseq: int


class Copied(msgspec.Struct, frozen=True):
    """uids: (old, new), ascending (RFC 4315 COPYUID). uidvalidity: of the target."""

    uids: list[tuple[int, int]]
    uidvalidity: int


# Flags -----------------------------------------------------------------------------------------


def store_flags(
    tx: Tx,
    account: int,
    mailbox: int,
    uids: Iterable[int],
    *,
    mode: Mode,
    flags: int,
    keywords: frozenset[str] = frozenset(),
    unchanged_since: int | None = None,
    echo: bool = True,
) -> FlagsChanged:
    """STORE (RFC 9051 §6.4.6, RFC 7162 §3.1.3). Messages that have the flags already do not change.

    Keywords of ours stay as they are, whatever is asked for.
    echo: False leaves `changed` empty, which saves most of the time of a large STORE.
    """
    where = list(conditions(uids))
    keywords = bits.of_clients(keywords)
    failed: list[int] = []
    since = ""
    if unchanged_since is not None:
        since = f" AND modseq <= {int(unchanged_since)}"
        for condition, given in where:
            found = tx.rows(
                f"SELECT uid FROM message WHERE {_HERE} AND {condition}"
                " AND modseq > ? ORDER BY uid",
                (account, mailbox, *given, unchanged_since),
            )
            failed.extend(uid for (uid,) in found)
        failed.sort()
    modseq = next_modseq(tx, account)
    if keywords or mode == "set":
        changed, seen = _with_keywords(
            tx, account, mailbox, where, since, mode, flags, keywords, modseq
        )
        count = len(changed)
    else:
        keep, put = (~0, flags) if mode == "add" else (~flags, 0)
        count, seen, changed = _bits(tx, account, mailbox, where, since, keep, put, modseq, echo)
    if count == 0:
        return FlagsChanged([], failed, 0)
    tx.run(
        "UPDATE mailbox SET modseq = ?, unseen = unseen - ? WHERE account = ? AND id = ?",
        (modseq, seen, account, mailbox),
    )
    tx.hint(("account", account))
    if not echo:
        changed = []
    changed.sort()
    return FlagsChanged([MessageRow(*row) for row in changed], failed, modseq)


def _bits(
    tx: Tx,
    account: int,
    mailbox: int,
    where: Sequence[tuple[str, Sequence[Any]]],
    since: str,
    keep: int,
    put: int,
    modseq: int,
    echo: bool,
) -> tuple[int, int, list[Row]]:
    """flags = flags & keep | put. (rows changed, rows that became seen, rows if `echo`)."""
    touches_seen = bool((~keep | put) & SEEN)
    count = 0
    seen = 0
    changed: list[Row] = []
    for condition, given in where:
        scope = f"{_HERE} AND {condition}{since}"
        here = (account, mailbox, *given)
        if touches_seen:
            unlike = "= 0" if put & SEEN else "<> 0"
            turned: int = tx.value(
                f"SELECT count(*) FROM message WHERE {scope} AND flags & {SEEN} {unlike}",
                here,
            )
            seen += turned if put & SEEN else -turned
        sql = (
            "UPDATE message SET flags = (flags & ?) | ?, modseq = ?"
            f" WHERE {scope} AND flags <> ((flags & ?) | ?)"
        )
        parameters = (keep, put, modseq, *here, keep, put)
        if echo:
            some = tx.rows(f"{sql} RETURNING {COLUMNS}", parameters)
            changed.extend(some)
            count += len(some)
        else:
            count += tx.run(sql, parameters)
    return count, seen, changed


def _with_keywords(
    tx: Tx,
    account: int,
    mailbox: int,
    where: Sequence[tuple[str, Sequence[Any]]],
    since: str,
    mode: Mode,
    flags: int,
    keywords: frozenset[str],
    modseq: int,
) -> tuple[list[Row], int]:
    """(rows changed, as they are now; rows that became seen). Raises KeywordError."""
    changed: list[Row] = []
    seen = 0
    results: dict[str, str] = {}  # few distinct sets of keywords in a mailbox
    wanted = bits.joined(keywords)
    for condition, given in where:
        found = tx.rows(
            f"SELECT {COLUMNS} FROM message WHERE {_HERE} AND {condition}{since}",
            (account, mailbox, *given),
        )
        for uid, _, old, old_keywords, size, received, body in found:
            if mode == "set":
                new = flags
            else:
                new = old | flags if mode == "add" else old & ~flags
            new_keywords = results.get(old_keywords)
            if new_keywords is None:
                if mode == "set":
                    new_keywords = bits.with_ours(wanted, bits.ours_of(old_keywords))
                else:
                    new_keywords = _combined(old_keywords, keywords, mode)
                results[old_keywords] = new_keywords
            if new != old or new_keywords != old_keywords:
                seen += (new & SEEN) - (old & SEEN)
                changed.append((uid, modseq, new, new_keywords, size, received, body))
    tx.run_many(
        f"UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE {_HERE} AND uid = ?",
        [(row[2], row[3], modseq, account, mailbox, row[0]) for row in changed],
    )
    return changed, seen // SEEN


def _combined(old: str, keywords: frozenset[str], mode: Mode) -> str:
    """Keywords are the same without regard to case; the spelling that is there stays."""
    have = bits.split(old)
    if mode == "remove":
        lowered = {keyword.lower() for keyword in keywords}
        return " ".join(keyword for keyword in have if keyword.lower() not in lowered)
    lowered = {keyword.lower() for keyword in have}
    return bits.joined([*have, *(k for k in keywords if k.lower() not in lowered)])


# Copies ----------------------------------------------------------------------------------------


def copy(tx: Tx, account: int, mailbox: int, uids: Iterable[int], to_mailbox: int) -> Copied:
    """Flags, keywords and dates are kept, bodies shared (RFC 9051 §6.4.7). Quota is the caller's
    matter. Raises NoSuchMailbox."""
    sources: list[Row] = []
    followed: list[Row] = []
    for condition, given in conditions(uids):
        here = (account, mailbox, *given)
        sources += tx.rows(
            f"SELECT uid, size, flags FROM message WHERE {_HERE} AND {condition}", here
        )
        followed += tx.rows(
            f"SELECT uid, message_id, filed FROM sent_copy WHERE {_HERE} AND {condition}", here
        )
    sources.sort()
    octets = sum(row[1] for row in sources)
    unseen = sum(1 for row in sources if not row[2] & SEEN)
    modseq = next_modseq(tx, account)
    row = tx.row(
        "UPDATE mailbox SET uidnext = uidnext + ?, modseq = ?, messages = messages + ?,"
        " unseen = unseen + ?, bytes = bytes + ?"
        " WHERE account = ? AND id = ? RETURNING uidnext, uidvalidity",
        (len(sources), modseq, len(sources), unseen, octets, account, to_mailbox),
    )
    if row is None:
        raise NoSuchMailbox(f"account {account} has no mailbox {to_mailbox}")
    uidnext, uidvalidity = row
    first = uidnext - len(sources)
    pairs = [(source[0], first + n) for n, source in enumerate(sources)]
    tx.run_many(
        "INSERT INTO message"
        " (account, mailbox, uid, modseq, created, flags, keywords, size, received, body)"
        " SELECT account, ?, ?, ?, ?, flags, keywords, size, received, body"
        f" FROM message WHERE {_HERE} AND uid = ?",
        [(to_mailbox, new, modseq, modseq, account, mailbox, old) for old, new in pairs],
    )
    columns = "prefix, envelope, structure, basic, parts, message_id, subject, preview"
    tx.run_many(
        f"INSERT INTO message_text (account, mailbox, uid, {columns})"
        f" SELECT account, ?, ?, {columns} FROM message_text WHERE {_HERE} AND uid = ?",
        [(to_mailbox, new, account, mailbox, old) for old, new in pairs],
    )
    tx.run("UPDATE account SET used = used + ? WHERE id = ?", (octets, account))
    tracker.copied(tx, account, dict(pairs), followed, to_mailbox)
    tx.hint(("account", account))
    return Copied(pairs, uidvalidity)


def move(tx: Tx, account: int, mailbox: int, uids: Iterable[int], to_mailbox: int) -> Copied:
    """Copy and expunge as one (RFC 6851). Raises NoSuchMailbox."""
    copied = copy(tx, account, mailbox, uids, to_mailbox)
    expunge(tx, account, mailbox, [old for old, _ in copied.uids])
    return copied


# Expunge ---------------------------------------------------------------------------------------


def expunge(tx: Tx, account: int, mailbox: int, uids: Iterable[int]) -> list[int]:
    """Removes messages, whatever their flags, and leaves tombstones. The uids that were there."""
    gone: list[int] = []
    octets = 0
    unseen = 0
    for condition, given in conditions(uids):
        here = (account, mailbox, *given)
        some = tx.rows(
            f"DELETE FROM message WHERE {_HERE} AND {condition} RETURNING uid, size, flags",
            here,
        )
        for table in ("message_text", "sent_copy"):
            tx.send(f"DELETE FROM {table} WHERE {_HERE} AND {condition}", here)
        for uid, size, flags in some:
            gone.append(uid)
            octets += size
            unseen += not flags & SEEN
    if not gone:
        return []
    gone.sort()
    modseq = next_modseq(tx, account)
    tx.run_many(
        "INSERT INTO expunged (account, mailbox, uid, modseq) VALUES (?, ?, ?, ?)",
        [(account, mailbox, uid, modseq) for uid in gone],
    )
    tx.run(
        "UPDATE mailbox SET modseq = ?, messages = messages - ?, unseen = unseen - ?,"
        " bytes = bytes - ? WHERE account = ? AND id = ?",
        (modseq, len(gone), unseen, octets, account, mailbox),
    )
    tx.run("UPDATE account SET used = used - ? WHERE id = ?", (octets, account))
    tx.hint(("account", account))
    return gone


def fold_tombstones(tx: Tx, account: int, mailbox: int, keep: int = TOMBSTONES_MAX) -> int:
    """Forgets all but the newest `keep` tombstones and raises the floor to what is forgotten.
    Returns how many went. Housekeeping: not for the path of a session."""
    floor: int | None = tx.value(
        "SELECT modseq FROM expunged WHERE account = ? AND mailbox = ?"
        " ORDER BY modseq DESC, uid DESC LIMIT 1 OFFSET ?",
        (account, mailbox, keep),
    )
    if floor is None:
        return 0
    count = tx.run(
        "DELETE FROM expunged WHERE account = ? AND mailbox = ? AND modseq <= ?",
        (account, mailbox, floor),
    )
    tx.run(
        "UPDATE mailbox SET floor = ? WHERE account = ? AND id = ? AND floor < ?",
        (floor, account, mailbox, floor),
    )
    return count
