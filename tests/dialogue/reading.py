"""reading: plays the server's part of IMAP and POP3 dialogues: a whole server over a store.

The account ana@correo.example / secreto is new, its INBOX empty. Directives:

    [profile tls=yes plaintext=no quota=N size=N]   at the top
    [deliver text]      a message with this text in its body comes to INBOX
    [tls]               TLS has begun: what was sent must be answered by now
    [close]             the client ends its stream
    [closed]            the server has ended it
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from tests.dialogue.script import Directive, Script
from tests.read.rig import Client, House, house, message
from tests.support.stores import drained


class ReadingAdapter:
    """Implements `script.Adapter` over a loop that runs while the server has something to do."""

    def __init__(self, runner: asyncio.Runner, h: House, server: Any) -> None:
        self._loop = runner.get_loop()
        self._house = h
        self._stream = h.connect(server)
        self._out = b""
        self._delivered = 0
        self._settle()

    def _settle(self) -> None:
        """Until the server waits for the client, or is gone."""
        server = self._stream.other

        async def wait() -> None:
            for _ in range(10_000):
                await asyncio.sleep(0)
                waits = server._waiter is not None and not server.buffered()
                if server._closed or waits:
                    break
                if server._waiter is None:
                    await asyncio.sleep(0.001)
            # Idle sessions look at the store once more, and may write into it what they saw.
            for _ in range(2):
                for _ in range(20):
                    await asyncio.sleep(0)
                await drained(self._house.store)

        self._loop.run_until_complete(wait())
        while self._stream._chunks:
            self._out += self._stream._chunks.popleft()

    def feed(self, data: bytes) -> None:
        """The server has taken it when this returns; what it makes of it, `output` waits for."""
        self._stream.write(data)
        server = self._stream.other

        async def taken() -> None:
            await asyncio.sleep(0)
            while server.buffered() and not server._closed:
                await asyncio.sleep(0)

        self._loop.run_until_complete(taken())

    def output(self) -> bytes:
        self._settle()
        out, self._out = self._out, b""
        return out

    def do(self, directive: Directive) -> None:
        if directive.word == "deliver":
            self._delivered += 1
            body = directive.arguments.encode() + b"\r\n"
            self._loop.run_until_complete(deliver(self._house, message(self._delivered, body)))
        elif directive.word == "close":
            self._loop.run_until_complete(self._stream.close())
        elif directive.word == "closed":
            assert self._stream.other._closed, "the connection is still open"
        elif directive.word not in ("profile", "tls"):
            raise AssertionError(f"no such directive: {directive.word}")

    def told(self) -> list[str]:
        return []


async def deliver(h: House, data: bytes) -> None:
    client: Client = await h.imap_client()
    await client.ok("APPEND INBOX", data)
    await client.ok("LOGOUT")


@contextmanager
def adapter(script: Script, path: Path, kind: Any) -> Iterator[ReadingAdapter]:
    """A server of `kind` as the script's profile wants it."""
    said = dict(pair.split("=", 1) for pair in script.setting.split())
    settings: dict[str, Any] = {"starttls": "toy" if said.get("tls") == "yes" else None}
    if said.get("plaintext") == "no":
        settings["plaintext_auth_networks"] = (ip_network("198.51.100.0/24"),)
    if "size" in said:
        settings["message_octets_max"] = int(said["size"])
    with asyncio.Runner() as runner:
        context = house(path, quota=int(said.get("quota", "0")), **settings)
        h = runner.run(context.__aenter__())
        server = h.server(kind)
        try:
            yield ReadingAdapter(runner, h, server)
        finally:

            async def end() -> None:
                server.drain()
                await context.__aexit__(None, None, None)

            runner.run(end())


__all__ = ["ReadingAdapter", "adapter"]
