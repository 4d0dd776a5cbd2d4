"""Hand: what operators and senders do to rows of the queue. Each function is part of a unit.

Promises: who did what and when is an event of the message, in the unit that does it; a row that is
being attempted is never taken from whoever attempts it, what is wanted of it is written beside it
(queue/wish.py); what has ended stays as it ended.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from estafeta.queue import backoff, rows, wish
from estafeta.queue.limits import TOUCHED_ROWS
from estafeta.queue.wish import Wish
from estafeta.store import ledger, stopped, tracker
from estafeta.store.engine import Tx
from estafeta.store.ids import queue_id

Result = Literal["due", "held", "released", "cancelled", "asked", "unchanged"]
"""asked: it is being attempted, and will be so if the attempt leaves it waiting."""


class HandError(Exception):
    """The text says in one sentence why not."""


class Unknown(HandError):
    """There is no such message, or it is somebody else's."""


class Conflict(HandError):
    """It is not in a state in which that can be done."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the queue: all that fit everything that is given.

    addresses: of recipients. account: whose messages, see OF_SENDER; None: everybody's.
    """

    acceptance: int | None = None
    addresses: tuple[str, ...] = ()
    destination: str = ""
    account: int | None = None


class Retry(msgspec.Struct, frozen=True, tag="retry"):
    """Due now, whatever the plan and the back-off of its host say."""


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """Not attempted until somebody releases it."""

    reason: str


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Held ones are due now."""


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """They end; nobody is told. reason: may be ""."""

    reason: str = ""


Act = Retry | Hold | Release | Cancel


class Row(msgspec.Struct, frozen=True):
    """One row, locked by this unit."""

    acceptance: int
    n: int
    address: str
    destination: str
    due: int
    leased: bool
    held: str
    wish: str


class Touched(msgspec.Struct, frozen=True):
    """What became of one row. why: where it is unchanged or asked for."""

    queue_id: str
    recipient: str
    result: Result
    why: str = ""


class Slice(msgspec.Struct, frozen=True):
    """Rows that were found, by (acceptance, n). accounts: whose they are, for `Store.run`. next:
    where the next slice begins; None where this was the last."""

    keys: list[tuple[int, int]]
    accounts: list[int]
    next: tuple[int, int] | None


START = (0, -1)

OF_SENDER = (
    "a.account = ? AND NOT EXISTS (WITH RECURSIVE above (parent, origin) AS ("
    "SELECT p.parent, p.origin FROM acceptance p WHERE p.id = a.id"
    " UNION ALL SELECT p.parent, p.origin FROM acceptance p JOIN above ON p.id = above.parent)"
    " SELECT 1 FROM above WHERE above.origin = 'alias')"
)
"""Of acceptance `a`: that account has sent it, and not to what stands behind an alias, of which
its sender learns nothing."""


def find(
    tx: Tx, chosen: Chosen, after: tuple[int, int] = START, limit: int = TOUCHED_ROWS
) -> Slice:
    """The next rows behind `after`. Reads alone: a queue of a million is not locked for it."""
    where = ["(q.acceptance, q.n) > (?, ?)"]
    given: list[Any] = list(after)
    for condition, wanted in (
        ("q.acceptance = ?", chosen.acceptance),
        # Not by its index: each slice would sort all that is behind it.
        ("q.destination || '' = ?", chosen.destination or None),
        (OF_SENDER, chosen.account),
    ):
        if wanted is not None:
            where.append(condition)
            given.append(wanted)
    if chosen.addresses:
        where.append(f"lower(r.address) IN ({', '.join('?' * len(chosen.addresses))})")
        given += [_lowered(address) for address in chosen.addresses]
    found = tx.rows(
        "SELECT q.acceptance, q.n, a.account FROM queue q"
        " JOIN acceptance a ON a.id = q.acceptance"
        " JOIN recipient r ON r.acceptance = q.acceptance AND r.n = q.n"
        f" WHERE {' AND '.join(where)} ORDER BY q.acceptance, q.n LIMIT ?",
        [*given, limit],
    )
    keys = [(acceptance, n) for acceptance, n, _ in found]
    accounts = sorted({account for _, _, account in found if account is not None})
    return Slice(keys, accounts, keys[-1] if len(keys) == limit else None)


def touch(
    tx: Tx,
    act: Act,
    keys: Sequence[tuple[int, int]],
    *,
    who: str,
    now: int,
    event: int,
    sender: int | None = None,
) -> list[Touched]:
    """Does `act` to these rows, those that have left the queue meanwhile excepted. event: an id,
    for those it becomes. sender: the account that does it to its own; None: administration, whose
    holds no sender releases. Raises Conflict where that account may send nothing."""
    if sender is not None and isinstance(act, Retry | Release):
        refuse_stopped(tx, sender)
    found = [row for key in sorted(keys) if (row := locked(tx, *key)) is not None]
    touched = []
    changed: dict[int, list[int]] = {}
    for row in found:
        each = _granted(tx, row, now) or _done(tx, act, row, who, now, sender)
        touched.append(each)
        if each.result != "unchanged":
            changed.setdefault(row.acceptance, []).append(row.n)
    for acceptance, numbers in changed.items():
        detail: dict[str, Any] = {"who": who, "recipients": numbers}
        if sender is not None:
            detail["sender"] = sender
        if reason := getattr(act, "reason", ""):
            detail["reason"] = reason
        ledger.add_event(
            tx, event, acceptance, now, ledger.ALL_RECIPIENTS, type(act).__name__.lower(), detail
        )
    if isinstance(act, Cancel):
        for acceptance in changed:
            tracker.follow(tx, ledger.acceptance(tx, acceptance))
    if isinstance(act, Retry | Release):
        for destination in sorted({row.destination for row in found}):
            _look_at(tx, destination, now)
    return touched


def refuse_stopped(tx: Tx, sender: int) -> None:
    """Raises Conflict where that account may send nothing until an administrator lets it."""
    if stopped.find(tx, sender) is not None:
        raise Conflict("the account was stopped: only an administrator lets its mail go on")


def locked(tx: Tx, acceptance: int, n: int) -> Row | None:
    """A row that nobody else touches until this unit has ended; None: it has left the queue."""
    found = tx.row(
        "SELECT r.address, q.destination, q.due, q.lease, q.held, q.wish FROM queue q"
        " JOIN recipient r ON r.acceptance = q.acceptance AND r.n = q.n"
        " WHERE q.acceptance = ? AND q.n = ? /*postgresql: FOR UPDATE OF q */",
        (acceptance, n),
    )
    if found is None:
        return None
    address, destination, due, lease, held, wished = found
    return Row(acceptance, n, address, destination, due, lease is not None, held, wished)


def retry(tx: Tx, row: Row, now: int) -> Touched:
    """Waiting -> waiting, due now."""
    if row.leased:
        return _touched(row, "unchanged", "it is being sent right now")
    if row.held:
        return _touched(row, "unchanged", "it is on hold: release it")
    tx.send("UPDATE queue SET due = ? WHERE acceptance = ? AND n = ?", (now, row.acceptance, row.n))
    return _touched(row, "due")


_NOT_YOURS = "it is not its sender who holds it"


def hold(tx: Tx, row: Row, reason: str, sender: int | None = None) -> Touched:
    """Waiting -> held; of a held one the reason changes."""
    wanted = wish.wished(row.wish)
    stands = row.held != "" or (wanted is not None and wanted.kind == "hold")
    if stands and not may_release(tx, row, sender):
        return _touched(row, "unchanged", _NOT_YOURS)
    if not row.leased:
        wish.hold(tx, row.acceptance, row.n, reason)
        return _touched(row, "held")
    if wanted is not None and wanted.kind == "cancel":
        return _touched(row, "unchanged", "it is being sent, and cancelled unless that succeeds")
    wish.wish(tx, row.acceptance, row.n, Wish("hold", reason))
    return _touched(row, "asked", "it is being sent right now, and held unless that succeeds")


def release(tx: Tx, row: Row, now: int, sender: int | None = None) -> Touched:
    """Held -> waiting, due now; what was wished of a leased one is taken back."""
    wanted = wish.wished(row.wish)
    if not row.held and (wanted is None or wanted.kind != "hold"):
        return _touched(row, "unchanged", "it is not on hold")
    if not may_release(tx, row, sender):
        return _touched(row, "unchanged", _NOT_YOURS)
    if row.leased:
        wish.wish(tx, row.acceptance, row.n, None)
        return _touched(row, "released")
    tx.send(
        "UPDATE queue SET held = '', wish = '', due = ? WHERE acceptance = ? AND n = ?",
        (now, row.acceptance, row.n),
    )
    return _touched(row, "released")


def cancel(tx: Tx, row: Row, text: str, now: int) -> Touched:
    """Waiting or held -> no row. text: what the fate says."""
    if row.leased:
        wish.wish(tx, row.acceptance, row.n, Wish("cancel", text))
        return _touched(
            row, "asked", "it is being sent right now, and cancelled unless that succeeds"
        )
    wish.cancel(tx, row.acceptance, row.n, text, now)
    return _touched(row, "cancelled")


def may_release(tx: Tx, row: Row, sender: int | None) -> bool:
    """Whether what is on hold, or is to be, was held by that sender; None may do it always."""
    if sender is None:
        return True
    wanted = wish.wished(row.wish)
    said = row.held or (wanted.text if wanted is not None else "")
    for (text,) in tx.rows(
        "SELECT detail FROM event WHERE acceptance = ? AND kind = 'hold' ORDER BY id DESC",
        (row.acceptance,),
    ):
        detail = msgspec.json.decode(text, type=dict[str, Any])
        if row.n in detail.get("recipients", ()):
            return bool(detail.get("sender") == sender and detail.get("reason") == said)
    return False


# Parts -----------------------------------------------------------------------------------------


def _granted(tx: Tx, row: Row, now: int) -> Touched | None:
    """What was wished of a row whose worker has ended, where nothing else can come of it."""
    wanted = None if row.leased else wish.wished(row.wish)
    if wanted is None or wanted.kind != "cancel":
        return None
    wish.cancel(tx, row.acceptance, row.n, wanted.text, now)
    tracker.follow(tx, ledger.acceptance(tx, row.acceptance))
    return _touched(row, "cancelled")


def _done(tx: Tx, act: Act, row: Row, who: str, now: int, sender: int | None) -> Touched:
    match act:
        case Retry():
            return retry(tx, row, now)
        case Hold(reason):
            return hold(tx, row, reason, sender)
        case Release():
            return release(tx, row, now, sender)
        case Cancel(reason):
            return cancel(tx, row, f"{who}, {reason}" if reason else who, now)


def _look_at(tx: Tx, destination: str, now: int) -> None:
    """What is due there is taken at once, and whatever it waits for is asked."""
    backoff.hurry(tx, destination, now)
    rows.expect(tx, destination, now)
    tx.hint(rows.HINT)


def _touched(row: Row, result: Result, why: str = "") -> Touched:
    return Touched(queue_id(row.acceptance), row.address, result, why)


def _lowered(address: str) -> str:
    """ASCII alone, as lower() of SQL does on either engine."""
    return address.encode("utf-8", "replace").lower().decode()


def may_see(tx: Tx, acceptance: int, account: int | None) -> bool:
    """Whether there is such a message, and it is of that account (OF_SENDER); None: of anybody."""
    if account is None:
        return tx.value("SELECT 1 FROM acceptance WHERE id = ?", (acceptance,)) is not None
    look = f"SELECT 1 FROM acceptance a WHERE a.id = ? AND {OF_SENDER}"
    return tx.value(look, (acceptance, account)) is not None
