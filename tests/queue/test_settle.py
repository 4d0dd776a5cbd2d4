"""Settle: every outcome to its fate, in one unit, and none of it where the lease was lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Delivered, Looped, Outcome, Refused, Reply
from estafeta.queue import rows
from estafeta.queue.settle import Attempted, record_late, settle
from estafeta.store import ledger
from estafeta.store.engine import Tx
from estafeta.store.rows import Dropped, Expanded, Relayed, Returned

pytestmark = pytest.mark.usefixtures("each_engine")

TAKEN = Delivered(Reply(250, "2.0.0", "taken"), "mx.b.example")
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "busy", "mx.b.example")
NO = Refused(Reply(550, "5.1.1", "no"), "unknown-user", "mx.b.example")
LOOP = Looped(Reply(554, "5.4.6", "again"))


class Applied:
    """Stands for a prepared acceptance. broken: its rows cannot be written."""

    def __init__(self, id: int, *, broken: bool = False) -> None:
        self.id = id
        self.accounts: list[int] = []
        self.applied = 0
        self._broken = broken

    def apply(self, tx: Tx) -> None:
        self.applied += 1
        if self._broken:
            tx.run("INSERT INTO nothing VALUES (1)")

    def committed(self) -> None: ...

    def abandoned(self) -> None: ...

    def doubted(self) -> None: ...


class Case:
    """One acceptance of some recipients, leased as one job."""

    def __init__(self, stand: Stand, row: Any, leased: rows.Leased, recipients: Any) -> None:
        self.stand = stand
        self.row = row
        self.leased = leased
        self.recipients = recipients

    def done(self, *outcomes: Outcome, due: int | None = None, **given: Any) -> Attempted:
        tries = [due if isinstance(outcome, Deferred) else None for outcome in outcomes]
        now = self.stand.clock.ms
        return Attempted(
            self.leased, self.row, self.recipients, outcomes, (), tries, now, now + 5, **given
        )

    async def settle(self, done: Attempted, *notices: Any) -> None:
        event = self.stand.ids.next()
        await self.stand.run(lambda tx: settle(tx, done, event, notices))

    async def fates(self) -> list[Any]:
        found = await self.stand.read(lambda tx: ledger.entries(tx, self.row.id))
        return [each.fate for each in found]

    async def queue(self) -> list[tuple[int, bool, int]]:
        """(n, leased, attempts)."""
        found = await self.stand.read(
            lambda tx: tx.rows("SELECT n, lease IS NOT NULL, attempts FROM queue ORDER BY n")
        )
        return [(n, bool(leased), attempts) for n, leased, attempts in found]

    async def events(self) -> list[str]:
        return [
            row[0] for row in await self.stand.read(lambda tx: tx.rows("SELECT kind FROM event"))
        ]


def with_case(
    folder: Path, work: Callable[[Case], Any], *recipients: Recipient, **given: Any
) -> None:
    people = recipients or (Recipient("bob@b.example"), Recipient("carl@b.example"))

    async def whole(stand: Stand) -> None:
        row = await stand.accept(*((r.address, None) for r in people), **given)
        now = stand.clock.ms
        (leased,) = await stand.run(
            lambda tx: rows.lease(
                tx, "b.example", now=now, until=now + 900_000, tokens=[77], recipients_max=100
            )
        )
        await work(Case(stand, row, leased, people))

    with_stand(folder, whole)


def test_each_outcome_to_its_fate(tmp_path: Path) -> None:
    people = [Recipient(f"{n}@b.example") for n in ("a", "b", "c", "d")]

    async def work(case: Case) -> None:
        bounce = Applied(4711)
        done = case.done(TAKEN, NO, BUSY, LOOP, due=case.stand.clock.ms + 60_000)
        await case.settle(done, bounce)
        assert await case.fates() == [
            Relayed("mx.b.example", "250 2.0.0 taken"),
            Returned(4711),
            None,
            Returned(4711),
        ]
        assert await case.queue() == [(2, False, 1)]
        assert await case.events() == ["attempt"]
        assert bounce.applied == 1

    with_case(tmp_path, work, *people)


def test_deferred_once_too_often(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        done = case.done(BUSY, TAKEN, due=None)
        assert [f.expired for f in done.failures()] == [True]
        await case.settle(done, Applied(4711))
        assert (await case.fates())[0] == Returned(4711)
        assert await case.queue() == []

    with_case(tmp_path, work)


@pytest.mark.parametrize(
    ("path", "notify", "rule"),
    [
        ("", frozenset(), "double-bounce"),
        ("", frozenset({"FAILURE"}), "double-bounce"),
        ("ana@a.example", frozenset({"NEVER"}), "notify-never"),
        ("ana@a.example", frozenset({"SUCCESS", "DELAY"}), "notify-never"),
    ],
)
def test_failures_that_nobody_is_told_of(
    tmp_path: Path, path: str, notify: frozenset[str], rule: str
) -> None:
    async def work(case: Case) -> None:
        done = case.done(NO)
        assert done.failures() == []
        await case.settle(done)
        assert await case.fates() == [Dropped(rule)]

    with_case(tmp_path, work, Recipient("bob@b.example", notify), reverse_path=path)


def test_a_child_that_took_them_over(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        child, bounce = Applied(4242), Applied(4711)
        done = case.done(TAKEN, NO, child=child, in_child=frozenset({0}))
        await case.settle(done, bounce)
        assert await case.fates() == [Expanded(4242), Returned(4711)]
        assert (child.applied, bounce.applied) == (1, 1)

    with_case(tmp_path, work)


@pytest.mark.parametrize("lost", ["one", "all"])
def test_a_lost_lease_undoes_it_all(tmp_path: Path, lost: str) -> None:
    async def work(case: Case) -> None:
        where = "" if lost == "all" else " WHERE n = 1"
        await case.stand.run(lambda tx: tx.run(f"UPDATE queue SET lease = 5{where}"))
        bounce = Applied(4711)
        done = case.done(TAKEN, NO)
        with pytest.raises(rows.LateOutcome):
            await case.settle(done, bounce)
        assert await case.fates() == [None, None]
        assert len(await case.queue()) == 2
        assert bounce.applied == 0
        assert await case.events() == []
        event = case.stand.ids.next()
        await case.stand.run(lambda tx: record_late(tx, done, event))
        assert await case.events() == ["late-outcome"]

    with_case(tmp_path, work)


def test_an_outcome_counts_once(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.settle(case.done(TAKEN, TAKEN))
        with pytest.raises(rows.LateOutcome):
            await case.settle(case.done(NO, NO), Applied(4711))
        assert all(isinstance(fate, Relayed) for fate in await case.fates())

    with_case(tmp_path, work)


def test_a_bounce_that_cannot_be_written_undoes_it_all(tmp_path: Path) -> None:
    """Bounce and end of the recipient are one transaction, or mail could vanish between them."""

    async def work(case: Case) -> None:
        with pytest.raises(Exception, match="nothing"):
            await case.settle(case.done(TAKEN, NO), Applied(4711, broken=True))
        assert await case.fates() == [None, None]
        assert [leased for _, leased, _ in await case.queue()] == [True, True]
        assert await case.events() == []

    with_case(tmp_path, work)


def test_who_wants_to_hear_of_success(tmp_path: Path) -> None:
    wish = frozenset({"SUCCESS"})
    people = [Recipient(f"{n}@b.example", wish) for n in "abcd"] + [Recipient("e@b.example")]

    async def work(case: Case) -> None:
        reports = Delivered(Reply(250, "2.0.0", "taken"), "mx.b.example", reports=True)
        outcomes = (TAKEN, reports, BUSY, TAKEN, TAKEN)
        done = case.done(*outcomes, child=Applied(1), in_child=frozenset({3}))
        assert done.relayed_silently() == [0]

    with_case(tmp_path, work, *people)


@pytest.mark.parametrize("path", ["", "ana@a.example"])
@pytest.mark.parametrize("notify", [frozenset(), frozenset({"SUCCESS"}), frozenset({"NEVER"})])
@pytest.mark.parametrize("outcome", [TAKEN, Delivered(TAKEN.reply, "mx", reports=True), BUSY, NO])
def test_what_is_silent_has_nothing_to_tell(
    tmp_path: Path, path: str, notify: frozenset[str], outcome: Outcome
) -> None:
    async def work(case: Case) -> None:
        done = case.done(outcome)
        told = bool(done.lost() or done.failures() or done.relayed_silently())
        assert not (done.silent and told)
        # What was not taken for good is looked at, whatever comes of it.
        assert done.silent == (isinstance(outcome, Delivered) and not told)

    with_case(tmp_path, work, Recipient("bob@b.example", notify), reverse_path=path)
