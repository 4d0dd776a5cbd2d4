"""Five virtual days in seconds: tries when the plan says, given up just then, and a host without
time left alone by all messages but one."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from tests.sim.days import DAY, HOUR, MINUTE, Days, play

from estafeta.office.config import Queue as QueueSetting
from estafeta.office.config import QueueDomain
from estafeta.queue.limits import OPENINGS_UNPROVEN_MAX
from estafeta.queue.plan import JITTER

SLACK = 6.0
"""Seconds by which an attempt may come later than it is due: a look's, an attempt's own time."""


def follows(tries: list[float], waits: list[float], end: float) -> None:
    """Whether the attempts keep to a plan, one last try at its end."""
    assert tries[0] < SLACK
    for n, (before, after) in enumerate(pairwise(tries)):
        wait = waits[min(n, len(waits) - 1)]
        if after >= end:
            continue
        assert wait * (1 - JITTER) <= after - before <= wait * (1 + JITTER) + SLACK, (n, tries)
    assert end <= tries[-1] <= end + SLACK


def test_the_usual_plan_over_five_days() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer("451-at-dot")
        id = await days.send("bob@b.example")
        await asyncio.sleep(5 * DAY + HOUR)
        tries = await days.attempts(id)
        minutes = [5, 10, 20, 40, 60, 120, 240, 360]
        follows(tries, [wait * MINUTE for wait in minutes], 5 * DAY)
        assert len(peer.times) == len(tries) > 25
        fate, after = await days.fate(id)
        assert fate == "returned"
        assert 5 * DAY <= after <= 5 * DAY + SLACK
        assert await days.rows() == 0

    play(act)


@pytest.mark.parametrize("mood", ["busy", "mute", "shut"])
def test_the_plan_is_kept_by_a_message_alone_with_a_host_without_time(mood: str) -> None:
    """Its host's back-off does not come in its way."""

    async def act(days: Days) -> None:
        await days.peer(mood)  # type: ignore[arg-type]
        id = await days.send("bob@b.example")
        await asyncio.sleep(5 * DAY + HOUR)
        tries = await days.attempts(id)
        took = 601.0 if mood == "mute" else 0.0  # it waits for a greeting
        waits = [wait * MINUTE for wait in (5, 10, 20, 40, 60, 120, 240, 360)]
        for n, (before, after) in enumerate(pairwise(tries[:-1])):
            wait = waits[min(n, len(waits) - 1)]
            assert wait * (1 - JITTER) <= after - before <= wait * (1 + JITTER) + SLACK + took
        assert tries[-1] >= 5 * DAY
        assert (await days.fate(id))[0] == "returned"

    play(act)


def test_a_plan_of_seconds_is_not_stretched_by_the_back_off_of_its_host() -> None:
    async def act(days: Days) -> None:
        await days.peer("busy")
        id = await days.send("bob@b.example")
        await asyncio.sleep(10 * MINUTE)
        tries = await days.attempts(id)
        for before, after in pairwise(tries[:-1]):
            assert 9.0 <= after - before <= 11.0 + 1
        assert len(tries) > 25

    play(act, QueueSetting(retry=[10.0], repeat=10.0, give_up_after=5 * MINUTE))


def test_a_permanent_failure_is_never_tried_again() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer("554-at-dot")
        other = await days.peer("unwilling", at="192.0.2.11", name="c.example")
        ids = [await days.send(f"bob@{name}.example") for name in ("b", "c")]
        await asyncio.sleep(5 * DAY)
        assert (len(peer.times), len(other.times)) == (1, 1)
        for id in ids:
            fate, after = await days.fate(id)
            assert fate == "returned"
            assert after < SLACK

    play(act)


def test_a_thousand_messages_for_a_busy_host_cause_no_more_probes_than_its_back_off_allows() -> (
    None
):
    async def act(days: Days) -> None:
        peer = await days.peer("busy")
        ids = [await days.send(f"p{n}@b.example") for n in range(1000)]
        await asyncio.sleep(5 * DAY + HOUR)
        # At first, before it had said anything; then after 1, 2, 4 … minutes and every hour.
        allowed = OPENINGS_UNPROVEN_MAX + 6 + int(5 * 24 / (1 - JITTER)) + 1
        assert len(peer.times) <= allowed
        assert len(peer.times) >= 100  # and was not forgotten either
        probes = peer.times[OPENINGS_UNPROVEN_MAX:]
        for n, (before, after) in enumerate(pairwise(probes)):
            assert after - before >= min(2 ** (n + 1), 60) * MINUTE * (1 - JITTER) - 1
        assert await days.fates() == {"returned": 1000}
        assert await days.rows() == 0
        attempts = [len(await days.attempts(id)) for id in ids]
        assert sum(attempts) <= len(peer.times) + 1000  # each was given up by one of its own
        for id in ids:
            _, after = await days.fate(id)
            assert 5 * DAY <= after <= 5 * DAY + 3 * MINUTE

    play(act)


def test_what_waits_goes_out_at_once_when_its_host_has_time_again() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer("busy")
        other = await days.peer(at="192.0.2.11", name="c.example")
        for n in range(200):
            await days.send(f"p{n}@b.example")
        await asyncio.sleep(3 * HOUR)
        before = len(peer.times)
        assert before <= OPENINGS_UNPROVEN_MAX + 9
        id = await days.send("eve@c.example")  # who waits keeps nobody else
        await asyncio.sleep(SLACK)
        assert (await days.fate(id))[0] == "relayed"
        assert len(other.taken) == 1
        peer.be("well")
        began = days.now
        while await days.rows():
            await asyncio.sleep(1)
        assert days.now - began <= HOUR * (1 + JITTER) + MINUTE
        assert len(peer.taken) == 200
        assert await days.fates() == {"relayed": 201}
        gone_out = [taken.at for taken in peer.taken]
        assert max(gone_out) - min(gone_out) < MINUTE

    play(act)


def test_domains_of_one_host_wait_together() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer("busy")
        names = [f"d{n}.example" for n in range(100)]
        for name in names:
            days.domain(name, mx="mx.b.example.")
            await days.send(f"bob@{name}")
        await asyncio.sleep(DAY)
        assert len(peer.times) <= OPENINGS_UNPROVEN_MAX + 6 + int(24 / (1 - JITTER)) + 1
        waiting = await days.read(lambda tx: tx.rows("SELECT DISTINCT waits_for FROM destination"))
        assert waiting == [("mx.b.example",)]
        peer.manner = type(peer.manner)()
        peer.domains = (*peer.domains, *names)
        await asyncio.sleep(HOUR * (1 + JITTER) + MINUTE)
        assert await days.fates() == {"relayed": 100}
        assert await days.read(lambda tx: tx.value("SELECT COUNT(*) FROM backoff")) == 0

    play(act)


def test_two_workers_share_one_probe() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer("busy")
        for n in range(200):
            await days.send(f"p{n}@b.example", worker=n % 2)
        await asyncio.sleep(12 * HOUR)
        # Each worker has its own beginning.
        assert len(peer.times) <= 2 * OPENINGS_UNPROVEN_MAX + 6 + int(12 / (1 - JITTER)) + 1
        peer.be("well")
        await asyncio.sleep(HOUR * (1 + JITTER) + MINUTE)
        assert await days.fates() == {"relayed": 200}

    play(act, workers=2)


def test_a_restart_forgets_nothing() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer("busy")
        for n in range(50):
            await days.send(f"p{n}@b.example")
        await asyncio.sleep(2 * HOUR)
        before = len(peer.times)
        for _ in range(5):
            days.ours.stop()
            await asyncio.sleep(MINUTE)
            await days.ours.serving.wait()
        assert len(peer.times) <= before + 1
        peer.be("well")
        await asyncio.sleep(HOUR * (1 + JITTER) + MINUTE)
        assert await days.fates() == {"relayed": 50}

    play(act)


def test_a_list_and_a_number_end_it_also_for_those_that_wait() -> None:
    """Only the list sets an end; who is behind the host is given up when it would be over."""

    async def act(days: Days) -> None:
        await days.peer("busy")
        for n in range(40):
            await days.send(f"p{n}@b.example")
        await asyncio.sleep(3 * 10 * MINUTE * (1 + JITTER) + 3 * MINUTE)
        assert await days.fates() == {"returned": 40}

    play(act, QueueSetting(retry=[10 * MINUTE] * 3, repeat=0.0, give_up_after=0.0))


def test_domains_have_plans_of_their_own() -> None:
    settings = QueueSetting(
        domains=[
            QueueDomain(domain="b.example", retry=[MINUTE], repeat=10 * MINUTE, give_up_after=HOUR),
            QueueDomain(domain=".b.example", retries_max=2),
        ]
    )

    async def act(days: Days) -> None:
        await days.peer("451-at-dot")
        await days.peer("451-at-dot", at="192.0.2.11", name="sub.b.example")
        first = await days.send("bob@b.example")
        second = await days.send("bob@sub.b.example")
        await asyncio.sleep(2 * HOUR)
        follows(await days.attempts(first), [MINUTE, 10 * MINUTE], HOUR)
        assert (await days.fate(first))[0] == "returned"
        assert len(await days.attempts(second)) == 3
        assert (await days.fate(second))[0] == "returned"

    play(act, settings)


def test_a_greylist_is_passed_when_it_says_and_as_was_learnt() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer()
        peer.manner = type(peer.manner)(greylists=True)  # 90 s, and says nothing of it
        ids = []
        for n in range(2):
            ids.append(await days.send(f"p{n}@b.example"))
            await asyncio.sleep(HOUR)
        first, second = [await days.attempts(id) for id in ids]
        assert len(first) == len(second) == 2
        assert 4.5 * MINUTE <= first[1] <= 5.5 * MINUTE + SLACK
        # No sooner: what passed then was not less.
        assert first[1] - SLACK <= second[1] <= first[1] * (1 + JITTER) + SLACK
        assert await days.fates() == {"relayed": 2}

    play(act)


def test_a_domain_with_a_rate() -> None:
    async def act(days: Days) -> None:
        peer = await days.peer()
        for n in range(60):
            await days.send(f"p{n}@b.example")
        await asyncio.sleep(4 * MINUTE)
        assert len(peer.taken) == pytest.approx(42, abs=3)  # 10 a minute, and a moment's worth
        await asyncio.sleep(3 * MINUTE)
        assert await days.fates() == {"relayed": 60}

    play(act, QueueSetting(domains=[QueueDomain(domain="b.example", rate=10)]))


def test_the_sender_is_told_once_of_a_delay_also_who_waits_behind_others() -> None:
    async def act(days: Days) -> None:
        await days.peer("busy")
        await days.peer("451-at-dot", at="192.0.2.11", name="c.example")
        ids = [await days.send(f"p{n}@b.example") for n in range(20)]
        ids.append(await days.send("bob@c.example"))
        await asyncio.sleep(3.9 * HOUR)
        assert await days.children(ids) == [[]] * 21
        await asyncio.sleep(5 * DAY)
        told = [("delay", 4 * HOUR), ("bounce", 5 * DAY)]
        for children in await days.children(ids):
            assert [kind for kind, _ in children] == [kind for kind, _ in told]
            for (_, at), (_, wanted) in zip(children, told, strict=True):
                assert wanted <= at <= wanted + 3 * MINUTE

    play(act)
