"""Wish: what somebody wants of a row that is being attempted, kept until the attempt is over.

A row under way cannot be taken from whoever attempts it: the next server may have the message
already. So the wish is written beside the lease, and granted where the attempt leaves the row
waiting: by the unit of outcome, or, where its worker has died, by whoever leases next. What the
attempt ends (taken, refused, given up) has ended: nothing is left to wish for.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from estafeta.queue import rows
from estafeta.store import ledger, tracker
from estafeta.store.engine import Tx
from estafeta.store.rows import Cancelled


class Wish(msgspec.Struct, frozen=True):
    """text: of `hold` the reason, of `cancel` what the fate will say: who, and why."""

    kind: Literal["hold", "cancel"]
    text: str


def wish(tx: Tx, acceptance: int, n: int, wanted: Wish | None) -> None:
    """For a leased row; the caller has it locked. None takes back what was wished."""
    text = "" if wanted is None else msgspec.json.encode(wanted).decode()
    tx.send("UPDATE queue SET wish = ? WHERE acceptance = ? AND n = ?", (text, acceptance, n))


def wished(text: str) -> Wish | None:
    """From its column."""
    return msgspec.json.decode(text, type=Wish) if text else None


def grant(tx: Tx, acceptance: int, n: int, text: str, now: int) -> None:
    """A row that is not leased any more, and whose column `wish` says so: held, or no row."""
    wanted = wished(text)
    if wanted is None:
        return
    if wanted.kind == "hold":
        hold(tx, acceptance, n, wanted.text)
    else:
        cancel(tx, acceptance, n, wanted.text, now)


def grant_due(tx: Tx, destination: str, now: int) -> None:
    """Wishes about rows whose worker has died; before they are leased again."""
    # The sign keeps SQLite from the index of `due`, by which it would look at all that is waiting.
    wanted = tx.rows(
        "SELECT acceptance, n FROM queue WHERE destination = ? AND wish <> '' AND +due <= ?",
        (destination, now),
    )
    messages = {acceptance: ledger.acceptance(tx, acceptance) for acceptance, _ in wanted}
    for acceptance, n in sorted(wanted, key=lambda row: (messages[row[0]].account or 0, *row)):
        message = messages[acceptance]
        if message.account is not None:
            # Its copies tell of it: who else ends a recipient of theirs waits here, as by hand.
            tx.rows(
                "SELECT id FROM account WHERE id = ? /*postgresql: FOR UPDATE */",
                (message.account,),
            )
        text = tx.value(
            "SELECT wish FROM queue WHERE acceptance = ? AND n = ? AND wish <> '' AND due <= ?"
            " /*postgresql: FOR UPDATE SKIP LOCKED */",
            (acceptance, n, now),
        )
        if text:
            grant(tx, acceptance, n, text, now)
            tracker.follow(tx, message)


def hold(tx: Tx, acceptance: int, n: int, reason: str) -> None:
    """Waiting -> held."""
    tx.send(
        "UPDATE queue SET held = ?, due = ?, lease = NULL, wish = ''"
        " WHERE acceptance = ? AND n = ?",
        (reason, rows.NEVER, acceptance, n),
    )


def cancel(tx: Tx, acceptance: int, n: int, text: str, now: int) -> None:
    """Waiting or held -> no row; its recipient ends. Raises ledger.FateIsFinal."""
    tx.send("DELETE FROM queue WHERE acceptance = ? AND n = ?", (acceptance, n))
    ledger.end(tx, acceptance, n, Cancelled(text), now)
