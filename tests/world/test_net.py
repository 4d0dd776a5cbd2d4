"""The real net, beyond the contract: what only sockets can show."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import stat
import struct
import time
from pathlib import Path

import pytest
from tests.support.nets import real_pair

from estafeta.world import limits, tls
from estafeta.world import stream as stream_module
from estafeta.world.net import RealNet, bind
from estafeta.world.real import loop_factory, run
from estafeta.world.seams import Endpoint, Stream, TlsError
from estafeta.world.stream import RealStream


async def write_on(stream: Stream) -> None:
    """A writer finds out that the peer is gone, at the latest by its second write."""
    for _ in range(1000):
        stream.write(b"x")
        await stream.drain()
        await asyncio.sleep(0.001)


def test_an_inherited_socket_is_listened_on_and_its_options_are_inherited() -> None:
    async def main() -> None:
        system_socket = bind(Endpoint("127.0.0.1", 0))
        port = system_socket.getsockname()[1]
        arrived: asyncio.Queue[Stream] = asyncio.Queue()

        async def handler(stream: Stream) -> None:
            await arrived.put(stream)
            await stream.read()

        listener = await RealNet().listen(Endpoint("ignored", 0), handler, inherited=system_socket)
        assert listener.endpoint == Endpoint("127.0.0.1", port)
        client = await RealNet().connect(listener.endpoint, source="127.0.0.9")
        server = await arrived.get()
        assert server.peer.host == "127.0.0.9"
        assert isinstance(server, RealStream)
        for stream in (client, server):
            inner = stream._transport.get_extra_info("socket")
            assert inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert inner.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        client.abort()
        await listener.close()

    run(main())


def test_ipv6() -> None:
    async def main() -> None:
        async def handler(stream: Stream) -> None:
            stream.write(str(stream.peer).encode())
            await stream.close()

        try:
            listener = await RealNet().listen(Endpoint("::1", 0), handler)
        except OSError:
            pytest.skip("no IPv6 here")
        client = await RealNet().connect(listener.endpoint)
        assert (await client.read()).startswith(b"[::1]:")
        await client.close()
        await listener.close()

    run(main())


def test_a_close_that_the_peer_does_not_answer_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stream_module, "CLOSE_SECONDS", 0.1)

    async def main() -> None:
        pair = real_pair(tmp_path)
        client, server = await pair.connected()
        start = time.monotonic()
        await client.close()
        assert time.monotonic() - start < 2
        with pytest.raises(ConnectionError):
            await write_on(server)
        pair.holding.set()

    run(main())


def test_a_handshake_that_does_not_come_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stream_module, "HANDSHAKE_SECONDS", 0.05)

    async def main() -> None:
        pair = real_pair(tmp_path)
        client, server = await pair.connected()
        with pytest.raises(TlsError, match="no handshake"):
            await server.start_tls(pair.server_tls)
        with pytest.raises(ConnectionError):
            await client.read()
        pair.holding.set()

    run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop_factory()])
def test_a_peer_that_reset_before_it_was_accepted_is_nobody(factory) -> None:  # type: ignore[no-untyped-def]
    """Its octets can still be read, its address perhaps not: it must not pass for another."""
    system_socket = bind(Endpoint("127.0.0.1", 0))
    hasty = socket.create_connection(system_socket.getsockname())
    its_own = Endpoint(*hasty.getsockname())
    hasty.sendall(b"MAIL FROM:<spam@example>\r\n")
    hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hasty.close()

    async def main() -> None:
        peers: asyncio.Queue[Endpoint] = asyncio.Queue()

        async def handler(stream: Stream) -> None:
            await peers.put(stream.peer)

        listener = await RealNet().listen(Endpoint("", 0), handler, inherited=system_socket)
        polite = await RealNet().connect(listener.endpoint)
        seen = [await peers.get()]
        while seen[-1] != polite.local:
            seen.append(await peers.get())
        assert set(seen[:-1]) <= {its_own}, "asyncio knows it from accept, uvloop does not"
        await listener.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop_factory()])
def test_a_unix_socket(factory, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = str(tmp_path / "lmtp")

    async def main() -> None:
        async def handler(stream: Stream) -> None:
            assert stream.local.host == "127.0.0.1"
            stream.write(f"220 {stream.peer.host}\r\n".encode())
            await stream.close()

        listener = await RealNet().listen_unix(path, handler)
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o666  # others' servers may connect
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b"220 127.0.0.1\r\n"
        writer.close()
        with pytest.raises(OSError, match="in use"):
            await RealNet().listen_unix(path, handler)
        await listener.close()
        again = await RealNet().listen_unix(path, handler)  # what was left over is replaced
        await again.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop_factory()])
def test_what_was_held_back_is_read_after_the_connection_is_lost(factory, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    async def main() -> None:
        pair = real_pair(tmp_path)
        client, server = await pair.connected()
        client.write(bytes(8 << 20))
        while server.buffered() <= limits.BUFFERED_OCTETS_MAX:
            await asyncio.sleep(0.001)
        client.abort()
        with pytest.raises(ConnectionError):
            await write_on(server)
        held, got = server.buffered(), 0
        while got < held:
            got += len(await server.read())
        with pytest.raises(ConnectionError):
            await server.read()
        await server.close()
        pair.holding.set()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop_factory()])
def test_an_end_without_close_notify_is_a_cut(factory, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """What a peer sends before it ends TLS in the middle is read, then the cut is heard."""

    async def main() -> None:
        pair = real_pair(tmp_path)
        for notify in (True, False):
            client, server = await pair.secured()
            client.write(b"Subject: half of it\r\n")
            await client.drain()
            assert isinstance(client, RealStream)
            assert client._engine is not None
            if notify:
                client._engine.close_notify()
                client._transport.write(client._engine.output())
            client._transport.write_eof()
            assert await server.read() == b"Subject: half of it\r\n"
            if notify:
                assert await server.read() == b""
            else:
                with pytest.raises(ConnectionError, match="close_notify"):
                    await server.read()
            client.abort()
        pair.holding.set()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_a_peer_of_other_make_with_tls_1_2_and_1_3(tmp_path: Path) -> None:
    """Python's own blocking TLS client against our server; older versions are refused."""

    def talk(port: int, version: ssl.TLSVersion, ca: Path) -> tuple[str, bytes]:
        context = ssl.create_default_context(cafile=str(ca))
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="mx.correo.example") as secure,
        ):
            secure.sendall(b"x" * 100_000)
            got = b""
            while len(got) < 100_000:
                got += secure.recv(65536)
            return secure.version() or "", got

    async def main() -> None:
        pair = real_pair(tmp_path)

        async def handler(stream: Stream) -> None:
            with contextlib.suppress(TlsError):
                await stream.start_tls(pair.server_tls)
                while data := await stream.read():
                    stream.write(data)
                    await stream.drain()
                await stream.close()

        listener = await pair.there.listen(Endpoint("127.0.0.1", 0), handler)
        port = listener.endpoint.port
        for version, name in (
            (ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
            (ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ):
            seen = await asyncio.to_thread(talk, port, version, tmp_path / "ca.pem")
            assert seen == (name, b"x" * 100_000)
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.to_thread(talk, port, ssl.TLSVersion.TLSv1_1, tmp_path / "ca.pem")
        await listener.close()

    run(main())


def test_plaintext_waits_unencrypted_while_the_peer_does_not_read(tmp_path: Path) -> None:
    async def main() -> None:
        pair = real_pair(tmp_path)
        client, server = await pair.secured()
        assert isinstance(server, RealStream)
        for _ in range(64):
            server.write(bytes(1 << 20))
        held = server._transport.get_write_buffer_size()
        assert held < 4 * limits.UNSENT_OCTETS_HIGH, held
        got = 0
        while got < 64 << 20:
            got += len(await client.read())
        await server.drain()
        assert server._transport.get_write_buffer_size() <= limits.UNSENT_OCTETS_HIGH
        assert client.buffered() == 0
        pair.holding.set()

    run(main())


def test_a_wildcard_and_an_address_in_the_certificate(tmp_path: Path) -> None:
    from estafeta.world.certificates import Authority

    authority = Authority("a", time.time())
    pairs = [
        authority.issue(["127.0.0.2", "mx.example"], tmp_path),
        authority.issue(["*.Hosted.example"], tmp_path),
    ]
    config = tls.server_config(pairs)
    chosen = {name: config.choose(name) for name in ("a.hosted.EXAMPLE.", "b.a.hosted.example")}
    assert chosen["a.hosted.EXAMPLE."] is not config.default
    assert chosen["b.a.hosted.example"] is config.default
    for chain, key in pairs:
        assert chain.stat().st_mode & 0o777 == 0o600
        assert key.stat().st_mode & 0o777 == 0o600

    async def main() -> None:
        async def handler(stream: Stream) -> None:
            with contextlib.suppress(TlsError):
                await stream.start_tls(config)
                await stream.close()

        listener = await RealNet().listen(Endpoint("127.0.0.2", 0), handler)
        client_tls = tls.client_config(verify=True, ca=authority.write(tmp_path / "ca.pem"))
        for name in ("127.0.0.2", "mx.example", "a.hosted.example"):
            client = await RealNet().connect(listener.endpoint)
            info = await client.start_tls(client_tls, server_name=name)
            assert info.verified
            await client.close()
        opportunistic = tls.client_config(verify=False)
        client = await RealNet().connect(listener.endpoint)
        info = await client.start_tls(opportunistic, server_name="elsewhere.example")
        assert not info.verified
        assert info.peer_certificate
        await client.close()
        client = await RealNet().connect(listener.endpoint)
        with pytest.raises(TlsError, match="no name"):
            await client.start_tls(client_tls)
        await listener.close()

    run(main())


def test_a_listener_on_an_address_that_is_not_ours() -> None:
    async def main() -> None:
        async def handler(stream: Stream) -> None:
            await stream.close()

        with pytest.raises(OSError, match="assign"):
            await RealNet().listen(Endpoint("192.0.2.1", 0), handler)

    run(main())
