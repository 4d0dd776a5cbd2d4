"""What the tests of bad input share: who watches the server while somebody misbehaves."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from pathlib import Path

from tests.support.live import Estafeta
from tests.support.smtp_raw import Raw

DOMAIN = "estafeta.example"
ANA, LUIS = f"ana@{DOMAIN}", f"luis@{DOMAIN}"

RSS_BYTES_MAX = 200 << 20
GROWTH_BYTES_MAX = 40 << 20
"""What one kind of misbehaviour may add to the server's memory at its peak."""
LATENCY_SECONDS_MAX = 5.0
"""For a well-behaved client's whole session meanwhile: generous, for slow machines."""


class Watch:
    """Runs a misbehaviour and sees to it that nobody else is harmed.

    served: messages that the well-behaved client got through, over all that was watched.
    """

    def __init__(self, server: Estafeta) -> None:
        self.server = server
        self.served = 0
        self.slowest = 0.0

    async def during(
        self, attack: Coroutine[None, None, None], *log: str, growth: int = GROWTH_BYTES_MAX
    ) -> None:
        """log: words of which each must stand in some line that the server wrote meanwhile."""
        before = self.memory("VmRSS")
        Path(f"/proc/{self.server.session}/clear_refs").write_text("5")  # VmHWM starts anew
        written = len(self.server.log())
        done = asyncio.Event()
        neighbour = asyncio.create_task(self._neighbour(done))
        try:
            async with asyncio.timeout(60):
                await attack
        finally:
            done.set()
            await neighbour
        peak = self.memory("VmHWM")
        assert peak < RSS_BYTES_MAX, f"{peak >> 20} MiB resident"
        print(f"{before >> 20} MiB before, {peak >> 20} MiB at the peak")
        assert peak - before < growth, f"{(peak - before) >> 20} MiB more than before"
        said = self.server.log()[written:]
        assert "Traceback" not in said, said[-4000:]
        for words in log:
            assert words in said, f"nothing of {words!r} in the log:\n{said[-2000:]}"

    def memory(self, field: str) -> int:
        """Octets, by /proc."""
        for line in Path(f"/proc/{self.server.session}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) << 10
        raise AssertionError(f"no {field}: the server is gone")

    async def _neighbour(self, done: asyncio.Event) -> None:
        """Sends one message after the other, at least one, each within the time."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            async with asyncio.timeout(LATENCY_SECONDS_MAX):
                await self._one_message()
            self.slowest = max(self.slowest, loop.time() - began)
            self.served += 1
            if done.is_set():
                return

    async def _one_message(self) -> None:
        mark = f"neighbour.{self.served}"
        async with await Raw.open(self.server.ports["mx"]) as raw:
            assert (await raw.reply()).startswith("220")
            assert (await raw.say("EHLO neighbour.example")).startswith("250")
            assert (await raw.say("MAIL FROM:<n@neighbour.example>")).startswith("250")
            assert (await raw.say(f"RCPT TO:<{ANA}>")).startswith("250")
            assert (await raw.say("DATA")).startswith("354")
            await raw.send(f"Message-ID: <{mark}@n>\r\n\r\nhello\r\n.\r\n".encode())
            assert (await raw.reply()).startswith("250")
            assert (await raw.say("QUIT")).startswith("221")


class Stranger(Raw):
    """A connection from an address of its own, so that limits by address are its alone."""

    @classmethod
    async def at(cls, port: int, number: int = 2) -> Stranger:
        """number: last byte of 127.0.0.x."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((f"127.0.0.{number}", 0))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=1 << 22))

    async def hello(self) -> None:
        assert (await self.reply()).startswith("220")
        assert (await self.say("EHLO stranger.example")).startswith("250")

    async def to_data(self, *parameters: str, to: str = LUIS) -> None:
        """As far as 354."""
        await self.hello()
        assert (await self.say(" ".join(("MAIL FROM:<s@s.example>", *parameters))))[:3] == "250"
        assert (await self.say(f"RCPT TO:<{to}>"))[:3] == "250"
        assert (await self.say("DATA"))[:3] == "354"

    async def hand(self, sender: str, to: str, data: bytes) -> None:
        """A whole message, which is taken. data: without the final dot."""
        await self.hello()
        for line in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA"):
            assert (await self.say(line))[0] in "23"
        await self.send(data + b".\r\n")
        assert (await self.reply()).startswith("250")

    async def pour(self, data: bytes) -> None:
        """Sends while the peer takes it; a peer that has closed is no error."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            pass

    def half_close(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.cut()


def codes(heard: bytes) -> list[str]:
    """The first words of all lines that end a reply."""
    return [line[:3].decode() for line in heard.splitlines() if line[3:4] != b"-"]


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
