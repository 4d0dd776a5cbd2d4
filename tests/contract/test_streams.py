"""The contract of Net and Stream (world/seams.py), the same over every net there is."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from tests.support.nets import Pair, Run, real_run, sim_run

from estafeta.world.seams import Endpoint, Stream, TlsError


@pytest.fixture(params=["asyncio", "uvloop", *(f"sim-{seed}" for seed in range(8))])
def over(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    if request.param.startswith("sim-"):
        return sim_run(int(request.param[4:]))
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        return real_run(tmp_path, uvloop.new_event_loop)
    return real_run(tmp_path, asyncio.new_event_loop)


async def read_exactly(stream: Stream, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0:
        data = await stream.read()
        assert data, "the stream ended early"
        assert len(data) <= 65536
        parts.append(data)
        count -= len(data)
    assert count == 0
    return b"".join(parts)


async def until(condition, why: str) -> None:  # type: ignore[no-untyped-def]
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError(why)


@pytest.mark.parametrize("secure", [False, True])
def test_bytes_arrive_in_order_both_ways(over: Run, secure: bool) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await (pair.secured() if secure else pair.connected())
        client.write(b"EHLO a\r\n")
        client.write(b"NOOP\r\n")
        assert await read_exactly(server, 14) == b"EHLO a\r\nNOOP\r\n"
        server.write(b"250 OK\r\n")
        await server.drain()
        assert await read_exactly(client, 8) == b"250 OK\r\n"

    over(scenario)


def test_each_end_names_both_ends(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        assert client.peer == server.local
        assert client.local == server.peer
        assert client.peer.host == pair.host
        assert client.peer.port > 0
        assert client.tls is None

    over(scenario)


@pytest.mark.parametrize("secure", [False, True])
def test_an_orderly_end_is_empty_bytes_again_and_again(over: Run, secure: bool) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await (pair.secured() if secure else pair.connected())
        client.write(b"QUIT\r\n")
        closing = asyncio.ensure_future(client.close())
        assert await read_exactly(server, 6) == b"QUIT\r\n"
        assert await server.read() == b""
        assert await server.read() == b""
        server.write(b"221 bye\r\n")  # still allowed; the other side no longer listens
        await server.close()
        await closing
        client.write(b"nobody")  # ignored
        with pytest.raises(ConnectionError):
            await client.drain()

    over(scenario)


@pytest.mark.parametrize("secure", [False, True])
def test_close_sends_what_is_queued(over: Run, secure: bool) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await (pair.secured() if secure else pair.connected())
        sent = bytes(range(256)) * 8192
        client.write(sent)
        closing = asyncio.ensure_future(client.close())
        assert await read_exactly(server, len(sent)) == sent
        assert await server.read() == b""
        await server.close()
        await closing

    over(scenario)


@pytest.mark.parametrize("secure", [False, True])
def test_an_abort_is_a_cut_for_reader_and_writer(over: Run, secure: bool) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await (pair.secured() if secure else pair.connected())
        client.abort()
        with pytest.raises(ConnectionError):
            await server.read()
        with pytest.raises(ConnectionError):
            await client.read()
        server.write(b"x")  # ignored
        with pytest.raises(ConnectionError):
            await server.drain()

    over(scenario)


def test_what_came_before_a_cut_is_still_read(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        client.write(b"DATA\r\n")
        await until(lambda: server.buffered() == 6, "the bytes never came")
        client.abort()
        await asyncio.sleep(0.02)
        assert await read_exactly(server, 6) == b"DATA\r\n"
        with pytest.raises(ConnectionError):
            await server.read()

    over(scenario)


def test_buffered_counts_what_read_would_give(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        assert server.buffered() == 0
        client.write(b"STARTTLS\r\nEHLO injected\r\n")
        await until(lambda: server.buffered() == 25, "the bytes never came")
        got = await server.read()
        assert server.buffered() == 25 - len(got)

    over(scenario)


@pytest.mark.parametrize("secure", [False, True])
def test_backpressure_holds_the_writer_and_lets_it_go(over: Run, secure: bool) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await (pair.secured() if secure else pair.connected())
        block = bytes(65536)
        written = 0

        async def write_all() -> None:
            nonlocal written
            for _ in range(400):
                client.write(block)
                await client.drain()
                written += len(block)

        assert not client.congested()
        writing = asyncio.ensure_future(write_all())
        await asyncio.sleep(0.3)
        assert not writing.done(), "26 MB fit into nobody's buffers"
        assert client.congested()
        assert server.buffered() <= 256 * 1024 + 2 * 65536
        received = 0
        while received < 400 * 65536:
            received += len(await server.read())
        await writing
        assert received == written
        assert not client.congested()

    over(scenario)


@pytest.mark.parametrize("secure", [False, True])
def test_a_writer_that_waits_hears_of_a_cut(over: Run, secure: bool) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await (pair.secured() if secure else pair.connected())

        async def write_on() -> None:
            while True:
                client.write(bytes(65536))
                await client.drain()

        writing = asyncio.ensure_future(write_on())
        await asyncio.sleep(0.1)
        assert not writing.done()
        server.abort()
        with pytest.raises(ConnectionError):
            await writing

    over(scenario)


def test_tls_tells_both_sides_what_was_agreed(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        own: list[bytes] = []
        for name in pair.names:
            client, server = await pair.connected()
            client_info, server_info = await asyncio.gather(
                client.start_tls(pair.client_tls, server_name=name),
                server.start_tls(pair.server_tls),
            )
            assert client.tls == client_info
            assert server.tls == server_info
            assert client_info.version == server_info.version != ""
            assert client_info.verified
            assert not server_info.verified
            assert server_info.server_name == client_info.server_name == name
            assert server_info.own_certificate == client_info.peer_certificate != b""
            own.append(server_info.own_certificate)
            client.abort()
        assert own[0] != own[1], "each name has a certificate of its own"

    over(scenario)


def test_the_server_knows_what_its_certificate_binds_to(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        _, server = await pair.secured()
        assert server.tls is not None
        assert server.tls.end_point == hashlib.sha256(server.tls.own_certificate).digest()
        assert server.tls.peer_addresses == ()

    over(scenario)


def test_a_client_that_is_asked_shows_who_it_is(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        for config, addresses in (
            (pair.people_tls, ("ana@sudominio.example",)),
            (pair.client_tls, ()),
        ):
            client, server = await pair.connected()
            _, info = await asyncio.gather(
                client.start_tls(config, server_name=pair.names[0]),
                server.start_tls(pair.asking_tls),
            )
            assert info.peer_addresses == addresses
            assert info.verified is bool(addresses)
            assert bool(info.peer_certificate) is bool(addresses)
            client.abort()

    over(scenario)


def test_who_is_not_asked_shows_nothing(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        _, info = await asyncio.gather(
            client.start_tls(pair.people_tls, server_name=pair.names[0]),
            server.start_tls(pair.server_tls),
        )
        assert (info.peer_certificate, info.peer_addresses, info.verified) == (b"", (), False)

    over(scenario)


def test_a_client_of_another_authority_is_refused(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        results = await asyncio.gather(
            client.start_tls(pair.forged_tls, server_name=pair.names[0]),
            server.start_tls(pair.asking_tls),
            return_exceptions=True,
        )
        assert isinstance(results[1], TlsError)
        assert "certificate" in str(results[1])
        with pytest.raises(ConnectionError):
            await client.read()

    over(scenario)


@pytest.mark.parametrize("secure", [False, True])
def test_who_was_introduced_has_another_name_and_what_came_behind(over: Run, secure: bool) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        client.write(b"I am the proxy of 192.0.2.77\n")
        securing = None
        if secure:
            securing = asyncio.ensure_future(
                client.start_tls(pair.client_tls, server_name=pair.names[0])
            )
        else:
            client.write(b"EHLO a\r\n")
        got = b""
        while b"\n" not in got:
            got += await server.read()
        rest = got.partition(b"\n")[2]
        peer, local = Endpoint("192.0.2.77", 7), Endpoint("192.0.2.1", 25)
        server.introduce(peer, local, rest)
        assert (server.peer, server.local) == (peer, local)
        assert server.buffered() >= len(rest)
        if securing is not None:
            await server.start_tls(pair.server_tls)
            await securing
            client.write(b"EHLO a\r\n")
        assert await read_exactly(server, 8) == b"EHLO a\r\n"
        assert server.peer == peer

    over(scenario)


def test_plaintext_then_tls_then_data_in_one_go(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        client.write(b"STARTTLS\r\n")
        assert await read_exactly(server, 10) == b"STARTTLS\r\n"
        server.write(b"220 go\r\n")
        assert await read_exactly(client, 8) == b"220 go\r\n"

        async def talk() -> None:
            await client.start_tls(pair.client_tls, server_name=pair.names[0])
            client.write(b"EHLO again\r\n")

        _, _ = await asyncio.gather(talk(), server.start_tls(pair.server_tls))
        assert await read_exactly(server, 12) == b"EHLO again\r\n"

    over(scenario)


def test_a_first_flight_that_waits_is_taken(over: Run) -> None:
    """Implicit TLS: the client's first bytes may come before the server's handler runs."""

    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        securing = asyncio.ensure_future(
            client.start_tls(pair.client_tls, server_name=pair.names[0])
        )
        await until(lambda: server.buffered() > 0, "no first flight")
        await server.start_tls(pair.server_tls)
        await securing
        server.write(b"220 hello\r\n")
        assert await read_exactly(client, 11) == b"220 hello\r\n"

    over(scenario)


def test_plaintext_is_never_taken_for_tls(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        client.write(b"MAIL FROM:<a@b>\r\n" * 20)
        with pytest.raises((TlsError, ConnectionError)):
            await server.start_tls(pair.server_tls)
        with pytest.raises(ConnectionError):
            await server.read()

    over(scenario)


def test_a_wrong_name_and_an_unknown_authority_are_refused(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        for config, name in (
            (pair.client_tls, "mx.elsewhere.example"),
            (pair.stranger_tls, pair.names[0]),
        ):
            client, server = await pair.connected()
            results = await asyncio.gather(
                client.start_tls(config, server_name=name),
                server.start_tls(pair.server_tls),
                return_exceptions=True,
            )
            assert isinstance(results[0], TlsError), results
            assert "\n" not in str(results[0])
            assert str(results[0])
            # TLS 1.3 lets the server finish before it hears of the refusal
            if not isinstance(results[1], (TlsError, ConnectionError)):
                with pytest.raises(ConnectionError):
                    await server.read()

    over(scenario)


def test_a_peer_that_goes_away_during_the_handshake(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        for orderly in (True, False):
            client, server = await pair.connected()
            securing = asyncio.ensure_future(server.start_tls(pair.server_tls))
            await asyncio.sleep(0.01)
            if orderly:
                closing = asyncio.ensure_future(client.close())
            else:
                client.abort()
            with pytest.raises((ConnectionError, TlsError)):
                await securing
            if orderly:
                await closing

    over(scenario)


def test_a_refused_port(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        async def handler(stream: Stream) -> None:
            await stream.close()

        listener = await pair.there.listen(Endpoint(pair.host, 0), handler)
        await listener.close()
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectionRefusedError):
            await pair.here.connect(listener.endpoint)

    over(scenario)


def test_a_port_in_use(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        async def handler(stream: Stream) -> None:
            await stream.close()

        listener = await pair.there.listen(Endpoint(pair.host, 0), handler)
        with pytest.raises(OSError, match="in use"):
            await pair.there.listen(listener.endpoint, handler)
        await listener.close()
        await asyncio.sleep(0.01)
        again = await pair.there.listen(listener.endpoint, handler)
        await again.close()

    over(scenario)


def test_a_name_is_no_address(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        with pytest.raises(OSError, match="address"):
            await pair.here.connect(Endpoint("localhost", 25))

    over(scenario)


def test_a_handler_that_returns_or_fails_ends_its_stream(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

        async def forgetful(stream: Stream) -> None:
            await stream.read()

        async def faulty(stream: Stream) -> None:
            await stream.read()
            raise ZeroDivisionError

        for handler in (forgetful, faulty):
            listener = await pair.there.listen(Endpoint(pair.host, 0), handler)
            client = await pair.here.connect(listener.endpoint)
            client.write(b"x")
            with pytest.raises(ConnectionError):
                await client.read()
            await listener.close()
        assert [type(fault["exception"]) for fault in faults] == [ZeroDivisionError]

    over(scenario)


def test_a_cancelled_read_loses_nothing(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        for _ in range(50):
            reading = asyncio.ensure_future(server.read())
            await asyncio.sleep(0)
            client.write(b"abc")
            await until(lambda r=reading: server.buffered() > 0 or r.done(), "nothing came")
            got = b""
            if not reading.cancel():
                got = reading.result()
            else:
                with pytest.raises(asyncio.CancelledError):
                    await reading
            while len(got) < 3:
                got += await server.read()
            assert got == b"abc"

    over(scenario)


def test_an_interrupted_wait_ends_with_its_error_and_the_stream_goes_on(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        server.interrupt(TimeoutError())  # nobody waits: it means nothing to who comes later
        reading = asyncio.ensure_future(server.read())
        await asyncio.sleep(0.01)
        assert not reading.done()
        server.interrupt(TimeoutError("too slow"))
        with pytest.raises(TimeoutError, match="too slow"):
            await reading
        client.write(b"late")
        assert await read_exactly(server, 4) == b"late"

    over(scenario)


def test_an_interrupted_drain_ends_with_its_error_and_the_stream_goes_on(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        client, server = await pair.connected()
        size = 0
        while not client.congested():
            client.write(bytes(65536))
            size += 65536
            await asyncio.sleep(0.001)
        draining = asyncio.ensure_future(client.drain())
        await asyncio.sleep(0.01)
        client.interrupt(TimeoutError("not taken"))
        with pytest.raises(TimeoutError, match="not taken"):
            await draining
        assert await read_exactly(server, size) == bytes(size)
        await client.drain()

    over(scenario)


def test_datagrams(over: Run) -> None:
    async def scenario(pair: Pair) -> None:
        server = await pair.there.datagrams(Endpoint(pair.host, 0))
        client = await pair.here.datagrams(Endpoint(pair.here_host, 0))
        client.send(b"question", server.local)
        data, sender = await server.receive()
        assert (data, sender) == (b"question", client.local)
        server.send(b"answer", sender)
        assert await client.receive() == (b"answer", server.local)
        server.close()
        await asyncio.sleep(0.01)
        client.send(b"anybody?", server.local)
        with pytest.raises(ConnectionRefusedError):
            await client.receive()
        waiting = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        client.close()
        with pytest.raises(ConnectionError):
            await waiting

    over(scenario)
