"""A client that says exactly what a test wants, over a real socket, and reads what comes back."""

from __future__ import annotations

import asyncio
from typing import Self

REPLY_SECONDS = 30.0


class Gone(Exception):
    """The connection ended before the reply was complete. heard: what had come."""

    def __init__(self, heard: bytes = b"") -> None:
        super().__init__(heard.decode(errors="replace"))
        self.heard = heard


class Raw:
    """One connection. Every wait ends after REPLY_SECONDS with TimeoutError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> Self:
        """Raises Gone where nobody listens."""
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                return cls(*await asyncio.open_connection(host, port, limit=1 << 20))
        except OSError as error:
            raise Gone from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    async def send(self, data: bytes) -> None:
        """Raises Gone where the peer has cut the connection."""
        self.writer.write(data)
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                await self.writer.drain()
        except OSError as error:
            raise Gone from error

    async def line(self) -> bytes:
        """Without its CRLF. Raises Gone."""
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                line = await self.reader.readline()
        except OSError as error:
            raise Gone from error
        if not line.endswith(b"\r\n"):
            raise Gone(line)
        return line[:-2]

    async def reply(self) -> str:
        """A whole SMTP reply; its lines joined by LF. Raises Gone."""
        lines = []
        while True:
            line = await self.line()
            lines.append(line.decode(errors="replace"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    async def say(self, line: str) -> str:
        """One command and its reply. Raises Gone."""
        await self.send(line.encode() + b"\r\n")
        return await self.reply()

    async def rest(self, octets_max: int = 1 << 20) -> bytes:
        """All that comes until the peer ends the connection; a reset counts as an end."""
        heard = b""
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                while len(heard) < octets_max:
                    data = await self.reader.read(65536)
                    if not data:
                        break
                    heard += data
        except OSError:
            pass
        return heard

    def cut(self) -> None:
        """Ends it without ceremony."""
        self.writer.transport.abort()
