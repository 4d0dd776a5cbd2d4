"""Readers: people's programs on the simulated internet that read, by IMAP.

`read_inbox` looks once. A `Watcher` sits in an INBOX by IDLE, comes again when its connection ends,
and notes what it was told and when.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from estafeta.world.seams import Endpoint, Stream

from .installation import PASSWORD
from .net import SimNet

IMAP_PORT = 143
PATIENCE_SECONDS = 60.0
SESSION_SECONDS = (60.0, 1500.0)
AWAY_SECONDS = (0.5, 60.0)
_LITERAL = re.compile(rb"\{(\d+)\}\r\n$")
_EXISTS = re.compile(rb"^\* (\d+) EXISTS", re.MULTILINE)
_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d+)\]")
_FETCHED = re.compile(rb"^\* \d+ FETCH \(.*?UID (\d+).*?FLAGS \(([^)]*)\)", re.MULTILINE)


@dataclass(slots=True)
class Watched:
    """One session in an INBOX. Times are the loop's.

    process: who served it. began: when it was in; ended: infinite while it lasts.
    heard: (when, EXISTS). uids: in the order of their numbers; recent: those shown as \\Recent.
    """

    account: str
    process: str
    read_only: bool
    began: float = math.inf
    ended: float = math.inf
    validity: int = 0
    exists: int = 0
    heard: list[tuple[float, int]] = field(default_factory=list)
    uids: list[int] = field(default_factory=list)
    recent: set[int] = field(default_factory=set)


class Watcher:
    """Of one account. sessions: all there were, the last one may last still."""

    def __init__(self, net: SimNet, server: str, account: str, dice: random.Random) -> None:
        self._net = net
        self._server = server
        self._account = account
        self._dice = dice
        self.sessions: list[Watched] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, AssertionError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    stream = await self._net.connect(Endpoint(self._server, IMAP_PORT))
                try:
                    await self._session(stream)
                finally:
                    stream.abort()
            await asyncio.sleep(self._dice.uniform(*AWAY_SECONDS))

    async def _session(self, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        process = self._net.internet.served[stream.local]
        seen = Watched(self._account, process, read_only=self._dice.random() < 0.3)
        imap = _Imap(stream, on_text=lambda text: _note(seen, text))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await imap.response()
            await imap.ask(f'LOGIN {self._account} "{PASSWORD}"')
            await imap.ask(f"{'EXAMINE' if seen.read_only else 'SELECT'} INBOX")
        seen.began = loop.time()
        self.sessions.append(seen)
        end = loop.time() + self._dice.uniform(*SESSION_SECONDS)
        try:
            while loop.time() < end:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while len(seen.uids) < seen.exists:
                        await imap.ask(f"FETCH {len(seen.uids) + 1}:{seen.exists} (UID FLAGS)")
                await self._idle(imap, seen, end)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await imap.ask("LOGOUT")
                await stream.close()
        finally:
            seen.ended = loop.time()

    @staticmethod
    async def _idle(imap: _Imap, seen: Watched, end: float) -> None:
        """RFC 2177: until there is more, or the time is over."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            tag = await imap.begin("IDLE")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while seen.exists == len(seen.uids):
                    await imap.response()
        async with asyncio.timeout(PATIENCE_SECONDS):
            imap.say(b"DONE\r\n")
            await imap.answer(tag, "IDLE")


def _note(seen: Watched, text: bytes) -> None:
    if found := _EXISTS.search(text):
        seen.exists = int(found[1])
        seen.heard.append((asyncio.get_running_loop().time(), seen.exists))
    elif found := _VALIDITY.search(text):
        seen.validity = int(found[1])
    elif (found := _FETCHED.search(text)) and int(found[1]) not in seen.uids:
        seen.uids.append(int(found[1]))
        if rb"\Recent" in found[2]:
            seen.recent.add(int(found[1]))


async def read_inbox(net: SimNet, server: str, user: str) -> list[bytes]:
    """Every message of the INBOX, by IMAP (RFC 3501). Raises AssertionError, OSError."""
    stream = await net.connect(Endpoint(server, IMAP_PORT))
    reader = _Imap(stream)
    await reader.response()
    await reader.ask(f'LOGIN {user} "{PASSWORD}"')
    await reader.ask("EXAMINE INBOX")
    found = await reader.ask("UID FETCH 1:* (UID BODY.PEEK[])")
    await reader.ask("LOGOUT")
    await stream.close()
    return found


class _Imap:
    """on_text: sees every response without its literals."""

    def __init__(
        self, stream: Stream, on_text: Callable[[bytes], None] = lambda text: None
    ) -> None:
        self._stream = stream
        self._on_text = on_text
        self._held = b""
        self._tag = 0

    async def ask(self, command: str) -> list[bytes]:
        """The literals in the answer. Raises AssertionError where it is not OK."""
        return await self.answer(self._send(command), command)

    async def begin(self, command: str) -> bytes:
        """Returns its tag once the server says `+`."""
        tag = self._send(command)
        while True:
            line, _ = await self.response()
            assert not line.startswith(tag), f"{command}: {line!r}"
            if line.startswith(b"+"):
                return tag

    def say(self, octets: bytes) -> None:
        self._stream.write(octets)

    def _send(self, command: str) -> bytes:
        self._tag += 1
        tag = f"a{self._tag}".encode()
        self._stream.write(tag + b" " + command.encode() + b"\r\n")
        return tag

    async def answer(self, tag: bytes, command: str) -> list[bytes]:
        """Reads up to the end of a command; see `ask`."""
        literals: list[bytes] = []
        while True:
            line, found = await self.response()
            literals += found
            if line.startswith(tag + b" "):
                assert line.startswith(tag + b" OK"), f"{command}: {line!r}"
                return literals

    async def response(self) -> tuple[bytes, list[bytes]]:
        """(one response without its literals, its literals)."""
        text = b""
        literals: list[bytes] = []
        while True:
            line = await self._take_line()
            literal = _LITERAL.search(line)
            text += line
            if literal is None:
                self._on_text(text)
                return text, literals
            literals.append(await self._take(int(literal[1])))

    async def _take_line(self) -> bytes:
        while b"\r\n" not in self._held:
            await self._more()
        line, _, self._held = self._held.partition(b"\r\n")
        return line + b"\r\n"

    async def _take(self, octets: int) -> bytes:
        parts, size = [self._held], len(self._held)
        while size < octets:
            self._held = b""
            await self._more()
            parts.append(self._held)
            size += len(self._held)
        whole = b"".join(parts)
        self._held = whole[octets:]
        return whole[:octets]

    async def _more(self) -> None:
        data = await self._stream.read()
        assert data, "the IMAP server ended the connection"
        self._held += data
