"""The server that remote recipients live on: takes mail, keeps account, sometimes breaks off.

It lives in the test's process, so it survives every kill of the server under test.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

CUT_BEFORE_DOT = 0.01  # probability, a message
CUT_AFTER_DOT = 0.02
STREAM_LIMIT = 1 << 20


@dataclass(slots=True)
class Taken:
    """One message for one recipient. told: the reply was sent, not withheld."""

    at: float
    told: bool
    digest: bytes


class Sink:
    """taken: (mark, recipient) -> each time it was taken. Faults come from `dice`."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._sessions: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0
        self.faults = True
        # Cleared: replies to messages are held back.
        self.answering = asyncio.Event()
        self.answering.set()
        self.taken: defaultdict[tuple[str, str], list[Taken]] = defaultdict(list)
        self.counts: Counter[str] = Counter()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0, limit=STREAM_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Returns when all sessions have ended."""
        assert self._server is not None
        self._server.close()
        for writer in self._sessions.values():
            writer.transport.abort()
        self.answering.set()
        if self._sessions:
            await asyncio.wait(self._sessions)

    async def wait_for(self, wanted: set[tuple[str, str]], seconds: float) -> None:
        """Returns once all of `wanted` were taken. Raises AssertionError, naming some."""
        try:
            async with asyncio.timeout(seconds):
                while not wanted <= self.taken.keys():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            missing = sorted(wanted - self.taken.keys())
            raise AssertionError(f"{len(missing)} never arrived: {missing[:10]}") from None

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions[task] = writer
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._converse(reader, writer)
        writer.transport.abort()
        del self._sessions[task]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["sessions"] += 1
        writer.write(b"220 sink.example ESMTP\r\n")
        recipients: list[str] = []
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                if self.faults and self._dice.random() < CUT_BEFORE_DOT:
                    self.counts["cut before the dot"] += 1
                    await reader.readline()
                    return
                data = await _message(reader)
                told = not (self.faults and self._dice.random() < CUT_AFTER_DOT)
                self._take(data, recipients, told)
                if not told:
                    self.counts["cut after the dot"] += 1
                    return
                await self.answering.wait()
                writer.write(b"250 2.0.0 taken\r\n")
                recipients = []
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                return
            else:
                if verb == b"RCPT":
                    recipients.append(line[line.index(b"<") + 1 : line.index(b">")].decode())
                elif verb in (b"MAIL", b"RSET"):
                    recipients = []
                writer.write(b"250 2.0.0 ok\r\n")
            await writer.drain()

    def _take(self, data: bytes, recipients: list[str], told: bool) -> None:
        mark, digest = read_mark(data), text_digest(data)
        for recipient in recipients:
            self.taken[mark, recipient].append(Taken(time.monotonic(), told, digest))
        self._changed.set()


async def _message(reader: asyncio.StreamReader) -> bytes:
    lines = []
    while (line := await reader.readline()) != b".\r\n":
        if not line:
            raise asyncio.IncompleteReadError(b"", None)
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)


def read_mark(data: bytes) -> str:
    """The left side of the Message-ID."""
    start = data.lower().index(b"message-id: <") + 13
    return data[start : data.index(b"@", start)].decode()


def text_digest(data: bytes) -> bytes:
    """Of all after the header: what nobody may change."""
    return sha256(data[data.index(b"\r\n\r\n") + 4 :]).digest()
