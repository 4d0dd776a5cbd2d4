"""POP3 sessions (RFC 1939)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.read.rig import ADDRESS, PASSWORD, House, house, message
from tests.support.streams import MemoryStream

from estafeta.read.pop3_session import Pop3Server
from estafeta.wire.sasl import client_mechanism


class Client:
    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self._data = b""

    async def line(self) -> bytes:
        """Without CRLF; b"" at the end of the stream."""
        while b"\r\n" not in self._data:
            more = await asyncio.wait_for(self.stream.read(), 10)
            if not more:
                return b""
            self._data += more
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    async def say(self, text: str) -> bytes:
        self.stream.write(text.encode() + b"\r\n")
        return await self.line()

    async def lines(self, text: str) -> bytes:
        """A multi-line answer, unstuffed."""
        assert (await self.say(text)).startswith(b"+OK")
        found = []
        while (line := await self.line()) != b".":
            found.append(line.removeprefix(b"."))
        return b"".join(line + b"\r\n" for line in found)


def play(path: Path, work: Callable[[House, Pop3Server], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with house(path, **settings) as h:
            server = h.server(Pop3Server)
            await asyncio.wait_for(work(h, server), 30)
            server.drain()

    asyncio.run(run())


async def entered(h: House, server: Pop3Server) -> Client:
    client = Client(h.connect(server))
    assert (await client.line()).startswith(b"+OK")
    assert await client.say(f"USER {ADDRESS}") == b"+OK and the password?"
    assert (await client.say(f"PASS {PASSWORD}")).startswith(b"+OK")
    return client


async def fill(h: House, *bodies: bytes) -> None:
    client = await h.imap_client()
    for n, body in enumerate(bodies, 1):
        await client.ok("APPEND INBOX", message(n, body))
    await client.ok("LOGOUT")


async def status(h: House) -> bytes:
    client = await h.imap_client()
    (line, _) = await client.ok("STATUS INBOX (MESSAGES UNSEEN)")
    await client.ok("LOGOUT")
    return line


def test_what_is_read_is_what_was_stored(tmp_path: Path) -> None:
    """Dots, at the beginning, at the borders of pieces, and a message without a last CRLF."""
    bodies = [b".\r\n..\r\n.x\r\n", (b"." * 63 + b"\r\n") * 20_000, b"no end", b"\r\n"]

    async def work(h: House, server: Pop3Server) -> None:
        await fill(h, *bodies)
        c = await entered(h, server)
        for n, body in enumerate(bodies, 1):
            expected = message(n, body)
            assert await c.lines(f"RETR {n}") == expected + (b"\r\n" if n == 3 else b"")
        head = message(2, b"")
        assert await c.lines("TOP 2 0") == head
        assert await c.lines("TOP 2 3") == head + (b"." * 63 + b"\r\n") * 3
        assert await c.lines("TOP 2 99999") == message(2, bodies[1])
        assert await c.lines("TOP 3 1") == message(3, bodies[2]) + b"\r\n"

    play(tmp_path, work)


def test_numbers_and_unique_ids(tmp_path: Path) -> None:
    async def work(h: House, server: Pop3Server) -> None:
        await fill(h, b"a\r\n", b"bb\r\n", b"ccc\r\n")
        c = await entered(h, server)
        one = len(message(1, b"a\r\n"))
        assert await c.say("STAT") == b"+OK 3 %d" % (3 * one + 3)
        assert (await c.lines("LIST")).split(b"\r\n")[:3] == [
            b"1 %d" % one,
            b"2 %d" % (one + 1),
            b"3 %d" % (one + 2),
        ]
        ids = (await c.lines("UIDL")).split(b"\r\n")
        assert len({line.split()[1] for line in ids[:3]}) == 3
        assert await c.say("UIDL 2") == b"+OK " + ids[1]
        assert await c.say("DELE 2") == b"+OK deleted at QUIT"
        for command in ("LIST 2", "UIDL 2", "RETR 2", "TOP 2 1", "DELE 2", "DELE 0", "RETR 4"):
            assert (await c.say(command)).startswith(b"-ERR"), command
        assert (await c.lines("UIDL")).split(b"\r\n")[:2] == [ids[0], ids[2]]
        assert await c.say("STAT") == b"+OK 2 %d" % (2 * one + 2)
        assert (await c.say("RSET")).startswith(b"+OK 3 messages")
        assert await c.say("DELE 1") == b"+OK deleted at QUIT"
        assert (await c.say("QUIT")).startswith(b"+OK")
        assert await c.line() == b""
        # The other ids stay.
        again = await entered(h, server)
        left = (await again.lines("UIDL")).split(b"\r\n")
        assert [line.split()[1] for line in left[:2]] == [ids[1].split()[1], ids[2].split()[1]]

    play(tmp_path, work)


def test_nothing_is_deleted_without_quit(tmp_path: Path) -> None:
    async def work(h: House, server: Pop3Server) -> None:
        await fill(h, b"a\r\n", b"b\r\n")
        c = await entered(h, server)
        await c.lines("RETR 1")
        await c.say("DELE 1")
        await c.stream.close()
        assert await c.line() == b""
        assert await status(h) == b"* STATUS INBOX (MESSAGES 2 UNSEEN 2)"
        c = await entered(h, server)
        await c.lines("RETR 1")
        await c.say("DELE 2")
        await c.say("QUIT")
        assert await status(h) == b"* STATUS INBOX (MESSAGES 1 UNSEEN 0)"

    play(tmp_path, work)


def test_a_snapshot_and_no_lock(tmp_path: Path) -> None:
    async def work(h: House, server: Pop3Server) -> None:
        await fill(h, b"a\r\n", b"b\r\n")
        one, two = await entered(h, server), await entered(h, server)
        await fill(h, b"c\r\n")
        assert (await one.say("STAT")).startswith(b"+OK 2 ")
        await two.say("DELE 1")
        await two.say("QUIT")
        assert (await one.say("RETR 1")).startswith(b"-ERR")
        assert await one.lines("RETR 2") == message(2, b"b\r\n")
        await one.say("DELE 1")
        assert (await one.say("QUIT")).startswith(b"+OK")
        assert await status(h) == b"* STATUS INBOX (MESSAGES 2 UNSEEN 1)"

    play(tmp_path, work)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("right", [True, False])
def test_auth(tmp_path: Path, mechanism: str, right: bool) -> None:
    async def work(h: House, server: Pop3Server) -> None:
        c = Client(h.connect(server))
        await c.line()
        client = client_mechanism(
            mechanism, authcid=ADDRESS, password=PASSWORD if right else "x", nonce="a" * 24
        )
        initial = client.initial()
        word = "" if initial is None else f" {base64.b64encode(initial).decode()}"
        line = await c.say(f"AUTH {mechanism}{word}")
        while line.startswith(b"+ "):
            answer = client.respond(base64.b64decode(line[2:]))
            line = await c.say(base64.b64encode(answer).decode())
        assert line.startswith(b"+OK" if right else b"-ERR [AUTH]")

    play(tmp_path, work)


def test_no_password_in_the_clear(tmp_path: Path) -> None:
    async def work(h: House, server: Pop3Server) -> None:
        c = Client(h.connect(server))
        await c.line()
        words = (await c.lines("CAPA")).split(b"\r\n")
        assert b"STLS" in words
        assert b"USER" not in words
        assert (await c.say("USER x")).startswith(b"-ERR [AUTH]")
        assert (await c.say("PASS x")).startswith(b"-ERR [AUTH]")
        assert (await c.say("AUTH PLAIN =")).startswith(b"-ERR [AUTH]")
        assert (await c.say("STLS")).startswith(b"+OK")
        words = (await c.lines("CAPA")).split(b"\r\n")
        assert b"STLS" not in words
        assert b"USER" in words
        attack = Client(h.connect(server))
        await attack.line()
        assert (await attack.say("STLS\r\nNOOP")).startswith(b"-ERR")
        assert await attack.line() == b""

    play(tmp_path, work, plaintext_auth_networks=(), starttls="toy")


def test_pipelined_and_broken(tmp_path: Path) -> None:
    async def work(h: House, server: Pop3Server) -> None:
        await fill(h, b"a\r\n")
        c = Client(h.connect(server))
        await c.line()
        for bad in (
            "STAT",
            "USER",
            "PASS",
            "NOSUCH",
            "AUTH X",
            "AUTH PLAIN !",
            "\x00",
            "x" * 20_000,
        ):
            assert (await c.say(bad)).startswith(b"-ERR"), bad
        c.stream.write(
            f"USER {ADDRESS}\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR x\r\nTOP 1\r\nNOOP\r\n".encode()
        )
        answers = [await c.line() for _ in range(6)]
        assert [a[:3] for a in answers] == [b"+OK", b"+OK", b"+OK", b"-ER", b"-ER", b"+OK"]
        for _ in range(50):
            line = await c.say("NONSENSE")
            if not line:
                break
        else:
            pytest.fail("errors without end")

    play(tmp_path, work)


def test_failures_silence_and_closing(tmp_path: Path) -> None:
    async def work(h: House, server: Pop3Server) -> None:
        c = Client(h.connect(server))
        await c.line()
        for _ in range(3):
            await c.say(f"USER {ADDRESS}")
            assert (await c.say("PASS falso")).startswith(b"-ERR [AUTH]")
        assert await c.line() == b""
        silent = Client(h.connect(server))
        await silent.line()
        assert (await silent.line()).startswith(b"-ERR [SYS/TEMP]")
        last = await entered(h, server)
        server.drain()
        assert (await last.line()).startswith(b"-ERR [SYS/TEMP]")
        await server.stop()
        assert (await Client(h.connect(server)).line()).startswith(b"-ERR")

    play(tmp_path, work, login_seconds=0.05)
