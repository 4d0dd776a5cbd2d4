"""The relay, the resolver and TLS over real sockets on loopback."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest
from tests.support.dns_server import DnsServer
from tests.support.smtp_peer import Peer
from tests.support.streams import FixedClock, InlineCpu, MemoryNet

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Deferred, Delivered
from estafeta.mail.protocols import Bytes
from estafeta.relay import Job, Relay, RelaySettings
from estafeta.resolve import EgressGuard, Found, Resolver, Router, StaticRoute, StaticRoutes
from estafeta.world.certificates import Authority
from estafeta.world.net import RealNet
from estafeta.world.seams import Endpoint, World
from estafeta.world.tls import client_config, server_config

LOOPBACK = Endpoint("127.0.0.1", 0)
MESSAGE = b"Subject: x\r\n\r\n.\r\nhello\r\n"


class RealPeer(Peer):
    """The scripted server on a real stream, with a real certificate."""

    tls: Any = None

    async def __call__(self, stream: Any) -> None:
        await super().__call__(_WithTls(stream, self.tls))  # type: ignore[arg-type]


class _WithTls:
    def __init__(self, stream: Any, config: Any) -> None:
        self._stream = stream
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def start_tls(self, config: Any) -> Any:
        return await self._stream.start_tls(self._config)


async def dns_at_loopback(net: RealNet, book: DnsServer, tasks: list[Any]) -> Endpoint:
    """Serves `book` on real UDP and TCP; its endpoint."""
    for _ in range(20):  # a port that is free for both
        sock = await net.datagrams(LOOPBACK)
        try:
            await net.listen(sock.local, book._stream)  # type: ignore[arg-type]
            break
        except OSError:
            sock.close()

    async def udp() -> None:
        while True:
            data, source = await sock.receive()
            reply = book.answer(dns.message.from_wire(data))
            if reply is not None:
                wire = reply.to_wire(max_size=65535)
                if len(wire) > 1232:
                    cut = dns.message.make_response(dns.message.from_wire(data))
                    cut.flags |= dns.flags.TC
                    wire = cut.to_wire()
                sock.send(wire, source)

    tasks.append(asyncio.ensure_future(udp()))
    return sock.local


class Scene:
    net: RealNet
    world: World
    book: DnsServer
    resolver: Resolver
    peer: RealPeer
    port: int


def play(act: Callable[[Scene], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        scene = Scene()
        tasks: list[Any] = []
        scene.net = RealNet()
        scene.world = World(FixedClock(), random.Random(3), scene.net, None, InlineCpu())  # type: ignore[arg-type]
        scene.book = DnsServer(MemoryNet(), LOOPBACK)
        at = await dns_at_loopback(scene.net, scene.book, tasks)
        scene.resolver = Resolver(scene.world, [at], try_seconds=2)
        authority = Authority("test authority", time.time())
        scene.peer = RealPeer()
        scene.peer.tls = server_config([authority.issue(["mx.b.example"], folder)])
        authority.write(folder / "ca.pem")
        scene.peer.offers.append("STARTTLS")
        listener = await scene.net.listen(LOOPBACK, scene.peer)
        scene.port = listener.endpoint.port
        scene.book.add("b.example", "MX", "10 mx.b.example.")
        scene.book.add("mx.b.example", "A", "127.0.0.1")
        try:
            async with asyncio.timeout(20):
                await act(scene)
        finally:
            await scene.resolver.close()
            for task in tasks:
                task.cancel()

    asyncio.run(main())


def relay_of(scene: Scene, static: StaticRoutes | None = None, **settings: Any) -> Relay:
    router = Router(
        scene.world,
        scene.resolver,
        port=scene.port,
        guard=EgressGuard(["127.0.0.0/8"]),
        static=static,
    )
    return Relay(scene.world, router, RelaySettings(hello_name="us.example", **settings))


def job(content: bytes = MESSAGE) -> Job:
    envelope = Envelope("a@a.example", (Recipient("u@b.example"),))
    return Job("b.example", envelope, Bytes(content))


def test_by_mx_under_tls_and_again_on_the_same_session(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        relay = relay_of(scene, tls_client=client_config(verify=False))
        large = b"Subject: x\r\n\r\n" + b".line\r\n" * 200_000
        for content in (MESSAGE, large, MESSAGE):
            (outcome,) = (await relay.attempt(job(content))).outcomes
            assert isinstance(outcome, Delivered), outcome
            assert scene.peer.messages[-1][2] == content
        assert scene.peer.sessions == 1
        assert scene.peer.verbs().count("STARTTLS") == 1
        await relay.close()
        assert scene.peer.lines[-1] == "QUIT"

    play(act, tmp_path)


def test_verified_by_name(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.book.add("other.example", "A", "127.0.0.1")
        verifying = client_config(verify=True, ca=tmp_path / "ca.pem")
        for name, delivered in (("mx.b.example", True), ("other.example", False)):
            static = StaticRoutes({"*": StaticRoute(((name, scene.port),), tls="verify")})
            relay = relay_of(scene, static, tls_verifying=verifying)
            (outcome,) = (await relay.attempt(job())).outcomes
            assert isinstance(outcome, Delivered if delivered else Deferred), outcome
            if isinstance(outcome, Deferred):
                assert outcome.cause == "tls-required"
                assert "certificate" in outcome.reply.text
            await relay.close()
        assert len(scene.peer.messages) == 1

    play(act, tmp_path)


def test_tls_that_fails_at_the_server_is_done_without(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        async def no_tls(stream: Any) -> None:
            await Peer.__call__(scene.peer, _Mute(stream))  # type: ignore[arg-type]

        listener = await scene.net.listen(LOOPBACK, no_tls)
        scene.port = listener.endpoint.port
        relay = relay_of(scene, tls_client=client_config(verify=False))
        report = await relay.attempt(job())
        assert isinstance(report.outcomes[0], Delivered), report
        assert any("in the clear" in note.text for note in report.notes)
        await relay.close()

    play(act, tmp_path)


class _Mute:
    """Answers a ClientHello with what is no TLS."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def start_tls(self, config: Any) -> None:
        await self._stream.read()
        self._stream.write(b"what is this?\r\n" * 20)
        await self._stream.drain()
        self._stream.abort()


def test_nobody_listens(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.port = 1
        relay = relay_of(scene)
        (outcome,) = (await relay.attempt(job())).outcomes
        assert isinstance(outcome, Deferred)
        assert outcome.cause == "host-unreachable"
        assert "refused" in outcome.reply.text

    play(act, tmp_path)


def test_dns_over_real_packets(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.book.add("big.example", "A", *(f"127.0.0.{n}" for n in range(1, 200)))
        answer = await scene.resolver.query("big.example", "A")
        assert isinstance(answer, Found)
        assert len(answer.records) == 100
        assert scene.book.tcp_questions == 1
        closed = Resolver(scene.world, [Endpoint("127.0.0.1", 1)], try_seconds=5)
        began = time.monotonic()
        assert not isinstance(await closed.query("b.example", "A"), Found)
        assert time.monotonic() - began < 3
        await closed.close()

    play(act, tmp_path)


@pytest.mark.parametrize("spoilt", [b"\x15\x03\x01", b""])
def test_a_handshake_that_never_comes(tmp_path: Path, spoilt: bytes) -> None:
    """The server closes or sends an alert instead of its hello."""

    async def act(scene: Scene) -> None:
        sessions = 0

        async def server(stream: Any) -> None:
            nonlocal sessions
            sessions += 1
            peer = scene.peer if sessions > 1 else None
            if peer is not None:
                peer.offers = ["PIPELINING"]
                await Peer.__call__(peer, stream)
                return
            stream.write(b"220 x\r\n")
            await stream.read()
            stream.write(b"250-x\r\n250 STARTTLS\r\n")
            await stream.read()
            stream.write(b"220 go\r\n")
            await stream.read()
            stream.write(spoilt)
            await stream.close()

        listener = await scene.net.listen(LOOPBACK, server)
        scene.port = listener.endpoint.port
        relay = relay_of(scene, tls_client=client_config(verify=False))
        report = await relay.attempt(job())
        assert isinstance(report.outcomes[0], Delivered), report
        assert sessions == 2
        await relay.close()

    play(act, tmp_path)
