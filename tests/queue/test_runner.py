"""Runner: what is accepted is attempted, settled once, and delays nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import Attempts, Whole, whole

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Delivered, Outcome, Refused, Reply
from estafeta.queue.runner import LEASE_SECONDS, STOP_GRACE_SECONDS
from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet
from estafeta.store import accounts
from estafeta.store.engine import StoreConflict, StoreError, StoreFull, StoreUncertain, Tx

pytestmark = pytest.mark.usefixtures("each_engine")

BOB, CARL, DORA = "bob@remote.example", "carl@remote.example", "dora@other.example"
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), "mx.remote.example")
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "busy", "mx.remote.example")
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.remote.example")


def with_house(
    work: Callable[[Whole], Awaitable[Any]], *, errors: bool = False, **how: Any
) -> None:
    async def main() -> None:
        async with whole(**how) as (house, _):
            await asyncio.sleep(0.1)  # the runner has begun
            await work(house)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert bool(logged.lines) is errors, logged.lines


def planned(**outcomes: list[Outcome]) -> Attempts:
    names = {"bob": BOB, "carl": CARL, "dora": DORA}
    return Attempts(plan={names.get(name, name): each for name, each in outcomes.items()})


def test_a_message_is_attempted_at_once_and_in_one_job() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, DORA, CARL)
        assert await house.rows() == [
            ("remote.example", 0, 0, 1),
            ("other.example", 1, 0, 1),
            ("remote.example", 2, 0, 1),
        ]
        await house.settled(1)
        assert sorted(house.attempts.addresses) == [[BOB, CARL], [DORA]]
        assert [line.split()[-1] for line in await house.ledger()] == ["relayed"] * 3
        assert await house.events() == ["attempt", "attempt"]

    with_house(work)


def test_some_taken_some_not_some_later() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, CARL, "eve@remote.example")
        await asyncio.sleep(5)
        assert await house.rows() == [("remote.example", 1, 1, 0)]
        await house.settled(200)
        assert house.attempts.addresses == [[BOB, CARL, "eve@remote.example"], [CARL]]
        assert await house.ledger() == [
            f"submission <ana@mx.example> {BOB} relayed",
            f"submission <ana@mx.example> {CARL} relayed",
            "submission <ana@mx.example> eve@remote.example returned",
            "bounce <> ana@mx.example stored",
        ]

    plan = planned(carl=[BUSY, TAKEN])
    plan.plan["eve@remote.example"] = [NO]
    with_house(work, attempts=plan)


def test_given_up_after_the_plan() -> None:
    async def work(house: Whole) -> None:
        start = asyncio.get_running_loop().time()
        await house.accept(BOB)
        await house.settled(400)
        assert len(house.attempts.made) == 3  # at once, and twice a minute later
        assert 100 < asyncio.get_running_loop().time() - start < 150
        assert (await house.ledger())[-1] == "bounce <> ana@mx.example stored"

    with_house(work, attempts=planned(bob=[BUSY]))


def test_a_black_hole_keeps_only_its_own_jobs_waiting() -> None:
    async def work(house: Whole) -> None:
        house.attempts.gates["remote.example"] = asyncio.Event()
        for _ in range(5):
            await house.accept(BOB)
        await house.accept(DORA)
        await asyncio.sleep(1)
        assert [row for row in await house.rows() if row[0] == "other.example"] == []
        assert house.attempts.running["remote.example"] == 2
        house.attempts.gates["remote.example"].set()
        await house.settled(20)
        assert house.attempts.most["remote.example"] == 2
        assert len(house.attempts.made) == 6

    with_house(work, per_destination_concurrency=2)


@pytest.mark.parametrize(("wait", "read"), [(1.0, 0), (30.0, 1)])
def test_what_found_no_place_a_moment_ago_is_not_read_back(wait: float, read: int) -> None:
    async def work(house: Whole) -> None:
        looked: list[int] = []
        content = house.built.bodies.content

        def counted(tx: Tx, id: int) -> Any:
            looked.append(id)
            return content(tx, id)

        house.built.bodies.content = counted  # type: ignore[method-assign]
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        for _ in range(2):
            await house.accept(BOB, CARL)
        await asyncio.sleep(wait)
        gate.set()
        await house.settled(20)
        assert house.attempts.addresses == [[BOB, CARL], [BOB, CARL]]
        assert len(looked) == read
        house.built.bodies.content = content  # type: ignore[method-assign]

    with_house(work, per_destination_concurrency=1)


def test_all_destinations_together_are_bounded() -> None:
    async def work(house: Whole) -> None:
        names = [f"d{n}.example" for n in range(6)]
        for name in names:
            house.attempts.gates[name] = asyncio.Event()
            await house.accept(f"bob@{name}")
        await asyncio.sleep(20)
        assert sum(house.attempts.running.values()) == 3
        for name in names:
            house.attempts.gates[name].set()
        await house.settled(20)

    with_house(work, concurrency=3)


def test_claims_are_released_when_the_unit_fails() -> None:
    async def work(house: Whole) -> None:
        house.store.failing = StoreFull("no space")
        for _ in range(3):
            with pytest.raises(StoreFull):
                await house.accept(BOB, DORA)
        house.store.failing = None
        await house.accept(BOB)
        assert (await house.rows())[0][3] == 1  # leased by its own acceptance
        await house.settled(1)

    with_house(work, per_destination_concurrency=1)


def test_what_was_accepted_though_nobody_was_told_is_sent_at_once() -> None:
    """The answer to COMMIT got lost: the rows are leased, and nobody works on them."""

    async def work(house: Whole) -> None:
        house.store.losing_answers = True
        with pytest.raises(StoreUncertain):
            await house.accept(BOB, DORA)
        house.store.losing_answers = False
        await house.settled(2)

    with_house(work)


def test_a_lease_that_nobody_was_told_of_is_taken_again_at_once() -> None:
    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        for _ in range(2):  # the second waits for the first
            await house.accept(BOB)
        house.store.losing_answers = True
        gate.set()
        await asyncio.sleep(2)
        house.store.losing_answers = False
        await house.settled(2)

    with_house(work, per_destination_concurrency=1)


def test_claims_are_released_when_a_report_cannot_be_prepared() -> None:
    async def work(house: Whole) -> None:
        bodies = house.built.bodies
        original, calls = bodies.from_bytes, []

        async def failing(data: bytes) -> Any:
            calls.append(data)
            if len(calls) == 2:  # the first is the message itself
                raise OSError(28, "no space")
            return await original(data)

        bodies.from_bytes = failing  # type: ignore[method-assign]
        wish = Recipient("eva@mx.example", frozenset({"SUCCESS"}))
        with pytest.raises(OSError, match="no space"):
            await house.accept(wish, BOB)
        await house.accept(BOB)
        assert (await house.rows())[0][3] == 1
        await house.settled(1)

    with_house(work, per_destination_concurrency=1)


def test_a_lease_is_renewed_while_its_attempt_lasts() -> None:
    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        await house.accept(BOB)
        await asyncio.sleep(4 * LEASE_SECONDS)
        assert len(house.attempts.made) == 1
        gate.set()
        await house.settled(1)

    with_house(work)


def test_a_late_outcome_changes_nothing_and_is_told() -> None:
    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        await house.accept(BOB)
        await asyncio.sleep(1)

        def stolen(tx: Tx) -> None:
            tx.run("UPDATE queue SET lease = 1, due = due + 100000000")

        await house.store.run(stolen)
        gate.set()
        await asyncio.sleep(1)
        assert await house.rows() == [("remote.example", 0, 0, 1)]
        assert await house.events() == ["late-outcome"]
        assert (await house.ledger())[0].endswith("open")

    with_house(work, attempts=planned(bob=[NO]))


def test_no_space_while_an_outcome_is_recorded() -> None:
    """The other side has it: it must not be sent once more."""

    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        await house.accept(BOB, CARL)
        await asyncio.sleep(1)
        house.store.failing = StoreFull("no space")
        gate.set()
        await asyncio.sleep(30)
        house.store.failing = None
        await house.settled(5)
        assert len(house.attempts.made) == 1
        assert [line.split()[-1] for line in await house.ledger()][:2] == ["relayed", "returned"]

    with_house(work, attempts=planned(carl=[NO]))


def test_no_space_for_the_bounce() -> None:
    async def work(house: Whole) -> None:
        bodies = house.built.bodies
        original, failed = bodies.from_bytes, []

        async def failing(data: bytes) -> Any:
            if b"delivery-status" in data and len(failed) < 3:
                failed.append(data)
                raise OSError(28, "no space")
            return await original(data)

        bodies.from_bytes = failing  # type: ignore[method-assign]
        await house.accept(BOB, CARL)
        await house.settled(30)
        assert len(failed) == 3
        assert len(house.attempts.made) == 1

    with_house(work, attempts=planned(carl=[NO]))


def test_a_refusal_of_the_schema_is_not_tried_for_ever() -> None:
    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        await house.accept(BOB)
        await asyncio.sleep(1)
        house.store.failing = StoreConflict("a bug")
        gate.set()
        await asyncio.sleep(1)
        house.store.failing = None
        assert not house.queue._jobs
        assert not house.queue._flow.active

    with_house(work, errors=True)


def test_a_lost_body_does_not_keep_the_others() -> None:
    async def work(house: Whole) -> None:
        plan = house.attempts.plan
        plan[BOB] = plan[DORA] = [BUSY, TAKEN]
        await house.accept(BOB, message=b"Subject: lost\r\n\r\n")
        await house.accept(BOB)
        await house.accept(DORA)
        await asyncio.sleep(1)

        def lose(tx: Tx) -> Any:
            id = tx.value("SELECT body FROM acceptance ORDER BY id LIMIT 1")
            row = tx.row("SELECT id, data FROM body_data WHERE id = ?", (id,))
            tx.run("DELETE FROM body_data WHERE id = ?", (id,))
            return row

        lost = await house.store.run(lose)
        await asyncio.sleep(100)
        assert [row[0] for row in await house.rows()] == ["remote.example"]

        def found(tx: Tx) -> None:
            tx.run("INSERT INTO body_data (id, data) VALUES (?, ?)", lost)

        await house.store.run(found)  # put back by an administrator
        await house.settled(LEASE_SECONDS + 100)

    with_house(work, errors=True)


def test_a_fault_of_ours_does_not_end_the_queue() -> None:
    async def work(house: Whole) -> None:
        house.attempts.plan[BOB] = [BUSY, TAKEN]
        await house.accept(BOB)
        await asyncio.sleep(40)

        def broken() -> None:
            raise ZeroDivisionError

        house.store.before = broken
        await asyncio.sleep(60)
        house.store.before = None
        await house.settled(20)

    with_house(work, errors=True)


def test_an_attempt_that_fails_by_a_fault_of_ours_counts() -> None:
    """Else it would come again for ever, and nobody would hear of it."""

    async def work(house: Whole) -> None:
        calls: list[str] = []

        async def broken(destination: str, *rest: Any) -> Any:
            calls.append(destination)
            raise ZeroDivisionError

        house.attempts.attempt = broken  # type: ignore[method-assign]
        await house.accept(BOB)
        await house.settled(400)
        assert len(calls) == 3
        assert [line.split()[-1] for line in await house.ledger()] == ["returned", "stored"]

    with_house(work, errors=True)


def test_a_domain_that_became_ours() -> None:
    async def work(house: Whole) -> None:
        await house.accept(BOB, CARL)
        await asyncio.sleep(1)

        def unit(tx: Tx) -> None:
            accounts.add_domain(tx, "remote.example", 0)
            accounts.add_account(tx, BOB, 0)

        await house.store.run(unit)
        await house.settled(200)
        assert sorted(await house.ledger()) == [
            f"alias <ana@mx.example> {BOB} stored",
            "bounce <> ana@mx.example stored",
            f"submission <ana@mx.example> {BOB} expanded",
            f"submission <ana@mx.example> {CARL} returned",
        ]
        assert len(house.attempts.made) == 1

    with_house(work, attempts=planned(bob=[BUSY], carl=[BUSY]))


def test_a_target_of_an_alias_that_is_not_there() -> None:
    async def work(house: Whole) -> None:
        await house.accept("half@mx.example")
        await house.settled(20)
        assert await house.ledger() == [
            "submission <ana@mx.example> half@mx.example expanded",
            "alias <ana@mx.example> ana@mx.example stored",
            "alias <ana@mx.example> gone@mx.example returned",
            "bounce <> ana@mx.example stored",
        ]
        assert house.attempts.made == []

    with_house(work)


def test_a_stop_finishes_what_has_begun_and_takes_nothing_new() -> None:
    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        house.attempts.sent_early.add("remote.example")
        await house.accept(BOB)
        await asyncio.sleep(1)
        stopping = asyncio.create_task(house.built.sender.stop())
        await asyncio.sleep(1)
        await house.accept(DORA)
        await asyncio.sleep(20)
        assert not stopping.done()
        gate.set()
        await stopping
        assert await house.rows() == [("other.example", 0, 0, 0)]
        assert house.attempts.addresses == [[BOB]]

    with_house(work)


def test_a_stop_soon_cuts_what_a_cut_costs_nothing() -> None:
    async def work(house: Whole) -> None:
        gate = house.attempts.gates["remote.example"] = asyncio.Event()
        house.attempts.gates["other.example"] = asyncio.Event()
        house.attempts.sent_early.add("remote.example")
        await house.accept(BOB, DORA)
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        house.queue.drain()
        began = loop.time()
        stopping = asyncio.create_task(house.queue.stop())
        await asyncio.sleep(STOP_GRACE_SECONDS - 0.1)
        assert house.attempts.running == {"remote.example": 1, "other.example": 1}
        await asyncio.sleep(0.2)
        assert house.attempts.running == {"remote.example": 1, "other.example": 0}
        gate.set()
        await stopping
        assert loop.time() - began < STOP_GRACE_SECONDS + 1
        assert await house.rows() == [("other.example", 1, 0, 0)]
        assert await house.events() == ["attempt"]  # the one that was cut is none

    with_house(work)


def test_a_stop_that_cannot_wait_gives_the_rows_back() -> None:
    async def work(house: Whole) -> None:
        house.attempts.gates["remote.example"] = asyncio.Event()
        house.attempts.sent_early.add("remote.example")
        await house.accept(BOB)
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await house.queue.stop()
        assert await house.rows() == [("remote.example", 0, 0, 0)]
        assert not house.queue._jobs

    with_house(work)


def test_leases_of_a_former_run_are_given_back_once_the_store_can() -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, _):
            await house.accept(BOB)
            assert await house.rows() == [("remote.example", 0, 0, 0)]  # nobody to take it

            def former(tx: Tx) -> None:
                tx.run("UPDATE queue SET lease = 1, due = due + 900000")

            await house.store.run(former)
            house.store.failing = StoreError("busy")
            await house.built.sender.start()
            await asyncio.sleep(10)
            assert house.queue.claim("remote.example") is None
            house.store.failing = None
            await house.settled(10)
            await house.built.sender.stop()

    with quiet() as logged:
        run(main())
    assert not logged.lines
