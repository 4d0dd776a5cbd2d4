"""TLS to other servers: offered, required, refused, tampered with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.relay.scene import FIRST, Scene, kinds, play, short, texts
from tests.support.smtp_peer import Peer

from estafeta.mail.outcome import Deferred
from estafeta.resolve import Host, Route
from estafeta.world.seams import TlsError


def test_starttls_when_offered() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.after_tls = list(peer.offers)
        peer.offers.append("STARTTLS")
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert peer.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
        assert "TLSv1.3" in texts(report)
        assert "not verified" in texts(report)

    play(act, tls_client="client")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mx.b.example", "mx.b.example"),
        ("[198.51.100.1]", "198.51.100.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
    ],
)
def test_name_shown_in_the_handshake(name: str, shown: str) -> None:
    async def act(scene: Scene) -> None:
        names: list[str] = []
        peer = Peer()
        peer.after_tls = []
        peer.offers.append("STARTTLS")

        async def server(stream: Any) -> None:
            try:
                await peer(stream)
            finally:
                names.append(stream.other.tls.server_name)

        scene.net.servers[FIRST] = server
        assert kinds(await scene.send()) == ["Delivered"]
        await scene.relay.close()
        assert names == [shown]

    play(act, Route((Host(name, 0, (FIRST,)),)), tls_client="client")


def test_tls_that_fails_is_done_without_once() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("STARTTLS")
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert peer.sessions == 2
        assert "handshake with mx.b.example 198.51.100.1:25 failed: bad" in texts(report)
        assert "in the clear" in texts(report)

    play(act, tls_client=TlsError("bad"))


@pytest.mark.parametrize("mode", ["require", "verify"])
def test_tls_required(mode: str) -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        expected = ("Deferred", 451, "4.7.4", "tls-required")
        assert [short(o) for o in (await scene.send()).outcomes] == [expected]
        peer.offers.append("STARTTLS")
        peer.says["STARTTLS"] = "454 4.7.0 not today"
        assert [short(o) for o in (await scene.send()).outcomes] == [expected]
        peer.says["STARTTLS"] = "220 go"
        (outcome,) = (await scene.send()).outcomes
        assert isinstance(outcome, Deferred)
        assert outcome.cause == "tls-required"
        assert not peer.messages

    play(act, tls=mode, tls_client=TlsError("bad"), tls_verifying=TlsError("bad name"))


def test_tls_verified() -> None:
    async def act(scene: Scene) -> None:
        scene.peer().offers.append("STARTTLS")
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert "certificate verified" in texts(report)

    play(act, tls="verify", tls_verifying="verified")


def test_implicit_tls() -> None:
    async def act(scene: Scene) -> None:
        peer = Peer()

        async def server(stream: Any) -> None:
            await asyncio.sleep(0.1)
            assert stream.other.tls is not None  # before any byte
            await stream.start_tls("server")
            peer.offers.append("STARTTLS")
            await peer(stream)

        scene.net.servers[FIRST] = server
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert "STARTTLS" not in peer.verbs()
        assert "certificate verified" in texts(report)

    play(act, tls="implicit", tls_verifying="verified")

    async def act_failing(scene: Scene) -> None:
        peer = scene.peer()
        (outcome,) = (await scene.send()).outcomes
        assert short(outcome) == ("Deferred", 454, "4.7.5", "tls-required")
        assert peer.sessions == 1

    play(act_failing, tls="implicit", tls_verifying=TlsError("bad name"))
    play(act_failing_without, tls="implicit")


async def act_failing_without(scene: Scene) -> None:
    scene.peer()
    (outcome,) = (await scene.send()).outcomes
    assert short(outcome) == ("Deferred", 451, "4.7.4", "tls-required")


def test_a_server_that_declines_hears_quit() -> None:
    for says in ({"greeting": "554 no"}, {"ehlo": "451 later"}):

        async def act(scene: Scene, says: dict[str, object] = says) -> None:
            peer = scene.peer(**says)
            await scene.send()
            await scene.relay.close()
            assert peer.lines[-1] == "QUIT"

        play(act)


def test_tls_refused_or_not_wanted() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(starttls="454 4.7.0 not today")
        peer.offers.append("STARTTLS")
        assert kinds(await scene.send()) == ["Delivered"]
        assert peer.sessions == 1

    play(act, tls_client="client")

    async def act_none(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("STARTTLS")
        assert kinds(await scene.send()) == ["Delivered"]
        assert "STARTTLS" not in peer.verbs()

    play(act_none, tls="none", tls_client="client")


def test_bytes_behind_the_220() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(starttls="220 go\r\n250 injected")
        peer.offers.append("STARTTLS")
        report = await scene.send()
        assert [short(o) for o in report.outcomes] == [("Deferred", 451, "4.5.0", "protocol-error")]
        assert peer.sessions == 1  # and not in the clear either

    play(act, tls_client="client")


def test_bytes_behind_the_220_in_a_packet_of_their_own() -> None:
    async def act(scene: Scene) -> None:
        sessions = 0

        async def server(stream: Any) -> None:
            nonlocal sessions
            sessions += 1
            stream.write(b"220 x\r\n")
            await stream.read()
            stream.write(b"250-x\r\n250 STARTTLS\r\n")
            await stream.read()
            stream.write(b"220 go\r\n")
            stream.write(b"250 injected\r\n")
            await stream.read()

        scene.net.servers[FIRST] = server
        report = await scene.send()
        assert [short(o) for o in report.outcomes] == [("Deferred", 451, "4.5.0", "protocol-error")]
        assert sessions == 1

    play(act, tls_client="client")
