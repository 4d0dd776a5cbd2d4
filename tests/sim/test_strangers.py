"""Floods, many networks, slow senders, restarts in the middle of greylisting, two workers: what
comes in stays within what is set, and who has done nothing is served meanwhile."""

from __future__ import annotations

import asyncio
import re
from functools import partial

import pytest
from tests.sim.strangers import (
    ANA,
    EVA,
    HOUR,
    MINUTE,
    Scene,
    Visit,
    network,
    play,
    settings,
)

from estafeta.deliver import greylist, letting
from estafeta.deliver.policy.book import Book
from estafeta.deliver.policy.rules import Rules
from estafeta.store import accounts
from estafeta.store.buckets import Limit
from estafeta.store.engine import Tx
from estafeta.store.limits import KNOCKS_MAX

WORKERS = [1, 2]
GREYLISTS = {"ours.example": Rules(greylist=True)}


def taken(visits: list[Visit]) -> int:
    return sum(visit.taken for visit in visits)


def slice_of(limit: Limit) -> int:
    """What a worker takes of a bucket before it asks (docs/limits.md, BUCKET_SLICES)."""
    return limit.burst // 8


def most(limit: Limit, seconds: float, workers: int) -> float:
    """What may come in, in so many seconds: the bucket, what flows in, and a slice for each further
    worker."""
    flow = limit.burst * seconds / limit.seconds
    return limit.burst + flow + (workers - 1) * slice_of(limit)


# -- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", WORKERS)
def test_a_flood_from_one_network(workers: int) -> None:
    limit = Limit(100, 60.0)

    async def act(scene: Scene) -> None:
        bad = [network(1, 1 + n) for n in range(180)]
        good = [network(2 + n) for n in range(50)]
        flood, others = await asyncio.gather(
            scene.flood(bad, ANA, within=0.5), scene.flood(good, ANA, within=5.0)
        )
        assert taken(others) == len(good)
        ended = max(visit.at for visit in flood)
        assert limit.burst <= taken(flood) <= most(limit, ended, workers)
        refused = {visit.answer for visit in flood if not visit.taken}
        assert all(answer.startswith("450 4.7.1 ") for answer in refused), refused
        later = await scene.flood(bad, ANA, within=60.0)
        ended = max(visit.at for visit in later)
        assert taken(flood) + taken(later) <= most(limit, ended, workers)
        assert taken(later) >= 0.9 * limit.burst  # what flows in is not lost on who asks in vain
        assert await scene.stored() == taken(flood) + taken(others) + taken(later)

    play(act, settings(rates={"network": "100/1m"}), workers=workers)


def test_who_waits_as_long_as_they_are_told_comes_in() -> None:
    async def act(scene: Scene) -> None:
        for _ in range(4):
            assert (await scene.visit(network(1), ANA)).taken
        refused = await scene.visit(network(1), ANA)
        found = re.search(r"in (\d+) seconds", refused.answer)
        assert found, refused
        assert 10 <= int(found[1]) <= 15
        await asyncio.sleep(int(found[1]))
        assert (await scene.visit(network(1), ANA)).taken

    play(act, settings(rates={"network": "4/1m"}))


@pytest.mark.parametrize("workers", WORKERS)
def test_many_networks_to_one_account(workers: int) -> None:
    """Each within what a network may; all together not beyond what an account gets."""
    limit = Limit(60, 60.0)

    async def act(scene: Scene) -> None:
        sources = [network(n) for n in range(200)]
        flood, other = await asyncio.gather(
            scene.flood(sources, ANA, within=30.0),
            scene.flood(sources[:40], EVA, within=30.0),
        )
        assert taken(other) == 40
        assert limit.burst <= taken(flood) <= most(limit, 31.0, workers)
        assert await scene.count("bucket") > 0
        await asyncio.sleep(5 * MINUTE)
        await scene.visit(network(999), EVA)  # somebody comes, and what is full is forgotten
        await asyncio.sleep(5)
        assert await scene.count("bucket") <= 4

    play(act, settings(rates={"network": "10/1m", "account": "60/1m"}), workers=workers)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("death", ["stop", "crash", "power"])
def test_a_limit_outlives_deaths(death: str, workers: int) -> None:
    """A clean stop forgets nothing; a death what a worker had not told: less than a slice."""
    limit = Limit(80, 3600.0)

    async def act(scene: Scene) -> None:
        sources = [network(1, 1 + n) for n in range(120)]
        first = await scene.flood(sources[:40], ANA, within=3.0)
        await asyncio.sleep(2)
        last = await scene.flood(sources[:7], ANA)  # of which nobody has told anybody
        await die(scene, death)
        second = await scene.flood(sources, ANA, within=2.0)
        forgotten = 0 if death == "stop" else len(last)
        total = taken(first) + taken(last) + taken(second)
        assert limit.burst <= total <= most(limit, scene.now, workers) + forgotten

    play(act, settings(rates={"network": "80/1h"}), workers=workers)


async def die(scene: Scene, death: str) -> None:
    """Returns once it serves again."""
    machine = scene.machine
    if death == "stop":
        scene.home.stop()
    else:
        scene.home.serving.clear()
        machine.crash() if death == "crash" else machine.power_loss()
        await asyncio.sleep(1)
        machine.restart()
    await scene.home.serving.wait()
    await asyncio.sleep(2)


@pytest.mark.parametrize("workers", WORKERS)
def test_guessing_addresses(workers: int) -> None:
    """Who guesses is told of some that nobody has, then of no address whether it is there."""
    limit = Limit(16, 3600.0)

    async def act(scene: Scene) -> None:
        told = hidden = 0
        for n in range(100):
            answer = (await scene.visit(network(1, 1 + n), f"guess{n}@ours.example")).answer
            told += answer.startswith("550 5.1.1")
            hidden += answer.startswith("421 4.7.0")
        assert told + hidden == 100
        assert limit.burst <= told <= most(limit, scene.now, workers)
        known = await scene.visit(network(1, 200), ANA)
        assert known.answer.startswith("421 4.7.0")
        other = await scene.visit(network(2), ANA, "guess@ours.example")
        assert [answer[:3] for answer in other.answers] == ["250", "550"]

    play(act, settings(rates={"unknown_recipients": "16/1h"}), workers=workers)


# -- greylisting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("death", ["", "stop", "crash", "power"])
def test_a_restart_in_the_middle_of_greylisting(death: str, workers: int) -> None:
    async def act(scene: Scene) -> None:
        visit = partial(scene.visit, network(1), ANA)
        assert (await visit()).answer.startswith("451 4.7.1 ")
        began = scene.now
        if death:
            await die(scene, death)
        early = await visit()
        assert early.answer.startswith("451 4.7.1 ")
        found = re.search(r"in (\d+) seconds", early.answer)
        assert found
        left = began + 5 * MINUTE - scene.now
        assert left - 2 <= int(found[1]) <= left + 2, "it goes on where it was"
        await asyncio.sleep(left + 2)
        if death:
            await die(scene, death)
        assert (await visit()).taken == 1
        if death:
            await die(scene, death)
        assert (await visit()).taken == 1
        assert (await scene.visit(network(1), EVA)).answer.startswith("451")
        assert (await scene.visit(network(2), ANA)).answer.startswith("451")
        assert (await scene.visit(network(3), ANA, sender="")).taken == 1

    play(act, settings(), rules=GREYLISTS, workers=workers)


def test_who_comes_again_too_late_begins_anew() -> None:
    async def act(scene: Scene) -> None:
        assert (await scene.visit(network(1), ANA)).answer.startswith("451")
        await asyncio.sleep(2 * HOUR)
        assert (await scene.visit(network(1), ANA)).answer.startswith("451")
        await asyncio.sleep(6 * MINUTE)
        assert (await scene.visit(network(1), ANA)).taken

    play(act, settings(greylist={"window": HOUR}), rules=GREYLISTS)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_flood_of_senders_nobody_has_heard_of(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it makes us write down is bounded; others are greylisted as always meanwhile."""
    rows_max = 50
    monkeypatch.setattr(greylist, "GREYLIST_NETWORK_ROWS_MAX", rows_max)

    async def act(scene: Scene) -> None:
        sources = [network(1, 1 + n % 200) for n in range(400)]
        flood, good = await asyncio.gather(
            scene.flood(
                sources,
                ANA,
                within=60.0,
                sender=lambda n: f"x{chr(97 + n % 26)}q{n}z@forged{n}.example",
            ),
            scene.flood([network(2)], ANA),
        )
        assert taken(flood) == 0
        assert all(visit.answer.startswith("451 4.7.1 ") for visit in flood)
        assert await scene.count("greylist") <= workers * (rows_max + 1) + 1
        assert good[0].answer.startswith("451")
        await asyncio.sleep(6 * MINUTE)
        assert (await scene.visit(network(2), ANA)).taken

    play(act, settings(), rules=GREYLISTS, workers=workers)


# -- slow senders --------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", WORKERS)
def test_slow_senders_keep_nobody_else_out(workers: int) -> None:
    places = 10  # of each worker: those of `estafeta serve` share them, simulated ones do not

    async def trickle(scene: Scene, source: str) -> str:
        """A character each ten seconds; what came in place of a greeting, or at the end."""
        talk = await scene.connect(source)
        greeting = await talk.reply()
        if not greeting.startswith("220"):
            return greeting
        try:
            for character in "EHLO " + "a" * 200:
                talk.stream.write(character.encode())
                await asyncio.sleep(10.0)
        except ConnectionError:
            pass
        return await last(talk)

    async def act(scene: Scene) -> None:
        slow = [asyncio.ensure_future(trickle(scene, network(1, 1 + n))) for n in range(60)]
        await asyncio.sleep(MINUTE)
        turned_away = [task.result() for task in slow if task.done()]
        assert all(answer.startswith("421 4.7.0") for answer in turned_away), turned_away
        assert len(slow) - len(turned_away) == workers * places
        assert (await scene.visit(network(1, 250), ANA)).greeting.startswith("421 4.7.0")
        before = scene.now
        others = await scene.flood([network(2 + n) for n in range(50)], ANA)
        assert taken(others) == len(others)
        assert scene.now - before < 5.0
        await asyncio.sleep(HOUR)
        assert all(task.done() for task in slow)
        assert all(task.result().startswith("421 4.") for task in slow)
        assert (await scene.visit(network(1, 250), ANA)).taken

    change = settings(smtp={"connections_per_network_max": places})
    play(act, change, workers=workers)


async def last(talk: object) -> str:
    """The last line that a server says before it closes."""
    said = ""
    try:
        while line := await talk.reply():  # type: ignore[attr-defined]
            said = line
    except ConnectionError:
        pass
    return said


# -- who tried -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", WORKERS)
def test_a_flood_leaves_the_journal_of_others_alone(workers: int) -> None:
    """Ana's has as many rows as it may; Eva's the one who tried to reach her, before and after."""

    async def act(scene: Scene) -> None:
        assert (await scene.visit(network(3000), EVA)).answer.startswith("451")
        sources = [network(n) for n in range(800)]
        flood = await scene.flood(
            sources, ANA, within=120.0, sender=lambda n: f"x{chr(97 + n % 26)}@forged{n}.example"
        )
        assert taken(flood) == 0
        await asyncio.sleep(10)
        rows = await scene.knocks(ANA)
        assert 0 < len(rows) <= KNOCKS_MAX
        assert {row.cause for row in rows} == {"greylisted"}
        assert sum(row.times for row in rows) <= len(flood)
        [told] = await scene.knocks(EVA)
        assert (told.cause, told.detail.sender) == ("greylisted", "bob@remote.example")
        await asyncio.sleep(6 * MINUTE)
        assert (await scene.visit(network(3000), EVA)).taken
        await asyncio.sleep(5)
        [told] = await scene.knocks(EVA)
        assert told.arrived

    play(act, settings(), rules=GREYLISTS, workers=workers)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("death", ["", "crash"])
def test_who_is_let_in_comes_in_once(death: str, workers: int) -> None:
    """However many come at the same instant, to whichever worker."""

    async def act(scene: Scene) -> None:
        assert (await scene.visit(network(1), ANA)).answer.startswith("451")
        await asyncio.sleep(3)
        [row] = await scene.knocks(ANA)

        def let_in(tx: Tx) -> None:
            owner = accounts.account(tx, ANA)
            assert owner is not None
            clock = scene.machine.clock
            letting.grant(
                tx, Book(clock), owner, row.id, int(clock.now() * 1000), id=row.id + 1, size_max=0
            )

        await scene.store(let_in)
        if death:
            await die(scene, death)
        sources = [network(1, 1 + n) for n in range(12)]
        visits = await scene.flood(sources, ANA)
        assert sum(visit.end.startswith("250") for visit in visits) == 1, visits
        assert await scene.stored() == 1

    rules = {"ours.example": Rules(greylist=True, let_in=("greylist",))}
    play(act, settings(), rules=rules, workers=workers)
