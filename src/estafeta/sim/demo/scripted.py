"""Scripted: servers of others, each with one trouble that it makes, and what was said to them.

They speak SMTP in their own few lines, not through `wire`. What they saw is the demo's evidence.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Literal

from estafeta.world.seams import Endpoint, Listener, Net, Stream, TlsConfig, TlsError

LINE_OCTETS_MAX = 4096
CONTENT_OCTETS_MAX = 1 << 20
_END = b"\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class Manner:
    """at: what is refused; "silence" says nothing at all. reply: with what. times: how often, 0
    always. seconds: so long after the first refusal, however often. holding: only content in which
    that stands."""

    at: Literal["greeting", "rcpt", "content", "silence"]
    reply: str = ""
    times: int = 0
    seconds: float = 0.0
    holding: bytes = b""


@dataclass(frozen=True, slots=True)
class Said:
    """at: of the loop. command: "" for the greeting, "." for a message."""

    at: float
    command: str
    reply: str


@dataclass(slots=True)
class Talk:
    """One connection, as the server saw it. content: of the message it took, if it did."""

    began: float
    said: list[Said] = field(default_factory=list)
    content: bytes = b""


class Scripted:
    """host: what it calls itself. took: set once it has taken a message."""

    def __init__(self, host: str, manner: Manner, tls: TlsConfig) -> None:
        self.host = host
        self.talks: list[Talk] = []
        self.took = asyncio.Event()
        self._manner = manner
        self._tls = tls
        self._refused = 0
        self._first = 0.0

    async def listen(self, net: Net, at: Endpoint) -> Listener:
        return await net.listen(at, self._serve)

    @property
    def refusals(self) -> list[Said]:
        """What it answered with 4xx or 5xx."""
        return [one for talk in self.talks for one in talk.said if one.reply[:1] in ("4", "5")]

    @property
    def taken(self) -> list[tuple[Said, bytes]]:
        """Messages it took: its reply, the octets."""
        return [
            (next(one for one in talk.said if one.command == "."), talk.content)
            for talk in self.talks
            if talk.content
        ]

    async def _serve(self, stream: Stream) -> None:
        talk = Talk(asyncio.get_running_loop().time())
        self.talks.append(talk)
        if self._manner.at == "silence":
            while await stream.read():
                pass
            return
        try:
            await self._talk(talk, _Lines(stream))
        except (TlsError, ConnectionError):
            return  # the other side has gone

    async def _talk(self, talk: Talk, lines: _Lines) -> None:
        refusal = self._refusal("greeting")
        await self._say(talk, lines, "", refusal or f"220 {self.host} ESMTP")
        while not refusal and (line := await lines.until(b"\r\n", LINE_OCTETS_MAX)) is not None:
            command = line.decode("utf-8", "replace")
            verb = command[:4].upper()
            if verb == "EHLO":
                offer = "" if lines.stream.tls else "\r\n250-STARTTLS"
                reply = f"250-{self.host}{offer}\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME"
            elif verb == "STAR":
                await self._say(talk, lines, command, "220 2.0.0 go ahead")
                await lines.stream.start_tls(self._tls)
                continue
            elif verb == "RCPT":
                reply = self._refusal("rcpt") or "250 2.1.5 ok"
            elif verb == "DATA":
                await self._say(talk, lines, command, "354 end with a dot on a line of its own")
                content = await lines.until(_END, CONTENT_OCTETS_MAX)
                if content is None:
                    return
                command, reply = ".", self._refusal("content", content) or "250 2.0.0 taken"
                if reply.startswith("2"):
                    talk.content = re.sub(rb"(?m)^\.", b"", content) + b"\r\n"
                    await self._say(talk, lines, command, reply)
                    self.took.set()
                    continue
            else:
                reply = "221 2.0.0 bye" if verb == "QUIT" else "250 2.0.0 ok"
            await self._say(talk, lines, command, reply)
            if verb == "QUIT":
                break
        await lines.stream.close()

    def _refusal(self, at: str, content: bytes = b"") -> str:
        manner = self._manner
        if manner.at != at or (manner.holding and manner.holding not in content):
            return ""
        now = asyncio.get_running_loop().time()
        if manner.times and self._refused >= manner.times:
            return ""
        if manner.seconds and self._refused and now >= self._first + manner.seconds:
            return ""
        self._first = self._first or now
        self._refused += 1
        return manner.reply

    async def _say(self, talk: Talk, lines: _Lines, command: str, reply: str) -> None:
        if command != "QUIT" and not reply.startswith("221"):
            at = asyncio.get_running_loop().time()
            talk.said.append(Said(at, command, reply.rpartition("\r\n")[2]))
        lines.stream.write(reply.encode() + b"\r\n")
        await lines.stream.drain()


class _Lines:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._waiting = b""

    async def until(self, end: bytes, octets_max: int) -> bytes | None:
        """What stands before `end`; None where the other side ends, or says too much."""
        while end not in self._waiting:
            if len(self._waiting) > octets_max or not (data := await self.stream.read()):
                return None
            self._waiting += data
        found, _, self._waiting = self._waiting.partition(end)
        return found
