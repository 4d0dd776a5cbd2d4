"""Correct: the same message for other addresses, in place of recipients that are open or failed.

Promises: an open recipient ends as cancelled in the unit that sends to the other address, unless
it is being attempted: then both may get it, and the ledger says so. Nobody is sent the same twice:
each correction is an event of its recipient, looked at under a lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from estafeta.queue.contract import Prepared
from estafeta.queue.hand import (
    Conflict,
    Touched,
    cancel,
    locked,
    may_release,
    refuse_stopped,
)
from estafeta.store import counters, ledger, tracker
from estafeta.store.engine import Tx
from estafeta.store.garbage import COLLECTOR
from estafeta.store.ids import queue_id
from estafeta.store.rows import Cancelled, Dropped, Fate, Returned


class Correction(msgspec.Struct, frozen=True):
    """Recipient `n` gets the message at another address, or, where it failed, at the same one."""

    n: int
    to: str


def may_be_corrected(entry: ledger.Entry) -> str:
    """Why not, or ""."""
    if entry.fate is None or is_failed(entry.fate):
        return ""
    return f"the message for {entry.recipient.address} has {_ENDED[type(entry.fate).__name__]}"


_ENDED = {
    "Stored": "arrived in its mailbox",
    "Relayed": "been taken by the next server",
    "Expanded": "gone on to the addresses behind it",
    "Duplicate": "been sent with another message already",
}


def correct(
    tx: Tx,
    acceptance: int,
    corrections: Sequence[Correction],
    child: Prepared,
    *,
    who: str,
    now: int,
    events: Sequence[int],
    sender: int | None = None,
) -> list[Touched]:
    """Open ones end as cancelled; `child` is the same message for the other addresses.

    events: an id for each. sender: see hand.touch. Raises Conflict: nothing is done.
    """
    if sender is not None:
        refuse_stopped(tx, sender)
    counters.hold(tx, COLLECTOR)  # the body may be nobody's by now: it is not to go meanwhile
    row = tx.row(
        "SELECT body FROM acceptance WHERE id = ? /*postgresql: FOR UPDATE */", (acceptance,)
    )
    if row is None or tx.value("SELECT 1 FROM body WHERE id = ?", row) is None:
        raise Conflict(f"the text of {queue_id(acceptance)} is not kept any more")
    touched = []
    for each, event in zip(corrections, events, strict=True):
        touched.append(_corrected(tx, acceptance, each, who, now, sender))
        detail = {"who": who, "to": each.to, "child": child.id}
        ledger.add_event(tx, event, acceptance, now, each.n, "correct", detail)
    child.apply(tx)
    tracker.follow(tx, ledger.acceptance(tx, acceptance))
    return touched


def _corrected(
    tx: Tx, acceptance: int, wanted: Correction, who: str, now: int, sender: int | None
) -> Touched:
    row = locked(tx, acceptance, wanted.n)
    entry = ledger.entry(tx, acceptance, wanted.n)
    address = entry.recipient.address
    if why := may_be_corrected(entry):
        raise Conflict(why)
    for known in tx.rows(
        "SELECT detail FROM event WHERE acceptance = ? AND n = ? AND kind = 'correct'",
        (acceptance, wanted.n),
    ):
        was = msgspec.json.decode(known[0], type=dict[str, Any])
        if was.get("to") == wanted.to:
            raise Conflict(
                f"the message for {address} was sent to {wanted.to} already: "
                f"{queue_id(int(was['child']))}"
            )
    if entry.fate is not None:
        return Touched(queue_id(acceptance), address, "unchanged", "it had ended before")
    if row is None:
        raise Conflict(f"{address} of {queue_id(acceptance)} is not in the queue")
    if row.held and not may_release(tx, row, sender):
        raise Conflict(f"the message for {address} is on hold: {row.held}")
    return cancel(tx, row, f"{who}, corrected to {wanted.to}", now)


def is_failed(fate: Fate | None) -> bool:
    """It ended without having arrived."""
    return isinstance(fate, Returned | Cancelled | Dropped)
