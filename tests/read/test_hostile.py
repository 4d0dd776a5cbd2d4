"""Hostile clients: whatever comes, no error of ours, bounded memory, and others are served."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.read.rig import ADDRESS, PASSWORD, Client, House, house, message

from estafeta.read.pop3_session import Pop3Server

WORDS = """
NOOP CHECK CLOSE UNSELECT EXPUNGE CAPABILITY NAMESPACE IDLE DONE SELECT EXAMINE CREATE DELETE RENAME
SUBSCRIBE LIST LSUB STATUS APPEND FETCH UID SEARCH STORE COPY MOVE ENABLE ID GETQUOTA GETQUOTAROOT
INBOX Sent nosuch "" * % 1 1:* 2,4 4294967295 0 (FLAGS) FLAGS BODY[] BODY[1] BODY[1.MIME] RFC822
BODY[HEADER] BODY.PEEK[HEADER.FIELDS(Subject)] BODY[TEXT]<3.7> ENVELOPE BODYSTRUCTURE ALL FULL FAST
+FLAGS -FLAGS.SILENT \\Seen \\Deleted (\\Flagged) word RETURN (MIN) () NOT OR SUBJECT FROM TEXT BODY
UNSEEN LARGER SINCE 1-Feb-2026 SENTON HEADER (MESSAGES) (UNSEEN RECENT) {3+} {3} {0+} {99999+} ( )
[ ] NIL CHARSET UTF-8 KOI8-R USE (USE(\\Sent)) AUTHENTICATE PLAIN LOGIN =
""".split()  # noqa: SIM905
COMMON = ["FETCH", "UID", "SEARCH", "STORE", "COPY", "LIST", "STATUS", "SELECT"]
MESSAGES = [
    message(1),
    b"",
    b"\r\n",
    b"no header at all",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x--",
    b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n",
    b'Subject: \xff\xfe\x00 {5}\r\nFrom: "\\" <@>, (((\r\nDate: never\r\n\r\n\x00\xff\r\n',
]


def line(dice: random.Random) -> bytes:
    kind = dice.random()
    if kind < 0.1:
        return dice.randbytes(dice.randint(0, 60))
    words = [dice.choice(WORDS) for _ in range(dice.randint(1, 7))]
    if kind < 0.6:
        words[0] = dice.choice(
            ["FETCH", "UID", "SEARCH", "STORE", "COPY", "LIST", "STATUS", "SELECT"]
        )
    text = f"a {dice.choice([' ', '']) if kind > 0.95 else ''}{' '.join(words)}"
    return text.encode().replace(b"{3+}", b"{3+}\r\nabc").replace(b"{0+}", b"{0+}\r\n")


async def drained(client: Client) -> None:
    """Reads and forgets what comes, so that the server never waits."""
    try:
        while await client.stream.read():
            pass
    except ConnectionError:
        return


@pytest.mark.parametrize("seed", range(8))
def test_no_error_of_ours(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    print("seed", seed)

    async def attack(h: House) -> None:
        client = await h.imap_client()
        await client.ok("SELECT INBOX")
        reader = asyncio.ensure_future(drained(client))
        for _ in range(60):
            client.send(line(dice) + b"\r\n")
            if dice.random() < 0.3:
                await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        client.stream.abort() if dice.random() < 0.5 else await client.stream.close()
        await asyncio.wait_for(reader, 10)

    async def run() -> None:
        async with house(tmp_path) as h:
            first = await h.imap_client()
            for data in MESSAGES:
                if data:
                    await first.ok("APPEND INBOX", data)
            for _ in range(10):
                await asyncio.gather(attack(h), attack(h))
            # `house` fails where anything was logged as an error of ours.
            await first.ok("SELECT INBOX")
            await first.ok("UID FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[])")

    asyncio.run(run())


def test_a_peer_that_takes_nothing_is_not_served_into_memory(tmp_path: Path) -> None:
    data = message(1, b"x" * 78 + b"\r\n" * 100_000)

    async def run() -> None:
        async with house(tmp_path) as h:
            greedy = await h.imap_client()
            for _ in range(4):
                await greedy.ok("APPEND INBOX", data)
            await greedy.ok("SELECT INBOX")
            greedy.send(b"a FETCH 1:* BODY.PEEK[]\r\n" * 50)
            for _ in range(200):
                await asyncio.sleep(0)
            # What is sent and not taken: the high-water mark and one step of FETCH.
            assert greedy.stream.buffered() < 2_000_000
            other = await h.imap_client()
            await asyncio.wait_for(other.ok("NOOP"), 5)
            greedy.stream.abort()

    asyncio.run(run())


def test_pop3_takes_any_octets(tmp_path: Path) -> None:
    words = [
        "USER",
        "PASS",
        "STAT",
        "RETR",
        "TOP",
        "1",
        "99",
        "x",
        "\0",
        "AUTH",
        "PLAIN",
        "=",
        "LIST",
    ]

    async def run() -> None:
        dice = random.Random(3)
        async with house(tmp_path) as h:
            await (await h.imap_client()).ok("APPEND INBOX", message(1))
            server = h.server(Pop3Server)
            for n in range(30):
                client = Client(h.connect(server))
                reader = asyncio.ensure_future(drained(client))
                if n % 2:
                    client.send(f"USER {ADDRESS}\r\nPASS {PASSWORD}\r\n".encode())
                for _ in range(30):
                    said = " ".join(dice.choices(words, k=dice.randint(1, 4))).encode()
                    client.send((dice.randbytes(9) if dice.random() < 0.1 else said) + b"\r\n")
                await asyncio.sleep(0)
                await client.stream.close()
                await asyncio.wait_for(reader, 10)
            server.drain()

    asyncio.run(run())
