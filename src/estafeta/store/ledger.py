"""Ledger: what we took responsibility for, and what became of it.

Promises: one row for each recipient, whose fate is NULL and then final, once; `answered` counts
beside it, in the same unit, what the world was told 250 for.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from estafeta.mail.envelope import Recipient
from estafeta.store.engine import Row, StoreConflict, Tx
from estafeta.store.ids import milliseconds, queue_id
from estafeta.store.limits import DETAIL_OCTETS_MAX, FATE_TEXT_CHARACTERS_MAX
from estafeta.store.rows import (
    Acceptance,
    Cancelled,
    Dropped,
    Duplicate,
    Expanded,
    Fate,
    Relayed,
    Returned,
    Stored,
)

ALL_RECIPIENTS = -1  # `n` of an event that concerns the whole message
ANSWERED_ORIGINS = frozenset({"smtp", "lmtp", "submission"})  # those the world handed us
DAY_MS = 86_400_000

_COLUMNS = (
    "id, at, origin, reverse_path, body, size, recipients, parent, account, message_id, smtputf8,"
    " eight_bit, ret, envid, peer, tls, digest, unconfirmed"
)
_OPEN = (
    f"INSERT INTO acceptance ({_COLUMNS})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_RECIPIENT = (
    "INSERT INTO recipient (acceptance, n, address, notify, orcpt, fate, ended,"
    " fate_account, fate_mailbox, fate_uid, fate_acceptance, fate_text)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ANSWERED = (
    "INSERT INTO answered (day, part, messages, recipients) VALUES (?, ?, 1, ?)"
    " ON CONFLICT (day, part) DO UPDATE SET messages = answered.messages + 1,"
    " recipients = answered.recipients + excluded.recipients"
)
_END = (
    "UPDATE recipient SET fate = ?, ended = ?, fate_account = ?, fate_mailbox = ?, fate_uid = ?,"
    " fate_acceptance = ?, fate_text = ? WHERE acceptance = ? AND n = ? AND fate IS NULL"
)
FATE_COLUMNS = "fate, fate_account, fate_mailbox, fate_uid, fate_acceptance, fate_text"
_ENTRY = (
    f"SELECT n, address, notify, orcpt, ended, {FATE_COLUMNS} FROM recipient WHERE acceptance = ?"
)

_FateColumns = tuple[str | None, int | None, int | None, int | None, int | None, str]
_NONE_YET: _FateColumns = (None, None, None, None, None, "")


class FateIsFinal(StoreConflict):
    """The recipient has ended already, or does not exist."""


class Entry(msgspec.Struct, frozen=True):
    """One recipient and what became of it. ended: ms since 1970, None while it is open."""

    n: int
    recipient: Recipient
    fate: Fate | None
    ended: int | None


# Opening and ending ----------------------------------------------------------------------------


def open_acceptance(
    tx: Tx,
    acceptance: Acceptance,
    recipients: Sequence[Recipient],
    fates: Sequence[Fate | None],
) -> None:
    """fates: parallel to recipients; None for those still open, which need a queue row."""
    a = acceptance
    tx.send(
        _OPEN,
        (
            a.id,
            a.at,
            a.origin,
            a.reverse_path,
            a.body,
            a.size,
            a.recipients,
            a.parent,
            a.account,
            a.message_id,
            int(a.smtputf8),
            int(a.eight_bit),
            a.ret,
            a.envid,
            a.peer,
            a.tls,
            a.digest,
            int(a.unconfirmed),
        ),
    )
    rows = [
        (
            a.id,
            n,
            recipient.address,
            ",".join(sorted(recipient.notify)) if recipient.notify else "",
            recipient.orcpt,
            *_with_time(fate, a.at),
        )
        for n, (recipient, fate) in enumerate(zip(recipients, fates, strict=True))
    ]
    if len(rows) == 1:
        tx.send(_RECIPIENT, rows[0])
    else:
        tx.run_many(_RECIPIENT, rows)
    if a.origin in ANSWERED_ORIGINS:
        tx.send(_ANSWERED, (milliseconds(a.id) // DAY_MS, tx.part, len(rows)))


def end(tx: Tx, acceptance: int, n: int, fate: Fate, at: int) -> None:
    """Raises FateIsFinal."""
    name, *columns = _fate_columns(fate)
    if tx.run(_END, (name, at, *columns, acceptance, n)) != 1:
        raise FateIsFinal(f"recipient {n} of {queue_id(acceptance)} has ended already")


def add_event(
    tx: Tx, id: int, acceptance: int, at: int, n: int, kind: str, detail: dict[str, Any]
) -> None:
    """A step of the journey. id: from `Ids`. n: the recipient, or ALL_RECIPIENTS."""
    encoded = msgspec.json.encode(detail)
    if len(encoded) > DETAIL_OCTETS_MAX:
        text = encoded[: DETAIL_OCTETS_MAX // 2].decode("utf-8", "replace")
        encoded = msgspec.json.encode({"shortened": text})
    tx.send(
        "INSERT INTO event (acceptance, id, at, n, kind, detail) VALUES (?, ?, ?, ?, ?, ?)",
        (acceptance, id, at, n, kind, encoded.decode()),
    )


def has_event(tx: Tx, acceptance: int, id: int) -> bool:
    return (
        tx.value("SELECT 1 FROM event WHERE acceptance = ? AND id = ?", (acceptance, id))
        is not None
    )


# Looking ---------------------------------------------------------------------------------------


def find_acceptance(tx: Tx, id: int) -> Acceptance | None:
    row = tx.row(f"SELECT {_COLUMNS} FROM acceptance WHERE id = ?", (id,))
    return None if row is None else made_acceptance(row)


def acceptance(tx: Tx, id: int) -> Acceptance:
    """Raises KeyError where there is none: whoever has a queue row may rely on it."""
    found = find_acceptance(tx, id)
    if found is None:
        raise KeyError(f"there is no acceptance {queue_id(id)}")
    return found


def made_acceptance(row: Row) -> Acceptance:
    """From the columns of its row."""
    values = list(row)
    for n in (10, 11, 17):
        values[n] = bool(values[n])
    return Acceptance(*values)


def entries(tx: Tx, id: int) -> list[Entry]:
    """All recipients of an acceptance, in order."""
    return [_entry(row) for row in tx.rows(f"{_ENTRY} ORDER BY n", (id,))]


def entry(tx: Tx, id: int, n: int) -> Entry:
    """Raises KeyError."""
    row = tx.row(f"{_ENTRY} AND n = ?", (id, n))
    if row is None:
        raise KeyError(f"there is no recipient {n} of {queue_id(id)}")
    return _entry(row)


def recipient(tx: Tx, id: int, n: int) -> Recipient:
    """Raises KeyError."""
    return entry(tx, id, n).recipient


def recipients(tx: Tx, id: int) -> list[Recipient]:
    return [each.recipient for each in entries(tx, id)]


def as_written(tx: Tx, id: int, address: str) -> str:
    """The address by which the sender of acceptance `id` knows its recipient `address`: what went
    through an alias is gone back to where it came in."""
    while True:
        row = tx.row("SELECT parent, origin FROM acceptance WHERE id = ?", (id,))
        if row is None or row[0] is None or row[1] != "alias":
            return address
        above = [
            found
            for (found,) in tx.rows(
                "SELECT address FROM recipient WHERE acceptance = ? AND fate = 'expanded'"
                " AND fate_acceptance = ? ORDER BY n",
                (row[0], id),
            )
        ]
        if not above:
            return address
        if address not in above:
            address = above[0]
        id = row[0]


def _entry(row: Row) -> Entry:
    n, address, notify, orcpt, ended, *fate = row
    wishes = frozenset(notify.split(",")) if notify else frozenset()
    return Entry(n, Recipient(address, wishes, orcpt), fate_of(fate), ended)


# Submissions whose client may not know of our 250 ----------------------------------------------


def confirm(tx: Tx, id: int) -> None:
    """The client went on after our 250: it knows, also of the times it sent the same before."""
    row = tx.row(
        "SELECT account, message_id, reverse_path, digest FROM acceptance"
        " WHERE id = ? AND unconfirmed = 1",
        (id,),
    )
    if row is not None:
        tx.run(
            "UPDATE acceptance SET unconfirmed = 0, digest = NULL WHERE unconfirmed = 1"
            " AND account = ? AND message_id = ? AND reverse_path = ? AND digest = ?",
            row,
        )


def find_unconfirmed(
    tx: Tx, account: int, reverse_path: str, message_id: str, digest: bytes, since: int
) -> list[Acceptance]:
    """The acceptances of the same message at or after `since` whose client may not know of them,
    the first one first."""
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM acceptance"
        " WHERE unconfirmed = 1 AND account = ? AND message_id = ? AND reverse_path = ?"
        " AND digest = ? AND at >= ? ORDER BY id",
        (account, message_id, reverse_path, digest, since),
    )
    return [made_acceptance(row) for row in rows]


# Fates as columns ------------------------------------------------------------------------------


def _with_time(fate: Fate | None, at: int) -> tuple[Any, ...]:
    name, *columns = _NONE_YET if fate is None else _fate_columns(fate)
    return (name, None if fate is None else at, *columns)


def _fate_columns(fate: Fate) -> _FateColumns:
    match fate:
        case Stored(account, mailbox, uid):
            return "stored", account, mailbox, uid, None, ""
        case Relayed(host, reply):
            return "relayed", None, None, None, None, _text(f"{host}\n{reply}")
        case Returned(bounce):
            return "returned", None, None, None, bounce, ""
        case Expanded(child):
            return "expanded", None, None, None, child, ""
        case Duplicate(of):
            return "duplicate", None, None, None, of, ""
        case Dropped(rule):
            return "dropped", None, None, None, None, _text(rule)
        case Cancelled(who):
            return "cancelled", None, None, None, None, _text(who)


def _text(text: str) -> str:
    # A reply is somebody else's: it may hold what is not UTF-8.
    return text[:FATE_TEXT_CHARACTERS_MAX].encode("utf-8", "replace").decode()


def fate_of(columns: Sequence[Any]) -> Fate | None:
    """From FATE_COLUMNS."""
    name, account, mailbox, uid, other, text = columns
    match name:
        case "stored":
            return Stored(account, mailbox, uid)
        case "relayed":
            host, _, reply = text.partition("\n")
            return Relayed(host, reply)
        case "returned":
            return Returned(other)
        case "expanded":
            return Expanded(other)
        case "duplicate":
            return Duplicate(other)
        case "dropped":
            return Dropped(text)
        case "cancelled":
            return Cancelled(text)
        case _:
            return None
