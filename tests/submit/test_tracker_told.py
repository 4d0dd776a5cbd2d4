"""Keywords of a sent message: moved by operators and by reports that come in; told by the trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.intake.test_claims import arrives, dsn
from tests.submit.rig import BOB, BUSY, CARL, EVA, MESSAGE, Ana, flags, heard, idles, with_ana
from tests.support.whole import Attempts, Report, Whole

from estafeta.office.journey import tell
from estafeta.office.story import read_story
from estafeta.queue.hand import Cancel, Chosen
from estafeta.queue.handling import Hand
from estafeta.store.ids import parse_queue_id

pytestmark = pytest.mark.usefixtures("each_engine")


def hand_of(house: Whole) -> Hand:
    return Hand(
        house.store,  # type: ignore[arg-type]
        ids=house.built.ids,
        clock=house.world.clock,
        bodies=house.built.bodies,
        acceptor=house.acceptor,
    )


def test_what_an_operator_does_is_told() -> None:
    async def work(ana: Ana) -> None:
        hand = hand_of(ana.house)
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        answer = await ana.submits(BOB, EVA)
        acceptance = parse_queue_id(answer.split()[-1])
        await asyncio.sleep(1)
        assert await flags(client) == {"$Delayed"}
        await idles(client)
        await hand.touch(Cancel(), Chosen(acceptance=acceptance, addresses=(BOB,)), "op")
        await heard(client, "$PartlyDelivered")
        await hand.correct(acceptance, [(BOB, CARL)], "op")
        await heard(client, "$Queued")
        await heard(client, "$Delivered")

    with_ana(work, attempts=Attempts(plan={BOB: [BUSY]}))


def test_a_wish_that_is_granted_where_no_host_had_time_is_told() -> None:
    class Slow(Attempts):
        async def attempt(self, destination: str, envelope: Any, content: Any, sent: Any) -> Any:
            await asyncio.sleep(5)
            many = len(envelope.recipients)
            return Report([BUSY] * many, untried=True, blocked=["mx.remote.example"])

    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(BOB)
        await asyncio.sleep(1)
        await hand_of(ana.house).touch(Cancel(), Chosen(addresses=(BOB,)), "op")
        await asyncio.sleep(20)
        assert await flags(await ana.reads()) == {"$Bounced", "\\Seen"}

    with_ana(work, attempts=Slow())


def test_a_report_that_our_token_proves_moves_it() -> None:
    """The fate stays: the next server took it. One without a token is a claim and no more."""

    async def work(ana: Ana) -> None:
        house = ana.house
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(BOB, CARL)
        await house.settled()
        assert await flags(client) == {"$Delivered"}
        envid = next(each.envid for _, each, _ in house.attempts.made if BOB in _to(each))
        await arrives(house, ana.net, dsn(BOB, returned="<one@client.example>"))
        assert await flags(client) == {"$Delivered"}
        await arrives(house, ana.net, dsn(BOB, envid=envid, action="delayed"))
        assert await flags(client) == {"$Delivered"}
        await idles(client)
        await arrives(house, ana.net, dsn(BOB, envid=envid))
        await heard(client, "$PartlyDelivered")
        assert (await house.ledger())[0].endswith("relayed")
        await arrives(house, ana.net, dsn(BOB, envid=envid, action="delivered"))
        await heard(client, "$Delivered")

    with_ana(work)


def _to(envelope: Any) -> list[str]:
    return [recipient.address for recipient in envelope.recipients]


def test_the_trace_tells_what_the_copies_say() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        answer = await ana.submits(BOB, "team@mx.example")
        id = parse_queue_id(answer.split()[-1])

        async def story() -> Any:
            bodies = ana.house.built.bodies
            return await ana.house.store.read(lambda tx: read_story(tx, bodies, id))

        before = tell(await story(), "en")
        assert before.tracker == "$Queued"
        assert not any("copy" in line for line in before.steps[2].lines)
        await client.ok("APPEND Sent", MESSAGE)
        await client.ok("COPY 1 Archive")
        await client.ok("COPY 1 Archive")
        gate.set()
        await ana.house.settled()
        after = tell(await story(), "es")
        assert after.tracker == "$Delivered"
        assert after.steps[2].lines[-2:] == (
            "la copia del remitente en Sent dice $Delivered",
            "la copia del remitente en Archive dice $Delivered",
        )
        (child,) = (await story()).known.children
        bodies = ana.house.built.bodies
        below = await ana.house.store.read(lambda tx: read_story(tx, bodies, child.id))
        assert (below.tracker, below.copies) == ("$Delivered", ())

    attempts = Attempts()
    gate = attempts.gates["remote.example"] = asyncio.Event()
    with_ana(work, attempts=attempts)
