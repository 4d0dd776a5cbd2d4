"""Bad input, SMTP: the documented reply or a close, bounded memory, a log line, nobody slowed."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter

import pytest
from tests.live.strangers import ANA, LUIS, Stranger, Watch, codes
from tests.support.live import PASSWORD

MIB = 1 << 20
ERRORS_MAX = 20  # wire/limits.py


def test_nul_bytes(watch: Watch) -> None:
    async def attack() -> None:
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            await s.send(b"MAIL FROM:<a\0b@s.example>\r\n")
            assert (await s.reply()).startswith("500 5.5.2")
            await s.send(b"\0" * 5000 + b"\r\n")
            assert (await s.reply()).startswith("500 5.5.2")
            assert (await s.say("NOOP")).startswith("250")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data()
            await s.send(b"Subject: a\0b\r\n\r\n" + b"\0" * 10_000 + b"\r\n.\r\n")
            assert (await s.reply()).startswith("250 2.0.0")

    asyncio.run(watch.during(attack(), '"accepted"'))


def test_a_mebibyte_without_a_line_end(watch: Watch) -> None:
    async def attack() -> None:
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            await s.pour(b"x" * MIB + b"\r\n")
            assert (await s.reply()).startswith("500 5.5.2")
            assert (await s.say("NOOP")).startswith("250")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data()
            await s.pour(b"y" * (MIB - 100) + b"\r\n.\r\n")
            assert (await s.reply())[:9] in ("554 5.6.0", "250 2.0.0")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data()
            await s.pour(b"Subject: z\r\n\r\n" + b"z" * (MIB - 100) + b"\r\n.\r\n")
            assert (await s.reply()).startswith("250 2.0.0")

    asyncio.run(watch.during(attack()))


def test_bytes_without_end(watch: Watch) -> None:
    """A stream that never ends a line, in a command and in a message, is not kept."""

    async def attack() -> None:
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            for _ in range(100):
                await s.pour(b"x" * MIB)
            s.half_close()
            assert (await s.rest()).startswith(b"500 5.5.2")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data()
            for _ in range(100):
                await s.pour(b"x" * MIB)
            await s.pour(b"\r\n.\r\n")
            assert (await s.reply()).startswith("55")

    asyncio.run(watch.during(attack(), "message refused"))


def test_ten_thousand_recipients(watch: Watch) -> None:
    async def attack() -> None:
        local, domain = LUIS.split("@")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            assert (await s.say("MAIL FROM:<s@s.example>")).startswith("250")
            await s.pour(
                b"".join(
                    b"RCPT TO:<%s+%d@%s>\r\n" % (local.encode(), n, domain.encode())
                    for n in range(10_000)
                )
            )
            replies = Counter([(await s.reply())[:9] for _ in range(10_000)])
            assert replies == {"250 2.1.5": 100, "452 4.5.3": 9_900}
            assert (await s.say("DATA")).startswith("354")
            await s.send(b"Subject: many\r\n\r\nhello\r\n.\r\n")
            assert (await s.reply()).startswith("250 2.0.0")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            assert (await s.say("MAIL FROM:<s@s.example>")).startswith("250")
            await s.pour(
                b"".join(b"RCPT TO:<u%d@%s>\r\n" % (n, domain.encode()) for n in range(10_000))
            )
            heard = codes(await s.rest())
            assert heard == ["550"] * 99 + ["421"] or heard == ["550"] * 100 + ["421"]

    asyncio.run(watch.during(attack(), "recipient refused", "sent away"))


def test_early_talkers(watch: Watch) -> None:
    async def attack() -> None:
        for data in (b"EHLO early.example\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 100):
            async with await Stranger.at(watch.server.ports["mx"]) as s:
                await s.pour(data)
                assert (await s.rest()).startswith(b"554 5.5.1")

    asyncio.run(watch.during(attack(), "talked before the greeting"))


def test_broken_base64(watch: Watch) -> None:
    async def attack() -> None:
        port = watch.server.ports["submission"]
        async with await Stranger.at(port) as s:
            await s.hello()
            for wrong in ("***", "YQ", "YQ=", "Y\u00e9", "A" * 11_000 + "!"):
                assert (await s.say(f"AUTH PLAIN {wrong}"))[:3] in ("500", "501")
            assert (await s.say("AUTH PLAIN")).startswith("334")
            assert (await s.say("???")).startswith("501 5.5.2")
            assert (await s.say("AUTH LOGIN")).startswith("334")
            assert (await s.say("A" * 20_000)).startswith("500 5.5.6")
            assert (await s.say("AUTH SCRAM-SHA-256 " + base64.b64encode(b"x").decode()))[:1] == "5"
            plain = base64.b64encode(f"\0{ANA}\0{PASSWORD}".encode()).decode()
            assert (await s.say(f"AUTH PLAIN {plain}")).startswith("235")
        async with await Stranger.at(port) as s:
            await s.hello()
            await s.pour(b"AUTH PLAIN ***\r\n" * 1000)
            heard = codes(await s.rest())
            assert heard == ["501"] * (ERRORS_MAX - 1) + ["421"]

    asyncio.run(watch.during(attack(), "sent away"))


def test_unknown_commands_by_the_thousand(watch: Watch) -> None:
    async def attack() -> None:
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            await s.pour(b"FOO bar\r\n" * 100_000)
            assert codes(await s.rest()) == ["500"] * (ERRORS_MAX - 1) + ["421"]
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            await s.pour(b"NOOP\r\n" * 100_000)
            heard = Counter(codes(await s.rest()))
            assert heard["421"] == 1
            assert heard["250"] <= 200

    asyncio.run(watch.during(attack(), "sent away"))


def test_half_closed(watch: Watch) -> None:
    async def attack() -> None:
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            assert (await s.reply()).startswith("220")
            await s.pour(b"EHLO half.example\r\nNOOP\r\n")
            s.half_close()
            assert codes(await s.rest()) == ["250", "250"]
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data()
            await s.pour(b"Subject: half\r\n\r\nnever whole\r\n.")
            s.half_close()
            assert b"250" not in await s.rest()
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data()
            await s.pour(b"Subject: cut\r\n\r\n" + b"never whole\r\n" * 100)
            s.reset()

    asyncio.run(watch.during(attack(), "connection ended inside a message"))


def test_more_than_was_declared(watch: Watch) -> None:
    async def attack() -> None:
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.hello()
            assert (await s.say(f"MAIL FROM:<s@s.example> SIZE={2 * MIB}")).startswith("552 5.3.4")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            # RFC 1870 §6.1: the declaration is an estimate; only the limit counts.
            await s.to_data("SIZE=10")
            await s.pour(b"Subject: s\r\n\r\n" + b"more\r\n" * 1000 + b".\r\n")
            assert (await s.reply()).startswith("250 2.0.0")
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data("SIZE=10")
            await s.pour(b"Subject: s\r\n\r\n" + b"more\r\n" * 1_000_000 + b".\r\n")
            assert (await s.reply()).startswith("552 5.3.4")
            assert (await s.say("NOOP")).startswith("250")

    asyncio.run(watch.during(attack(), "message refused"))


def deep(levels: int) -> bytes:
    """multipart in multipart in …"""
    return b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n)
        for n in range(levels)
    )


def wide(parts: int) -> bytes:
    return b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * parts


def nested_messages(levels: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * levels + b"Subject: inmost\r\n\r\nx\r\n"


BOMBS = {
    "deep": deep(5_000),
    "wide": wide(50_000),
    "messages in messages": nested_messages(20_000),
    "many fields": b"X-Field: 1\r\n" * 30_000 + b"\r\nx\r\n",
    "one field of many lines": b"Subject: x\r\n" + b" y\r\n" * 60_000 + b"\r\nx\r\n",
    "parameters": b"Content-Type: text/plain" + b";\r\n a=b" * 40_000 + b"\r\n\r\nx\r\n",
    "continuations": b"Content-Type: text/plain"
    + b"".join(b";\r\n n*%d*=%%41" % n for n in range(20_000))
    + b"\r\n\r\nx\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?=41?=\r\n " * 20_000 + b"\r\n\r\nx\r\n",
    "addresses": b"To: " + b"a <a@b.example>,\r\n " * 20_000 + b"c@d.example\r\n\r\nx\r\n",
    "comments": b"To: " + b"(" * 200_000 + b"\r\n\r\nx\r\n",
    "quotes": b'To: "' + b"\\" * 200_000 + b"\r\n\r\nx\r\n",
    "received": b"Received: from a by b; Tue, 24 Nov 2026 10:00:00 +0000\r\n" * 8_000 + b"\r\n",
    "huge header": b"X: " + b"y" * (600 * 1024) + b"\r\n\r\nx\r\n",
    "boundary lines": b'Content-Type: multipart/mixed; boundary="-"\r\n\r\n' + b"---\r\n" * 150_000,
}
ANSWERS = {"received": "550 5.4.6", "huge header": "554 5.6.0"}


@pytest.mark.parametrize("name", BOMBS)
def test_mime_bombs(watch: Watch, name: str) -> None:
    """Taken or refused, soon; and what was taken can be listed and read."""

    async def attack() -> None:
        async with await Stranger.at(watch.server.ports["mx"]) as s:
            await s.to_data()
            await s.pour(BOMBS[name] + b"\r\n.\r\n")
            answer = await s.reply()
            assert answer.startswith(ANSWERS.get(name, "250 2.0.0")), answer
        if name not in ANSWERS:
            await asyncio.to_thread(read)

    def read() -> None:
        client = watch.server.imap(LUIS)
        last = client.select("INBOX", readonly=True)[1][0]
        assert last is not None
        status, listed = client.fetch(last.decode(), "(ENVELOPE BODYSTRUCTURE RFC822.SIZE)")
        assert status == "OK"
        assert listed[0] is not None
        assert client.fetch(last.decode(), "(BODY.PEEK[1.1.1.1] BODY.PEEK[HEADER])")[0] == "OK"
        client.logout()

    asyncio.run(watch.during(attack()))


def test_slow_and_idle_ones(watch: Watch) -> None:
    """Many that send a byte now and then, and as many that say nothing at all."""

    async def attack() -> None:
        port = watch.server.ports["mx"]
        crowd = [await Stranger.at(port, 10 + n // 100) for n in range(500)]
        try:
            for s in crowd:
                assert (await s.reply()).startswith("220")
            # Each address has had its share: one more of it is sent away, others are not.
            async with await Stranger.at(port, 10) as late:
                assert (await late.rest()).startswith(b"421 4.7.0 Too many connections")
            slow = crowd[::2]
            for byte in b"MAIL FROM:<slow@slow.example>":
                for s in slow:
                    await s.pour(bytes([byte]))
                # A whole turn of the server, so that each byte is read by itself.
                async with await Stranger.at(port) as other:
                    await other.hello()
            for s in crowd:
                s.writer.write(b"\r\n" if s in slow else b"QUIT\r\n")
            for s in slow:
                assert (await s.reply()).startswith("503 5.5.1")
        finally:
            for s in crowd:
                s.cut()

    asyncio.run(watch.during(attack()))


def test_who_does_not_read_is_not_written_to_for_ever(watch: Watch) -> None:
    async def attack() -> None:
        crowd = [await Stranger.at(watch.server.ports["mx"], 3) for _ in range(20)]
        try:
            for s in crowd:
                await s.hello()
                s.reader._transport.pause_reading()  # type: ignore[attr-defined]
                s.writer.write(b"HELP\r\n" * 50_000)
            async with await Stranger.at(watch.server.ports["mx"]) as other:
                await other.hello()
        finally:
            for s in crowd:
                s.reset()

    asyncio.run(watch.during(attack()))
