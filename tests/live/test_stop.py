"""Clean stop and reload of the real program: what has begun ends well, sessions are kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.crash.sink import Sink
from tests.live.strangers import ANA, LUIS, Stranger
from tests.support.live import Estafeta
from tests.support.peers.authority import Authority

STOP_SECONDS = 20.0
NO_SIGNAL = 0
"""For `stop`: only wait, it has been told."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Estafeta]:
    plain = 'plaintext_auth_networks = ["127.0.0.0/8"]'
    server = Estafeta(tmp_path / "e", accounts=[ANA, LUIS], settings={"smtp": [plain]})
    server.start()
    yield server
    if server.running:
        server.stop(signal.SIGKILL)


def tell(server: Estafeta, sent: signal.Signals) -> None:
    os.kill(server.session, sent)


async def logged(server: Estafeta, words: str, after: int = 0) -> None:
    """Returns once the log has `words`, which is how the server says that it has got there."""
    async with asyncio.timeout(STOP_SECONDS):
        while words not in server.log()[after:]:
            await asyncio.sleep(0.01)


def test_sigterm_lets_an_open_message_end(server: Estafeta) -> None:
    async def main() -> None:
        mx = server.ports["mx"]
        idle = await Stranger.at(mx)
        await idle.hello()
        reader = await Stranger.at(server.ports["imap"])
        await reader.line()
        begun = await Stranger.at(mx)
        await begun.to_data()
        await begun.send(b"Subject: begun\r\n\r\nhalf of it ")
        rcpt = await Stranger.at(mx)
        await rcpt.hello()
        assert (await rcpt.say("MAIL FROM:<s@s.example>")).startswith("250")
        tell(server, signal.SIGTERM)
        # Who is idle is told, and so is who comes now; who reads as well.
        assert (await idle.rest()).startswith(b"421 4.3.2")
        assert (await reader.rest()).startswith(b"* BYE")
        async with await Stranger.at(mx) as late:
            assert (await late.rest()).startswith(b"421 4.3.2")
        async with await Stranger.at(server.ports["imap"]) as late:
            assert b"BYE" in await late.rest()
        # What has begun goes on, as long as it takes.
        await begun.send(b"and the rest\r\n.\r\n")
        assert (await begun.reply()).startswith("250 2.0.0")
        assert (await begun.rest()).startswith(b"421 4.3.2")
        assert (await rcpt.say(f"RCPT TO:<{LUIS}>")).startswith("250")
        assert (await rcpt.say("DATA")).startswith("354")
        await rcpt.send(b"Subject: rcpt\r\n\r\nx\r\n.\r\n")
        assert (await rcpt.reply()).startswith("250 2.0.0")
        assert (await rcpt.rest()).startswith(b"421 4.3.2")
        for s in (idle, reader, begun, rcpt):
            s.cut()
        assert await asyncio.to_thread(server.stop, NO_SIGNAL) == 0

    asyncio.run(main())
    server.start()
    client = server.imap(LUIS)
    assert len(server.wait_messages(client, 2)) == 2
    client.logout()
    assert server.stop() == 0
    server.command("audit", "--full")


def test_sigterm_lets_an_attempt_end(tmp_path: Path) -> None:
    """A message that the next server is about to take is not sent again after the restart."""

    async def main() -> None:
        sink = Sink(random.Random(1))
        sink.faults = False
        await sink.start()
        server = Estafeta(
            tmp_path / "e",
            accounts=[ANA],
            routes={"sink.example": ("127.0.0.1", sink.port)},
            settings={"smtp": ['relay_networks = ["127.0.0.0/8"]']},
        )
        await asyncio.to_thread(server.start)
        try:
            sink.answering.clear()
            async with await Stranger.at(server.ports["submission"]) as s:
                data = b"From: <%s>\r\nMessage-ID: <m@t>\r\n\r\nx\r\n" % ANA.encode()
                await s.hand(ANA, "x@sink.example", data)
            await sink.wait_for({("m", "x@sink.example")}, STOP_SECONDS)
            tell(server, signal.SIGTERM)
            await logged(server, '"stopping"')
            sink.answering.set()
            assert await asyncio.to_thread(server.stop, NO_SIGNAL) == 0
            assert "[]" in await asyncio.to_thread(server.command, "queue", "list", "--json")
            assert len(sink.taken["m", "x@sink.example"]) == 1
        finally:
            if server.running:
                server.stop(signal.SIGKILL)
            await sink.close()

    asyncio.run(main())


def test_sigterm_does_not_wait_for_a_server_that_is_silent(tmp_path: Path) -> None:
    """It accepts the connection and says nothing; cut there, nothing is lost."""

    async def main() -> None:
        came = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        listening = await asyncio.start_server(silent, "127.0.0.1", 0)
        server = Estafeta(
            tmp_path / "e",
            accounts=[ANA],
            routes={"silent.example": ("127.0.0.1", listening.sockets[0].getsockname()[1])},
            settings={"smtp": ['relay_networks = ["127.0.0.0/8"]']},
        )
        await asyncio.to_thread(server.start)
        try:
            async with await Stranger.at(server.ports["submission"]) as s:
                data = b"From: <%s>\r\n\r\nx\r\n" % ANA.encode()
                await s.hand(ANA, "x@silent.example", data)
            await asyncio.wait_for(came.wait(), STOP_SECONDS)
            tell(server, signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):  # stop_seconds is 30
                assert await asyncio.to_thread(server.stop, NO_SIGNAL) == 0
            assert "attempt cut by a stop" in server.log()
            (row,) = json.loads(await asyncio.to_thread(server.command, "queue", "list", "--json"))
            assert (row["attempts"], row["state"]) == (0, "waiting")
        finally:
            if server.running:
                server.stop(signal.SIGKILL)
            listening.close()

    asyncio.run(main())


@pytest.mark.parametrize("port", ["submissions", "imaps", "pop3s"])
def test_sigterm_does_not_wait_for_a_handshake(port: str, tmp_path: Path) -> None:
    """A client connected where TLS comes first, and says nothing: nothing has begun."""
    certificate = Authority(tmp_path / "ca").issue("localhost")

    async def main() -> None:
        server = Estafeta(tmp_path / "e", accounts=[ANA], certificate=certificate)
        await asyncio.to_thread(server.start)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[port])
            async with await Stranger.at(server.ports["mx"]) as s:
                await s.hello()  # who came before has been let in by now
            tell(server, signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):  # stop_seconds is 30
                assert await asyncio.to_thread(server.stop, NO_SIGNAL) == 0
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        finally:
            if server.running:
                server.stop(signal.SIGKILL)

    asyncio.run(main())


@asynccontextmanager
async def over_tls(server: Estafeta, authority: Authority) -> AsyncIterator[Stranger]:
    """A session on the port of implicit TLS."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    s = Stranger(
        *await asyncio.open_connection(
            "127.0.0.1", server.ports["submissions"], ssl=context, server_hostname="localhost"
        )
    )
    yield s
    s.cut()


def shown(s: Stranger) -> int:
    """The serial number of the certificate that the server showed."""
    certificate = s.writer.get_extra_info("peercert")
    return int(certificate["serialNumber"], 16)


def test_sighup_shows_the_new_certificate_and_keeps_sessions(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate = tmp_path / "shown.pem"
    certificate.write_bytes(authority.issue("localhost").read_bytes())
    server = Estafeta(
        tmp_path / "e",
        accounts=[ANA, LUIS],
        certificate=certificate,
        settings={"smtp": ['size_max = "1MiB"']},
    )

    async def main() -> None:
        async with over_tls(server, authority) as before:
            assert (await before.reply()).startswith("220")
            assert "SIZE 1048576" in await before.say("EHLO before.example")
            open_one = await Stranger.at(server.ports["mx"])
            await open_one.to_data()
            certificate.write_bytes(authority.issue("localhost").read_bytes())
            server.config.write_text(
                server.config.read_text().replace('size_max = "1MiB"', 'size_max = "2MiB"')
            )
            written = len(server.log())
            tell(server, signal.SIGHUP)
            await logged(server, '"reloaded"', written)
            async with over_tls(server, authority) as after:
                assert (await after.reply()).startswith("220")
                assert "SIZE 2097152" in await after.say("EHLO after.example")
                assert shown(after) != shown(before)
            # Who was there before goes on, under the limits it was told.
            assert "SIZE 1048576" in await before.say("EHLO before.example")
            await open_one.send(b"Subject: kept\r\n\r\nx\r\n.\r\n")
            assert (await open_one.reply()).startswith("250 2.0.0")
            # A file with an error changes nothing, and is told of.
            good = server.config.read_text()
            server.config.write_text(good.replace("size_max", "size_maxx"))
            written = len(server.log())
            tell(server, signal.SIGHUP)
            await logged(server, "reload_refused", written)
            assert "size_maxx" in server.log()[written:]
            async with over_tls(server, authority) as after:
                await after.reply()
                assert "SIZE 2097152" in await after.say("EHLO after.example")
            server.config.write_text(good)
            # Certificate gone: the old one stays.
            kept = certificate.read_bytes()
            certificate.write_text("not a certificate")
            written = len(server.log())
            tell(server, signal.SIGHUP)
            await logged(server, "reload_refused", written)
            assert "it is not a PEM file" in server.log()[written:]
            async with over_tls(server, authority) as after:
                assert (await after.reply()).startswith("220")
            certificate.write_bytes(kept)
            assert (await before.say("QUIT")).startswith("221")

    with server:
        asyncio.run(main())
