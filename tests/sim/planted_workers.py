"""Planted bugs that only several workers on one store can show."""

from __future__ import annotations

import pytest

from estafeta.queue import holders, rows
from estafeta.queue.holders import Holder, Life
from estafeta.read.imap.session import Session
from estafeta.read.imap.view import View
from estafeta.store.engine import Tx
from estafeta.store.sqlite import SqliteStore


def all_leases_back_at_a_start(patch: pytest.MonkeyPatch) -> None:
    """Whoever starts takes all leases for those of the dead, as one that is alone may."""
    begin = holders.begin

    def begin_alone(tx: Tx, life: Life, now: int) -> Holder:
        rows.give_back(tx, now)
        return begin(tx, life, now)

    patch.setattr(holders, "begin", begin_alone)


def token_not_matched(patch: pytest.MonkeyPatch) -> None:
    """An outcome is applied whoever holds the row by now."""

    def finish(tx: Tx, job: rows.Leased, n: int) -> None:
        tx.run("DELETE FROM queue WHERE acceptance = ? AND n = ?", (job.acceptance, n))

    def defer(tx: Tx, job: rows.Leased, n: int, *, due: int, last: str) -> None:
        tx.run(
            "UPDATE queue SET lease = NULL, due = ?, attempts = attempts + 1, last = ?"
            " WHERE acceptance = ? AND n = ?",
            (due, last, job.acceptance, n),
        )
        rows.expect(tx, job.destination, due)

    patch.setattr(rows, "finish", finish)
    patch.setattr(rows, "defer", defer)


def others_commits_not_seen(patch: pytest.MonkeyPatch) -> None:
    """Sessions in IDLE hear of what their own worker commits, and of the rest by the net alone."""
    patch.setattr(SqliteStore, "look", lambda self: None)


def recent_remembered_by_each_worker(patch: pytest.MonkeyPatch) -> None:
    """Who is shown a message as \\Recent is known to the process, and to no other."""

    async def claim(self: Session, view: View, first: int, uidnext: int) -> None:
        view.claim_recent(max(first, view.shared.recent), uidnext)

    patch.setattr(Session, "claim_recent", claim)
