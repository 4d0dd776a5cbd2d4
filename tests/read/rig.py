"""rig: one installation's store in a folder, an account, IMAP and POP3 over streams."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from tests.support.stores import usual_store
from tests.support.streams import FixedClock, InlineCpu, MemoryNet, MemoryStream, stream_pair

from estafeta.mail.protocols import NoMeter
from estafeta.read.imap_session import ImapServer
from estafeta.read.settings import ReadSettings
from estafeta.store import accounts, mailboxes
from estafeta.store.bodies import Bodies
from estafeta.store.credentials import Authenticator, Password
from estafeta.store.ids import Ids
from estafeta.store.rows import Account
from estafeta.wire.sasl import scram_keys
from estafeta.world.disk import RealDisk
from estafeta.world.seams import Endpoint, World

ADDRESS = "ana@correo.example"
PASSWORD = "secreto"
HERE = Endpoint("192.0.2.2", 143)
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")

_password: list[Password] = []


def password() -> Password:
    """Made once, and cheap to check: argon2id is slow by intent."""
    if not _password:
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        keys = scram_keys(PASSWORD, b"0123456789abcdef")
        _password.append(Password(hasher.hash(PASSWORD), keys))
    return _password[0]


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    warning = info

    def exception(self, event: str, **fields: Any) -> None:
        import traceback

        self.events.append((event, fields | {"stack": traceback.format_exc()}))


class House:
    """store, bodies, world, one account."""

    def __init__(self, world: World, store: Any, account: Account, **settings: Any) -> None:
        self.world = world
        self.store = store
        self.account = account
        self.bodies = Bodies(world.disk, Ids(world.clock, world.dice))
        self.log = Log()
        self.settings = ReadSettings(
            **(
                {
                    "hostname": "correo.example",
                    "plaintext_auth_networks": (ip_network("192.0.2.0/24"),),
                    "login_failure_seconds": 0.0,
                }
                | settings
            )
        )
        self.authenticator = Authenticator(store, world)
        self.meter = NoMeter()
        self.imap = self.server(ImapServer)
        self._tasks: list[asyncio.Task[None]] = []

    def server(self, kind: Any, **settings: Any) -> Any:
        return kind(
            self.store,
            self.bodies,
            self.authenticator,
            self.world,
            self.settings,
            self.meter,
            self.log,
        )

    def connect(self, server: Any = None, **how: Any) -> MemoryStream:
        client, there = stream_pair(server=HERE)

        async def serve() -> None:
            try:
                await (server or self.imap).serve(there, **how)
            finally:
                there.abort()

        self._tasks.append(asyncio.ensure_future(serve()))
        return client

    async def imap_client(self, *, login: bool = True) -> Client:
        client = Client(self.connect())
        assert (await client.line()).startswith(b"* OK")
        if login:
            await client.ok(f"LOGIN {ADDRESS} {PASSWORD}")
        return client

    async def close(self) -> None:
        self.imap.drain()
        await asyncio.wait_for(asyncio.gather(*self._tasks, return_exceptions=True), 10)
        errors = [fields for event, fields in self.log.events if "stack" in fields]
        assert not errors, errors[0]["stack"]


@asynccontextmanager
async def house(path: Path, *, quota: int = 0, **settings: Any) -> AsyncIterator[House]:
    world = World(FixedClock(), random.Random(7), MemoryNet(), RealDisk(path), InlineCpu())
    async with usual_store(path, world) as store:

        def begin(tx: Any) -> Account:
            accounts.add_domain(tx, "correo.example", 0)
            return accounts.add_account(
                tx, ADDRESS, 0, name="Ana", quota=quota, password=password()
            )

        account = await store.run(begin)
        made = House(world, store, account, **settings)
        try:
            yield made
        finally:
            await made.close()


class Client:
    """Sends and reads IMAP by whole responses."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self._data = b""
        self._tag = 0

    async def line(self) -> bytes:
        """One response, its literals included, without the last CRLF; b"" at the end."""
        start = 0
        while True:
            end = self._data.find(b"\r\n", start)
            if end < 0:
                more = await asyncio.wait_for(self.stream.read(), 10)
                if not more:
                    return b""
                self._data += more
                continue
            literal = _LITERAL.search(self._data[start : end + 2])
            if literal is None:
                line, self._data = self._data[:end], self._data[end + 2 :]
                return line
            start = end + 2 + int(literal.group(1))
            while len(self._data) < start:
                more = await asyncio.wait_for(self.stream.read(), 10)
                if not more:
                    return b""
                self._data += more

    def send(self, data: bytes) -> None:
        self.stream.write(data)

    async def command(self, text: str | bytes, literal: bytes | None = None) -> list[bytes]:
        """All responses up to the tagged one, which comes last without its tag."""
        self._tag += 1
        tag = b"t%d" % self._tag
        octets = text.encode() if isinstance(text, str) else text
        if literal is not None:
            octets += b" {%d+}\r\n%b" % (len(literal), literal)
        self.send(tag + b" " + octets + b"\r\n")
        return await self.until(tag)

    async def until(self, tag: bytes) -> list[bytes]:
        lines = []
        while True:
            line = await self.line()
            assert line, f"closed after {lines}"
            if line.startswith(tag + b" "):
                lines.append(line[len(tag) + 1 :])
                return lines
            lines.append(line)

    async def ok(self, text: str | bytes, literal: bytes | None = None) -> list[bytes]:
        lines = await self.command(text, literal)
        assert lines[-1].startswith(b"OK"), lines
        return lines

    async def no(self, text: str | bytes, literal: bytes | None = None) -> bytes:
        lines = await self.command(text, literal)
        assert lines[-1].startswith(b"NO"), lines
        return lines[-1]

    async def bad(self, text: str | bytes, literal: bytes | None = None) -> bytes:
        lines = await self.command(text, literal)
        assert lines[-1].startswith(b"BAD"), lines
        return lines[-1]


def message(n: int = 1, body: bytes = b"hello\r\n") -> bytes:
    return (
        b"From: Ana <ana@correo.example>\r\nTo: bob@sudominio.example\r\n"
        b"Subject: message %d\r\nDate: Mon, 2 Feb 2026 10:00:00 +0100\r\n"
        b"Message-ID: <m%d@correo.example>\r\n\r\n%b" % (n, n, body)
    )


__all__ = ["ADDRESS", "PASSWORD", "Client", "House", "house", "mailboxes", "message"]


Play = Callable[[House], Awaitable[None]]


def play(path: Path, work: Play, **settings: Any) -> None:
    async def run() -> None:
        async with house(path, **settings) as h:
            await asyncio.wait_for(work(h), 30)

    asyncio.run(run())


async def filled(h: House, count: int) -> Client:
    """A client in INBOX with so many messages."""
    client = await h.imap_client()
    for n in range(1, count + 1):
        await client.ok("APPEND INBOX", message(n))
    await client.ok("SELECT INBOX")
    return client
