"""Reading and adding messages whose body is in an object store: what is fetched, and what is said
when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.read.rig import ADDRESS, PASSWORD, House, house, message
from tests.read.test_pop3 import Client as Pop3Client

from estafeta.mail.protocols import NoMeter
from estafeta.read.pop3_session import Pop3Server
from estafeta.sim.objects import SimBucket, SimObjects
from estafeta.store.bodies import Shelf
from estafeta.store.limits import HEAD_OCTETS_MAX

LARGE = message(1, b"0123456789abcde\n" * 40_000 + b"needle\r\n")


class Bucket(SimBucket):
    """Keeps what was asked for: (name's part, start, end)."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[int] = []


class Watched(SimObjects):
    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket)
        self._seen = bucket.got

    async def get(self, name: str, start: int, end: int) -> bytes:
        self._seen.append(end)
        return await super().get(name, start, end)


def play(path: Path, work: Callable[[House, Bucket], Awaitable[None]], *, cache: int = 0) -> None:
    async def run() -> None:
        async with house(path) as h:
            bucket = Bucket()
            h.bodies.large = "s3"
            h.bodies.shelf = Shelf(
                Watched(bucket), h.bodies.disk, h.bodies._ids, cache_octets=cache, meter=NoMeter()
            )
            await asyncio.wait_for(work(h, bucket), 30)

    asyncio.run(run())


def test_headers_are_fetched_alone(tmp_path: Path) -> None:
    async def work(h: House, bucket: Bucket) -> None:
        c = await h.imap_client()
        await c.ok("APPEND INBOX", LARGE)
        await c.ok("APPEND INBOX", message(2))
        assert bucket.got == []
        await c.ok("SELECT INBOX")
        await c.ok("FETCH 1:2 (FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE)")
        assert bucket.got == []
        lines = await c.ok("FETCH 1:2 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[HEADER])")
        assert b"Subject: message 1" in lines[0]
        assert b"Subject: message 2" in lines[1]
        assert bucket.got == [HEAD_OCTETS_MAX]
        assert (await c.ok("SEARCH HEADER Subject message"))[0] == b"* SEARCH 1 2"
        assert set(bucket.got) == {HEAD_OCTETS_MAX}
        bucket.got.clear()
        lines = await c.ok("FETCH 1 (BODY.PEEK[TEXT]<0.16> BODY.PEEK[HEADER])")
        assert b"0123456789abcde\n" in lines[0]
        assert bucket.got == [len(LARGE)]  # all of it, once
        assert (await c.ok("SEARCH TEXT needle"))[0] == b"* SEARCH 1"
        lines = await c.ok("FETCH 1 BODY.PEEK[]")
        assert lines[0].endswith(b"{%d}\r\n%b)" % (len(LARGE), LARGE))

    play(tmp_path, work)


def test_pieces_of_one_message_are_fetched_once(tmp_path: Path) -> None:
    async def work(h: House, bucket: Bucket) -> None:
        c = await h.imap_client()
        await c.ok("APPEND INBOX", LARGE)
        h.bodies.shelf._cache.__init__(10**7)  # type: ignore[misc, union-attr]
        await c.ok("SELECT INBOX")
        whole = b""
        for start in range(0, len(LARGE), 100_000):
            lines = await c.ok(f"FETCH 1 BODY.PEEK[]<{start}.100000>")
            whole += lines[0].partition(b"}\r\n")[2][:-1]
        assert whole == LARGE
        assert bucket.got == [len(LARGE)]

    play(tmp_path, work, cache=10**7)


def test_away_is_said_and_the_session_goes_on(tmp_path: Path) -> None:
    async def work(h: House, bucket: Bucket) -> None:
        c = await h.imap_client()
        await c.ok("APPEND INBOX", message(1))
        await c.ok("APPEND INBOX", LARGE)
        await c.ok("APPEND INBOX", message(3))
        await c.ok("SELECT INBOX")
        bucket.down = True
        for command in ("FETCH 1:3 BODY.PEEK[]", "FETCH 2 BODY.PEEK[HEADER]", "SEARCH TEXT x"):
            assert b"[UNAVAILABLE]" in await c.no(command)
        assert b"Subject: message 3" in (await c.ok("FETCH 3 BODY.PEEK[]"))[0]
        assert b"[UNAVAILABLE]" in await c.no("APPEND INBOX", LARGE)
        # The first of two cannot be kept: the rest is read past, and none is placed.
        second = message(5)
        both = b"{%d+}\r\n%b {%d+}\r\n%b" % (len(LARGE), LARGE, len(second), second)
        assert b"[UNAVAILABLE]" in await c.no(b"APPEND INBOX " + both)
        await c.ok("APPEND INBOX", message(6))
        assert b"EXISTS" not in b"".join(await c.ok("FETCH 1:4 FLAGS"))
        assert b"MESSAGES 4" in (await c.ok("STATUS INBOX (MESSAGES)"))[0]
        bucket.down = False
        assert (await c.ok("FETCH 2 BODY.PEEK[]"))[0].endswith(LARGE + b")")
        await c.ok("APPEND INBOX", LARGE)

    play(tmp_path, work)


def test_pop3(tmp_path: Path) -> None:
    async def work(h: House, bucket: Bucket) -> None:
        c = await h.imap_client()
        await c.ok("APPEND INBOX", LARGE)
        await c.ok("APPEND INBOX", message(2))
        server = h.server(Pop3Server)
        client = Pop3Client(h.connect(server))
        await client.line()
        assert (await client.say(f"USER {ADDRESS}")).startswith(b"+OK")
        assert (await client.say(f"PASS {PASSWORD}")).startswith(b"+OK")
        bucket.down = True
        assert (await client.say("RETR 1")).startswith(b"-ERR [SYS/TEMP]")
        assert b"Subject: message 2" in await client.lines("RETR 2")
        bucket.down = False
        assert (await client.lines("RETR 1")).count(b"0123456789abcde") == 40_000
        assert b"Subject: message 1" in await client.lines("TOP 1 3")
        server.drain()

    play(tmp_path, work)
