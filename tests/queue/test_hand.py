"""Hand: what operators do to rows, in each state, by one unit; and what a crash in it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Delivered, Refused, Reply
from estafeta.queue import backoff, correct, hand, rows, wish
from estafeta.queue.correct import Correction
from estafeta.queue.hand import Cancel, Chosen, Conflict, Hold, Release, Retry
from estafeta.queue.listing import Filter, page
from estafeta.queue.settle import Attempted, settle
from estafeta.store import flags, garbage, ledger, tracker
from estafeta.store.engine import Tx
from estafeta.store.ids import queue_id
from estafeta.store.rows import Cancelled, Relayed, Returned

pytestmark = pytest.mark.usefixtures("each_engine")

WHO = "root (command line)"
BOB, CARL = "bob@b.example", "carl@c.example"
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), "mx.b.example")
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "busy", "mx.b.example")
NO = Refused(Reply(550, "5.1.1", "no"), "unknown-user", "mx.b.example")
LATER = 3_600_000
ACTS = {"retry": Retry(), "hold": Hold("a reason"), "release": Release(), "cancel": Cancel()}


class Applied:
    """Stands for a prepared acceptance."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.applied = 0

    def apply(self, tx: Tx) -> None:
        self.applied += 1


class Case:
    """A message for bob and carl, due in an hour; nobody is at it."""

    def __init__(self, stand: Stand, row: Any) -> None:
        self.stand = stand
        self.row = row
        self.now = stand.clock.ms
        self.leased: rows.Leased | None = None

    async def touch(self, act: Any, sender: int | None = None, **chosen: Any) -> Any:
        """What became of each."""
        keys = (await self.find(**({"acceptance": self.row.id} | chosen))).keys
        event = self.stand.ids.next()
        return await self.stand.run(
            lambda tx: hand.touch(tx, act, keys, who=WHO, now=self.now, event=event, sender=sender)
        )

    async def find(self, after: Any = hand.START, limit: int = 100, **chosen: Any) -> hand.Slice:
        found = await self.stand.read(lambda tx: hand.find(tx, Chosen(**chosen), after, limit))
        assert isinstance(found, hand.Slice)
        return found

    async def lease(self) -> rows.Leased:
        def unit(tx: Tx) -> Any:
            tx.run("UPDATE queue SET due = ? WHERE n = 0", (self.now,))
            rows.expect(tx, "b.example", self.now)
            return rows.lease(
                tx,
                "b.example",
                now=self.now,
                until=self.now + 900_000,
                tokens=[77],
                recipients_max=9,
            )

        (self.leased,) = await self.stand.run(unit)
        assert self.leased is not None
        return self.leased

    async def settle(self, outcome: Any, notices: Any = ()) -> None:
        assert self.leased is not None
        due = self.now + LATER if isinstance(outcome, Deferred) else None
        done = Attempted(
            self.leased, self.row, [Recipient(BOB)], [outcome], (), [due], self.now, self.now
        )
        event = self.stand.ids.next()
        await self.stand.run(lambda tx: settle(tx, done, event, notices))

    async def put(self, state: str) -> None:
        """bob's row."""
        if state in ("leased", "wished"):
            await self.lease()
        if state == "held":
            await self.touch(Hold("before"), addresses=(BOB,))
        if state == "wished":
            await self.touch(Hold("before"), addresses=(BOB,))

    async def state(self, n: int = 0) -> str:
        row = await self.stand.read(
            lambda tx: tx.row(
                "SELECT lease, held, wish, due FROM queue WHERE acceptance = ? AND n = ?",
                (self.row.id, n),
            )
        )
        if row is None:
            return ""
        lease, held, wished, due = row
        if lease is not None:
            assert not held
            return "wished" if wished else "leased"
        if held:
            assert due == rows.NEVER
            return "held"
        return "waiting"

    async def fate(self, n: int = 0) -> Any:
        return (await self.stand.read(lambda tx: ledger.entry(tx, self.row.id, n))).fate

    async def events(self) -> list[tuple[str, int, Any]]:
        import json

        found = await self.stand.read(
            lambda tx: tx.rows("SELECT kind, n, detail FROM event ORDER BY id")
        )
        return [(kind, n, json.loads(detail)) for kind, n, detail in found]

    async def due(self) -> int | None:
        found: int | None = await self.stand.read(
            lambda tx: tx.value("SELECT due FROM destination WHERE name = 'b.example'")
        )
        return found


def with_case(folder: Path, work: Callable[[Case], Any], **given: Any) -> None:
    async def whole(stand: Stand) -> None:
        row = await stand.accept((BOB, None), (CARL, None), **given)
        later = stand.clock.ms + LATER

        def unit(tx: Tx) -> None:
            tx.run("UPDATE queue SET due = ?", (later,))
            tx.run("UPDATE destination SET due = ?", (later,))

        await stand.run(unit)
        await work(Case(stand, row))

    with_stand(folder, whole)


@pytest.mark.parametrize(
    ("state", "act", "result", "then"),
    [
        ("waiting", "retry", "due", "waiting"),
        ("waiting", "hold", "held", "held"),
        ("waiting", "release", "unchanged", "waiting"),
        ("waiting", "cancel", "cancelled", ""),
        ("held", "retry", "unchanged", "held"),
        ("held", "hold", "held", "held"),
        ("held", "release", "released", "waiting"),
        ("held", "cancel", "cancelled", ""),
        ("leased", "retry", "unchanged", "leased"),
        ("leased", "hold", "asked", "wished"),
        ("leased", "release", "unchanged", "leased"),
        ("leased", "cancel", "asked", "wished"),
        ("wished", "retry", "unchanged", "wished"),
        ("wished", "hold", "asked", "wished"),
        ("wished", "release", "released", "leased"),
        ("wished", "cancel", "asked", "wished"),
    ],
)
def test_each_act_in_each_state(
    tmp_path: Path, state: str, act: str, result: str, then: str
) -> None:
    async def work(case: Case) -> None:
        await case.put(state)
        assert await case.state() == state
        before = len(await case.events())
        done = await case.touch(ACTS[act], addresses=("Bob@b.example",))
        assert [(t.recipient, t.result) for t in done] == [(BOB, result)]
        assert await case.state() == then
        assert await case.state(1) == "waiting"  # carl is nobody's matter
        told = (await case.events())[before:]
        if result == "unchanged":
            assert told == []
            assert done[0].why
        else:
            ((kind, n, detail),) = told
            assert (kind, n) == (act, ledger.ALL_RECIPIENTS)
            assert (detail["who"], detail["recipients"]) == (WHO, [0])
        if result in ("due", "released") and then == "waiting":
            assert await case.due() == case.now
        assert await case.fate() == (Cancelled(WHO) if then == "" else None)

    with_case(tmp_path, work)


class PowerLossError(Exception):
    """Stands for whatever keeps a unit from its COMMIT."""


@pytest.mark.parametrize("state", ["waiting", "held", "leased", "wished"])
@pytest.mark.parametrize("act", ACTS)
def test_what_does_not_commit_has_not_happened(tmp_path: Path, state: str, act: str) -> None:
    async def work(case: Case) -> None:
        await case.put(state)
        before = await case.events()

        def unit(tx: Tx) -> None:
            hand.touch(tx, ACTS[act], [(case.row.id, 0)], who=WHO, now=case.now, event=1)
            raise PowerLossError

        with pytest.raises(PowerLossError):
            await case.stand.run(unit)
        assert (await case.state(), await case.fate()) == (state, None)
        assert await case.events() == before

    with_case(tmp_path, work)


@pytest.mark.parametrize(
    ("outcome", "act", "then", "fate"),
    [
        (TAKEN, "cancel", "", Relayed("mx.b.example", "250 2.0.0 taken")),
        (BUSY, "cancel", "", Cancelled(f"{WHO}, too late")),
        (NO, "cancel", "", Returned(4711)),
        (TAKEN, "hold", "", Relayed("mx.b.example", "250 2.0.0 taken")),
        (BUSY, "hold", "held", None),
    ],
)
def test_what_is_wished_of_a_row_under_way_is_granted_where_the_attempt_leaves_it_waiting(
    tmp_path: Path, outcome: Any, act: str, then: str, fate: Any
) -> None:
    async def work(case: Case) -> None:
        await case.lease()
        await case.touch(Cancel("too late") if act == "cancel" else Hold("wait"), addresses=(BOB,))
        await case.settle(outcome, [Applied(4711)] if outcome is NO else ())
        assert (await case.state(), await case.fate()) == (then, fate)

    with_case(tmp_path, work)


@pytest.mark.parametrize(("act", "then"), [("cancel", ""), ("hold", "held")])
@pytest.mark.parametrize("how", ["given back", "its lease ended"])
def test_a_wish_outlives_the_worker(tmp_path: Path, act: str, then: str, how: str) -> None:
    async def work(case: Case) -> None:
        leased = await case.lease()
        await case.touch(ACTS[act], addresses=(BOB,))
        if how == "given back":
            await case.stand.run(lambda tx: rows.give_back(tx, case.now))
        else:
            case.now += 900_000

        def unit(tx: Tx) -> Any:
            wish.grant_due(tx, "b.example", case.now)
            return rows.lease(
                tx,
                "b.example",
                now=case.now,
                until=case.now + 900_000,
                tokens=[88],
                recipients_max=9,
            )

        assert await case.stand.run(unit) == []
        assert await case.state() == then
        case.leased = leased
        with pytest.raises(rows.LateOutcome):  # it lived, and comes too late
            await case.settle(TAKEN)

    with_case(tmp_path, work)


def test_a_row_that_is_wished_for_is_not_attempted_again_without_being_asked(
    tmp_path: Path,
) -> None:
    async def work(case: Case) -> None:
        await case.lease()
        await case.touch(Cancel(), addresses=(BOB,))
        await case.stand.run(lambda tx: rows.give_back(tx, case.now))

        def unit(tx: Tx) -> Any:
            return rows.lease(
                tx,
                "b.example",
                now=case.now,
                until=case.now + 900_000,
                tokens=[88],
                recipients_max=9,
            )

        assert await case.stand.run(unit) == []

    with_case(tmp_path, work)


def test_the_first_of_two_wishes_to_cancel_stays(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.lease()
        await case.touch(Cancel(), addresses=(BOB,))
        done = await case.touch(Hold("rather wait"), addresses=(BOB,))
        assert done[0].result == "unchanged"
        await case.settle(BUSY)
        assert await case.fate() == Cancelled(WHO)

    with_case(tmp_path, work)


@pytest.mark.parametrize("state", ["held", "wished"])
@pytest.mark.parametrize(
    ("first", "then", "released"), [(5, 5, True), (None, 5, False), (6, 5, False), (5, None, True)]
)
def test_a_sender_releases_what_he_holds_himself(
    tmp_path: Path, state: str, first: int | None, then: int | None, released: bool
) -> None:
    async def work(case: Case) -> None:
        if state == "wished":
            await case.lease()
        await case.touch(Hold("x"), sender=first)
        assert await case.state() == state
        if not released:
            # Nor by holding it himself first.
            assert (await case.touch(Hold("mine"), sender=then, addresses=(BOB,)))[0].why
        (found,) = await case.touch(Release(), sender=then, addresses=(BOB,))
        assert found.result == ("released" if released else "unchanged")
        assert await case.state() == (
            {"held": "waiting", "wished": "leased"}[state] if released else state
        )

    with_case(tmp_path, work)


@pytest.mark.parametrize(("act", "then"), [(Retry(), "cancelled"), (Hold("x"), "cancelled")])
def test_what_was_cancelled_stays_so_though_its_worker_has_died(
    tmp_path: Path, act: Any, then: str
) -> None:
    async def work(case: Case) -> None:
        await case.lease()
        await case.touch(Cancel(), addresses=(BOB,))
        await case.stand.run(lambda tx: rows.give_back(tx, case.now))
        assert [each.result for each in await case.touch(act, addresses=(BOB,))] == [then]
        assert (await case.state(), await case.fate()) == ("", Cancelled(WHO))

    with_case(tmp_path, work)


def test_slices_go_through_everything_once(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        for _ in range(3):
            await case.stand.accept((BOB, None), (CARL, None))
        after: Any = hand.START
        seen: list[Any] = []
        while after is not None:
            found = await case.find(after, limit=3)
            seen += found.keys
            after = found.next
        assert len(seen) == len(set(seen)) == 8

    with_case(tmp_path, work)


def test_what_has_left_the_queue_meanwhile_is_passed_over(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        keys = [(case.row.id, 0), (case.row.id, 1)]
        await case.touch(Cancel(), addresses=(BOB,))
        touched = await case.stand.run(
            lambda tx: hand.touch(tx, Hold("x"), keys, who=WHO, now=case.now, event=1)
        )
        assert [each.recipient for each in touched] == [CARL]

    with_case(tmp_path, work)


def test_whose_messages_and_for_whom(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        mine = await case.stand.accept((BOB, None), (CARL, None), account=5)
        assert (await case.find(account=5, destination="c.example")).keys == [(mine.id, 1)]
        assert (await case.find(account=5, addresses=("BOB@b.example",))).keys == [(mine.id, 0)]
        assert (await case.find(acceptance=mine.id, account=6)).keys == []
        everybody = await case.find()
        assert (len(everybody.keys), everybody.accounts) == (4, [5])

        def look(tx: Tx) -> list[bool]:
            ids = (mine.id, case.row.id, 1)
            return [hand.may_see(tx, id, account) for id in ids for account in (5, 6, None)]

        assert await case.stand.read(look) == [
            *(True, False, True),
            *(False, False, True),
            *(False, False, False),
        ]

    with_case(tmp_path, work)


def test_what_stands_behind_an_alias_is_nobodys_but_administrations(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        mine = await case.stand.accept((BOB, None), account=5)
        behind = await case.stand.accept((CARL, None), account=5, parent=mine.id, origin="alias")
        below = await case.stand.accept(
            (BOB, None), account=5, parent=behind.id, origin="correction"
        )
        other = await case.stand.accept((BOB, None), account=5, parent=mine.id, origin="correction")
        assert (await case.find(account=5)).keys == [(mine.id, 0), (other.id, 0)]
        everybody = [key for key in (await case.find()).keys if key[0] != case.row.id]
        assert everybody == [(each.id, 0) for each in (mine, behind, below, other)]
        ids = [each.id for each in (mine, behind, below, other)]

        def look(tx: Tx, account: int | None) -> list[bool]:
            return [hand.may_see(tx, id, account) for id in ids]

        assert await case.stand.read(lambda tx: look(tx, 5)) == [True, False, False, True]
        assert await case.stand.read(lambda tx: look(tx, None)) == [True] * 4
        listed = await case.stand.read(lambda tx: page(tx, Filter(account=5), limit=9))
        assert [row.queue_id for row in listed.rows] == [queue_id(ids[0]), queue_id(ids[3])]

    with_case(tmp_path, work)


def test_retry_goes_past_the_back_off_of_its_host(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        def unit(tx: Tx) -> None:
            seen = backoff.Seen("mx.b.example", BUSY, lambda _: 3_600_000, case.now)
            backoff.note(tx, seen, case.now)
            backoff.wait(tx, "b.example", ["mx.b.example"])

        await case.stand.run(unit)
        await case.touch(Retry())

        def look(tx: Tx) -> list[str]:
            return rows.due_destinations(tx, case.now, 9, ())

        assert "b.example" in await case.stand.read(look)

    with_case(tmp_path, work)


# Correcting ------------------------------------------------------------------------------------


async def correcting(case: Case, *pairs: tuple[int, str], child: int = 4242) -> Any:
    made = Applied(child)
    events = [case.stand.ids.next() for _ in pairs]
    return made, await case.stand.run(
        lambda tx: correct.correct(
            tx,
            case.row.id,
            [Correction(*pair) for pair in pairs],
            made,  # type: ignore[arg-type]
            who=WHO,
            now=case.now,
            events=events,
        )
    )


@pytest.mark.parametrize("state", ["waiting", "held"])
def test_an_open_recipient_is_replaced(tmp_path: Path, state: str) -> None:
    async def work(case: Case) -> None:
        await case.put(state)
        made, touched = await correcting(case, (0, "bill@b.example"))
        assert made.applied == 1
        assert [t.result for t in touched] == ["cancelled"]
        assert await case.fate() == Cancelled(f"{WHO}, corrected to bill@b.example")
        assert (await case.state(), await case.state(1)) == ("", "waiting")
        kind, n, detail = (await case.events())[-1]
        assert (kind, n) == ("correct", 0)
        assert detail == {"who": WHO, "to": "bill@b.example", "child": 4242}

    with_case(tmp_path, work)


@pytest.mark.parametrize(
    ("outcome", "fate"),
    [
        (TAKEN, Relayed("mx.b.example", "250 2.0.0 taken")),
        (BUSY, Cancelled(f"{WHO}, corrected to bill@b.example")),
    ],
)
def test_one_that_is_being_attempted_may_arrive_all_the_same(
    tmp_path: Path, outcome: Any, fate: Any
) -> None:
    async def work(case: Case) -> None:
        await case.lease()
        _, touched = await correcting(case, (0, "bill@b.example"))
        assert [t.result for t in touched] == ["asked"]
        await case.settle(outcome)
        assert (await case.state(), await case.fate()) == ("", fate)

    with_case(tmp_path, work)


def test_one_that_was_returned_is_sent_again_once(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.lease()
        await case.settle(NO, [Applied(4711)])
        _, touched = await correcting(case, (0, "bill@b.example"))
        assert [t.result for t in touched] == ["unchanged"]
        assert await case.fate() == Returned(4711)
        with pytest.raises(Conflict, match=r"was sent to bill@b\.example already"):
            await correcting(case, (0, "bill@b.example"), child=4243)
        await correcting(case, (0, "bob@b.example"), child=4244)  # as it was, once more

    with_case(tmp_path, work)


def test_one_that_has_arrived_is_not_corrected_and_neither_are_the_others(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.lease()
        await case.settle(TAKEN)
        with pytest.raises(Conflict, match="has been taken by the next server"):
            await correcting(case, (1, "charles@c.example"), (0, "bill@b.example"))
        assert await case.state(1) == "waiting"
        assert [kind for kind, _, _ in await case.events()] == ["attempt"]

    with_case(tmp_path, work)


def test_a_text_that_is_gone_is_not_sent(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.touch(Cancel())
        await case.stand.run(lambda tx: garbage._remove(tx, [case.row.body]))
        with pytest.raises(Conflict, match="is not kept any more"):
            await correcting(case, (0, "bill@b.example"))

    with_case(tmp_path, work)


def test_the_senders_copy_tells_of_whom_is_meant_now(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        async def keyword() -> str:
            return str(await case.stand.read(lambda tx: tracker.keyword_of(tx, 5, "<one@a>")))

        await case.touch(Cancel(), addresses=(CARL,))
        assert await keyword() == flags.QUEUED
        await case.lease()
        await case.settle(NO, [Applied(4711)])
        assert await keyword() == flags.BOUNCED
        bill = await case.stand.accept(
            ("bill@b.example", None), account=5, message_id="<one@a>", parent=case.row.id
        )
        await correcting(case, (0, "bill@b.example"), (1, "charles@c.example"), child=bill.id)
        assert await keyword() == flags.QUEUED
        await case.stand.run(
            lambda tx: ledger.end(tx, bill.id, 0, Relayed("mx.b.example", "250"), case.now)
        )
        assert await keyword() == flags.DELIVERED

    with_case(tmp_path, work, account=5, message_id="<one@a>")
