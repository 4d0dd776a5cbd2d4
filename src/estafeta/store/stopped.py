"""Stopped: accounts that may send nothing until an administrator lets them. Each function is part
of a unit, which has the account locked where it writes."""

from __future__ import annotations

import msgspec

from estafeta.store.engine import Tx

HELD = "sending stopped: too many recipients"
"""How queue.held reads where mail waits for its sender's release, and for nothing else."""


class Stopped(msgspec.Struct, frozen=True):
    """at: milliseconds since 1970. why: the limit that it exceeded, as in the settings."""

    account: int
    at: int
    why: str


def find(tx: Tx, account: int) -> Stopped | None:
    """None: it may send."""
    row = tx.row("SELECT account, at, why FROM stopped_sender WHERE account = ?", (account,))
    return None if row is None else Stopped(*row)


def standing(tx: Tx) -> list[Stopped]:
    """All of them, the newest first."""
    rows = tx.rows("SELECT account, at, why FROM stopped_sender ORDER BY at DESC, account")
    return [Stopped(*row) for row in rows]


def untold(tx: Tx) -> list[Stopped]:
    """Of which nobody has been told."""
    rows = tx.rows("SELECT account, at, why FROM stopped_sender WHERE told = 0 ORDER BY account")
    return [Stopped(*row) for row in rows]


def stop(tx: Tx, account: int, why: str, now: int) -> bool:
    """False: it is stopped already."""
    return bool(
        tx.run(
            "INSERT INTO stopped_sender (account, at, why) VALUES (?, ?, ?)"
            " ON CONFLICT (account) DO NOTHING",
            (account, now, why),
        )
    )


def tell(tx: Tx, what: Stopped) -> bool:
    """It is told in this unit; False: somebody else has done so, or it may send again."""
    return bool(
        tx.run(
            "UPDATE stopped_sender SET told = 1 WHERE account = ? AND at = ? AND told = 0",
            (what.account, what.at),
        )
    )


def let(tx: Tx, account: int) -> bool:
    """It may send again; False: it might before."""
    return bool(tx.run("DELETE FROM stopped_sender WHERE account = ?", (account,)))
