"""Returns: who failed at different destinations of one message comes back in one bounce, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.queue.test_notices import NEVER, Bounce
from tests.support.whole import Attempts, Whole, whole

from estafeta.mail.dates import parse_date
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Delivered, Refused, Reply
from estafeta.queue import returns, rows
from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet
from estafeta.store import accounts
from estafeta.store.engine import StoreFull

pytestmark = pytest.mark.usefixtures("each_engine")

ONE, TWO, THREE = "a@one.example", "b@two.example", "c@three.example"
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.example.net")
BUSY = Deferred(Reply(450, "4.3.2", "busy"), "server-busy", "mx.example.net")
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), "mx.example.net", reports=True)


def with_house(
    work: Callable[[Whole], Awaitable[Any]], *slow: str, logged: bool = False, **plan: Any
) -> None:
    """plan: outcomes by destination without its ending; slow: those whose attempts wait."""
    outcomes = {
        each: plan.get(each.partition("@")[2].partition(".")[0], [TAKEN])
        for each in (ONE, TWO, THREE)
    }

    async def main() -> None:
        gates = {f"{name}.example": asyncio.Event() for name in slow}
        attempts = Attempts(plan=outcomes, gates=gates)
        async with whole(attempts=attempts, retry=[5.0], repeat=0.0) as (house, _):
            await asyncio.sleep(0.1)
            await work(house)
            await house.settled(1000)
            await house.balanced()

    with quiet() as lines:
        run(main())
    assert logged or not lines.lines


async def bounces(house: Whole) -> list[list[str]]:
    """Recipients of each."""
    found = [Bounce(each) for each in await house.inbox("ana")]
    return [[r["Final-Recipient"].removeprefix("rfc822; ") for r in b.recipients] for b in found]


async def fates(house: Whole) -> list[str]:
    return [line.split()[-1] for line in await house.ledger() if line.startswith("submission")]


async def waiting(house: Whole) -> list[int]:
    """Numbers of those that are returning."""
    return [n for destination, n, _, _ in await house.rows() if destination == rows.RETURNING]


def let(house: Whole, name: str) -> None:
    house.attempts.gates[f"{name}.example"].set()


def test_all_that_failed_are_in_one() -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO, THREE)
        await asyncio.sleep(1)
        assert await waiting(house) == [0, 2]
        assert await fates(house) == ["open"] * 3
        assert not await bounces(house)
        let(house, "two")
        await asyncio.sleep(1)
        assert await bounces(house) == [[ONE, TWO, THREE]]
        assert await fates(house) == ["returned"] * 3
        assert await house.events() == ["attempt", "attempt", "attempt", "returned"]

    with_house(work, "two", one=[NO], two=[NO], three=[NO])


def test_who_is_told_reads_of_each_what_its_own_server_said() -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO, THREE)
        await asyncio.sleep(1)
        let(house, "two")
        await asyncio.sleep(1)
        (found,) = await house.inbox("ana")
        b = Bounce(found)
        assert [r["Diagnostic-Code"] for r in b.recipients] == [
            "smtp; 550 5.1.1 no such user",
            "smtp; 552 5.3.4 too large",
        ]
        assert [r["X-Estafeta-Attempts"] for r in b.recipients] == ["1", "1"]
        assert "Not delivered to 2 of your recipients" in b.whole["Subject"]
        assert THREE not in b.text

    large = Refused(Reply(552, "5.3.4", "too large"), "message-too-large", "mx.two.example")
    with_house(work, "two", one=[NO], two=[large])


@pytest.mark.parametrize("last", [TAKEN, BUSY])
def test_the_last_one_returns_the_others_whatever_became_of_it(last: Any) -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO)
        await asyncio.sleep(1)
        assert await waiting(house) == [0]
        let(house, "two")
        await asyncio.sleep(1)
        assert await bounces(house) == [[ONE]]

    with_house(work, "two", one=[NO], two=[last, TAKEN])


def test_they_wait_for_a_minute_and_not_longer() -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO, THREE)
        await asyncio.sleep(55)
        assert not await bounces(house)
        await asyncio.sleep(15)
        assert await bounces(house) == [[ONE, THREE]]
        assert (await fates(house))[1] == "open"
        let(house, "two")
        await asyncio.sleep(1)
        assert await bounces(house) == [[ONE, THREE], [TWO]]

    with_house(work, "two", one=[NO], two=[NO], three=[NO])


def test_nobody_waits_for_who_is_tried_again_later() -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO)
        await asyncio.sleep(1)
        assert await bounces(house) == [[ONE]]
        await asyncio.sleep(10)
        assert await bounces(house) == [[ONE], [TWO]]

    with_house(work, one=[NO], two=[BUSY, NO])


def test_given_up_together_is_in_one() -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO)
        await asyncio.sleep(30)
        (found,) = await house.inbox("ana")
        b = Bounce(found)
        assert [r["X-Estafeta-Attempts"] for r in b.recipients] == ["2", "2"]
        assert {r["Status"] for r in b.recipients} == {"5.3.2"}

    with_house(work, one=[BUSY], two=[BUSY])


def test_who_is_not_to_be_told_does_not_wait() -> None:
    async def work(house: Whole) -> None:
        await house.accept(Recipient(ONE, NEVER), TWO)
        await asyncio.sleep(1)
        assert await fates(house) == ["notify-never", "open"]
        let(house, "two")

    with_house(work, "two", one=[NO])


def test_a_message_in_one_job_returns_in_its_unit_of_outcome() -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE)
        await asyncio.sleep(1)
        assert await house.events() == ["attempt"]
        assert await bounces(house) == [[ONE]]

    with_house(work, one=[NO])


LARGE = Refused(Reply(552, "5.3.4", "too large"), "message-too-large", "mx.two.example")


@pytest.mark.parametrize(("other", "reasons"), [(NO, 1), (LARGE, 2)])
def test_an_alias_is_named_once_for_each_reason(other: Refused, reasons: int) -> None:
    async def work(house: Whole) -> None:
        for target in (ONE, TWO):
            await house.store.run(
                lambda tx, target=target: accounts.add_alias(tx, "far@mx.example", target)
            )
        await house.accept(Recipient("far@mx.example", orcpt="x400;/c=es"))
        await asyncio.sleep(1)
        let(house, "two")
        await asyncio.sleep(1)
        (found,) = await house.inbox("ana")
        b = Bounce(found)
        assert [r["Final-Recipient"] for r in b.recipients] == ["rfc822; far@mx.example"] * reasons
        assert b.whole["Subject"] == "Not delivered to far@mx.example"
        assert await fates(house) == ["expanded"]
        assert "one.example" not in b.text

    with_house(work, "two", one=[NO], two=[other])


def test_one_held_or_cancelled_meanwhile_is_not_returned() -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO, THREE)
        await asyncio.sleep(1)
        never = rows.NEVER
        await house.store.run(
            lambda tx: tx.run("UPDATE queue SET held = 'x', due = ? WHERE n = 2", (never,))
        )
        let(house, "two")
        await asyncio.sleep(1)
        assert await bounces(house) == [[ONE]]
        await house.store.run(
            lambda tx: [
                tx.run("UPDATE queue SET held = '', due = 0 WHERE n = 2"),
                rows.expect(tx, rows.RETURNING, 0),
                tx.hint(rows.HINT),
            ]
        )
        await asyncio.sleep(10)
        assert await bounces(house) == [[ONE], [THREE]]

    with_house(work, "two", one=[NO], three=[NO])


def test_a_worker_that_dies_leaves_them_to_who_comes() -> None:
    """All that a dead worker knew is in the rows."""

    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO)
        await asyncio.sleep(1)
        house.queue._errands._returns._waiting.clear()
        let(house, "two")
        await asyncio.sleep(1)
        assert await fates(house) == ["open", "relayed"]
        await asyncio.sleep(70)
        assert await bounces(house) == [[ONE]]

    with_house(work, "two", one=[NO])


def test_one_that_fails_elsewhere_takes_along_who_waits() -> None:
    """Another worker's job does not know of them, and finds them."""

    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO)
        await asyncio.sleep(1)
        house.queue._errands._returns._waiting.clear()
        let(house, "two")
        await asyncio.sleep(1)
        assert await bounces(house) == [[ONE, TWO]]

    with_house(work, "two", one=[NO], two=[NO])


def test_two_who_return_at_once_return_once() -> None:
    async def work(house: Whole) -> None:
        id = await house.accept(ONE, TWO, THREE)
        await asyncio.sleep(1)
        mine = house.queue._errands._returns
        other = returns.Returns(
            store=house.store,  # type: ignore[arg-type]
            ids=house.built.ids,
            world=house.world,
            acceptor=house.acceptor,
            notices=house.built._notices,
        )
        row = await house.store.read(lambda tx: returns.ledger.acceptance(tx, id))
        body = await house.store.read(lambda tx: house.built.bodies.content(tx, row.body))
        await asyncio.gather(mine.all(row, body), other.all(row, body), mine.all(row, body))
        assert await bounces(house) == [[ONE, THREE]]
        let(house, "two")

    with_house(work, "two", one=[NO], three=[NO])


@pytest.mark.parametrize("answers_lost", [False, True])
def test_once_whatever_the_store_does(answers_lost: bool) -> None:
    async def work(house: Whole) -> None:
        await house.accept(ONE, TWO)
        await asyncio.sleep(1)
        house.store.losing_answers = answers_lost
        house.store.failing = None if answers_lost else StoreFull("full")
        let(house, "two")
        await asyncio.sleep(5)
        house.store.losing_answers = False
        house.store.failing = None
        await asyncio.sleep(5)
        assert await bounces(house) == [[ONE, TWO]]
        assert await fates(house) == ["returned", "returned"]

    with_house(work, "two", one=[NO], two=[NO], logged=True)


def test_the_outcome_stands_in_the_row_as_in_any_other() -> None:
    async def work(house: Whole) -> None:
        id = await house.accept(ONE, TWO)
        await asyncio.sleep(1)
        found = await house.store.read(lambda tx: returns.returning(tx, id))
        assert found[0].outcome == NO
        assert found[0].attempts == 1
        let(house, "two")

    with_house(work, "two", one=[NO])


def test_when_it_was_tried_first_and_last_is_when_that_was() -> None:
    """Not when it was accepted, nor when it was given up."""

    async def work(house: Whole) -> None:
        id = await house.accept(ONE, TWO)
        await asyncio.sleep(1)
        found = await house.store.read(lambda tx: returns.returning(tx, id))
        row = await house.store.read(lambda tx: returns.ledger.acceptance(tx, id))
        assert row.at < found[0].first <= found[0].at < row.at + 1000
        await asyncio.sleep(30)
        let(house, "two")
        await asyncio.sleep(1)
        (message,) = await house.inbox("ana")
        first, second = Bounce(message).recipients
        tried = [parse_date(r["Last-Attempt-Date"]) or 0 for r in (first, second)]
        assert 30 <= tried[1] - tried[0] <= 32

    with_house(work, "two", one=[NO], two=[NO])
