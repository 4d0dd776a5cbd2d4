"""Which address and host is tried, and when the next."""

from __future__ import annotations

import asyncio

import pytest
from tests.relay.scene import (
    FIRST,
    SECOND,
    SIX,
    TWO,
    TWO_ADDRESSES,
    Scene,
    kinds,
    play,
    short,
    texts,
)
from tests.support.smtp_peer import CLOSE, CUT

from estafeta.mail.outcome import Refused, Reply
from estafeta.resolve import Host, Route, RouteFailure
from estafeta.world.seams import Endpoint


def test_next_address_and_next_host() -> None:
    route = Route((Host("mx1.b.example", 10, (SIX, FIRST)), Host("mx2.b.example", 20, (SECOND,))))

    async def act(scene: Scene) -> None:
        first = scene.peer(FIRST, greeting="421 busy")
        second = scene.peer(SECOND)
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert report.outcomes[0].host.startswith("mx2.b.example")
        assert (first.sessions, second.sessions) == (1, 1)
        assert "connection refused" in texts(report)

    play(act, route)


@pytest.mark.parametrize(
    "says", [{"greeting": "554 no"}, {"ehlo": CUT}, {"mail": "421 bye"}, {"mail": CLOSE}]
)
def test_a_session_that_fails_leads_to_the_next_host(says: dict[str, object]) -> None:
    async def act(scene: Scene) -> None:
        scene.peer(FIRST, **says)
        second = scene.peer(SECOND)
        assert kinds(await scene.send()) == ["Delivered"]
        assert len(second.messages) == 1

    play(act, TWO)


def test_refused_by_all_hosts_and_by_some() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(FIRST, greeting="554 5.7.1 go away")
        scene.peer(SECOND, greeting="554 5.7.1 go away")
        assert kinds(await scene.send()) == ["Refused"]
        del scene.net.servers[SECOND]
        assert [short(outcome) for outcome in (await scene.send()).outcomes] == [
            ("Deferred", 451, "4.4.1", "host-unreachable")
        ]

    play(act, TWO)


def test_a_refusal_by_one_host_does_not_outweigh_that_another_was_away() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(SECOND, greeting="554 5.7.1 go away")
        assert kinds(await scene.send()) == ["Deferred"]

    play(act, TWO)


def test_a_lost_reply_is_not_tried_at_the_next_host() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(FIRST, dot=CUT)
        second = scene.peer(SECOND)
        assert kinds(await scene.send()) == ["Deferred"]
        assert second.sessions == 0

    play(act, TWO)


def test_happy_eyeballs() -> None:
    async def act(scene: Scene) -> None:
        scene.net.black_holes.add(SIX)
        scene.peer(FIRST)
        began = asyncio.get_running_loop().time()
        assert kinds(await scene.send()) == ["Delivered"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.25, abs=0.01)
        assert scene.net.connects == [SIX, FIRST]
        await asyncio.sleep(0.01)
        assert not any("_one" in repr(task) for task in asyncio.all_tasks())  # the loser is gone
        assert scene.net.sources == ["2001:db8::99", "192.0.2.99"]

    play(act, TWO_ADDRESSES, source_v4="192.0.2.99", source_v6="2001:db8::99")


def test_black_holes_end() -> None:
    async def act(scene: Scene) -> None:
        scene.net.black_holes |= {SIX, FIRST}
        began = asyncio.get_running_loop().time()
        (outcome,) = (await scene.send()).outcomes
        assert short(outcome) == ("Deferred", 451, "4.4.1", "host-unreachable")
        assert "no answer" in outcome.reply.text
        assert asyncio.get_running_loop().time() - began < 31

    play(act, TWO_ADDRESSES)


def test_sessions_of_one_attempt_are_bounded() -> None:
    endpoints = [Endpoint(f"198.51.100.{n}", 25) for n in range(1, 30)]
    route = Route(tuple(Host(f"mx{n}", n, (at,)) for n, at in enumerate(endpoints)))

    async def act(scene: Scene) -> None:
        peers = [scene.peer(at, greeting="421 busy") for at in endpoints]
        assert kinds(await scene.send()) == ["Deferred"]
        assert sum(peer.sessions for peer in peers) == 6

    play(act, route)


def test_no_route() -> None:
    refused = Refused(Reply(550, "5.1.2", "no such domain"), "domain-not-found")

    async def act(scene: Scene) -> None:
        report = await scene.send("a@b.example", "b@b.example")
        assert report.outcomes == (refused, refused)

    play(act, RouteFailure(refused))
