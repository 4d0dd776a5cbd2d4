"""Expired: who grew too old behind a host without time is found, whatever else waits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.mail.outcome import Deferred, Reply
from estafeta.queue import backoff, expired, rows
from estafeta.queue.plan import DomainRules, RetryPlan, Rules
from estafeta.store.engine import Tx
from estafeta.store.rows import Acceptance

pytestmark = pytest.mark.usefixtures("each_engine")

DAY = 86_400_000
BUSY = Deferred(Reply(421, "4.3.2", "busy"), "server-busy")
HOST = "mx.b.example"
USUAL = DomainRules(RetryPlan(give_up_after=5 * 86400))
RULES = Rules(USUAL, {"long.example": DomainRules(RetryPlan(give_up_after=9 * 86400))})


def block(tx: Tx, *names: str) -> None:
    backoff.note(tx, backoff.Seen(HOST, BUSY, lambda _: DAY, 1), 1)
    for name in names:
        backoff.after(tx, name, "", [HOST])


def take(
    stand: Stand, tokens: Iterator[int], after: expired.Place = expired.START, most: int = 100
) -> Any:
    now = stand.clock.ms

    def unit(tx: Tx) -> expired.Found:
        return expired.take(
            tx, after, RULES, now=now, until=now + 9, tokens=tokens, recipients_max=most
        )

    return stand.run(unit)


async def accepted(stand: Stand, *names: str, count: int = 1) -> list[Acceptance]:
    """Messages for these domains, six days old when it is done."""
    found = []
    for _ in range(count):
        found.append(await stand.accept(*((f"x{n}@{d}", None) for n, d in enumerate(names))))
        stand.clock.ms += 1000
    return found


def test_nobody_waits(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await accepted(stand, "b.example")
        assert not await stand.read(expired.anybody)
        stand.clock.ms += 6 * DAY
        assert (await take(stand, count(1))).jobs == []  # due all the same: the usual way
        await stand.run(lambda tx: block(tx, "b.example"))
        assert await stand.read(expired.anybody)
        found = await take(stand, count(1))
        assert len(found.jobs) == 1
        assert found.after is None

    with_stand(tmp_path, work)


def test_those_and_only_those_that_are_too_old(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        old = await accepted(stand, "b.example", "b.example", "long.example", "free.example")
        stand.clock.ms += 6 * DAY
        await accepted(stand, "b.example")
        await stand.run(lambda tx: block(tx, "b.example", "long.example"))
        found = await take(stand, count(7))
        assert [(j.token, j.acceptance, j.destination, j.numbers) for j in found.jobs] == [
            (7, old[0].id, "b.example", (0, 1))
        ]
        assert (await take(stand, count(8))).jobs == []  # they are leased
        stand.clock.ms += 4 * DAY
        long = (await take(stand, count(9))).jobs
        assert [job.destination for job in long] == ["long.example"]

    with_stand(tmp_path, work)


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired, "EXPIRED_ROWS", 3)

    async def work(stand: Stand) -> None:
        long = await accepted(stand, "long.example", count=4)
        some = await accepted(stand, "b.example", "b.example", count=5)
        stand.clock.ms += 6 * DAY
        await stand.run(lambda tx: block(tx, "b.example", "long.example"))
        tokens, after, jobs = count(1), expired.START, []
        looks = 0
        while after is not None:
            found = await take(stand, tokens, after)
            after, looks = found.after, looks + 1
            jobs += found.jobs
        assert looks == 5
        numbers = sorted((job.acceptance, n) for job in jobs for n in job.numbers)
        assert numbers == [(each.id, n) for each in some for n in (0, 1)]
        assert {each.id for each in long}.isdisjoint(job.acceptance for job in jobs)

    with_stand(tmp_path, work)


def test_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await accepted(stand, "b.example", count=5)
        stand.clock.ms += 6 * DAY
        await stand.run(lambda tx: block(tx, "b.example"))
        first = await take(stand, iter([1, 2]))
        assert len(first.jobs) == 2
        assert first.after is not None
        rest = await take(stand, count(3), first.after)
        assert (len(rest.jobs), rest.after) == (3, None)

    with_stand(tmp_path, work)


def test_recipients_of_one_message_go_together_up_to_the_most(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await accepted(stand, *["b.example"] * 5)
        stand.clock.ms += 6 * DAY
        await stand.run(lambda tx: block(tx, "b.example"))
        found = await take(stand, count(1), most=2)
        assert [job.numbers for job in found.jobs] == [(0, 1), (2, 3), (4,)]

    with_stand(tmp_path, work)


def test_who_is_held_is_left_alone(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await accepted(stand, "b.example")
        stand.clock.ms += 6 * DAY

        def hold(tx: Tx) -> None:
            block(tx, "b.example")
            tx.run("UPDATE queue SET held = 'x', due = ?", (rows.NEVER,))

        await stand.run(hold)
        assert (await take(stand, count(1))).jobs == []

    with_stand(tmp_path, work)
