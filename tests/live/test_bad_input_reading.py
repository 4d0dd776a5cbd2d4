"""Bad input, IMAP and POP3: the documented answer or a close, bounded memory, nobody slowed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine

import pytest
from tests.live.strangers import LUIS, Stranger, Watch
from tests.support.live import PASSWORD

MIB = 1 << 20


async def imap(watch: Watch, *, login: bool = True) -> Stranger:
    s = await Stranger.at(watch.server.ports["imap"])
    assert (await s.line()).startswith(b"* OK")
    if login:
        assert (await command(s, f'LOGIN {LUIS} "{PASSWORD}"')).startswith(b"a OK")
    return s


async def command(s: Stranger, text: str) -> bytes:
    """The tagged answer."""
    await s.send(f"a {text}\r\n".encode())
    return await tagged(s)


async def tagged(s: Stranger) -> bytes:
    while not (line := await s.line()).startswith((b"a ", b"* BYE")):
        continue
    return line


async def pop3(watch: Watch, *, login: bool = True) -> Stranger:
    s = await Stranger.at(watch.server.ports["pop3"])
    assert (await s.line()).startswith(b"+OK")
    if login:
        await s.send(f"USER {LUIS}\r\nPASS {PASSWORD}\r\n".encode())
        assert (await s.line()).startswith(b"+OK")
        assert (await s.line()).startswith(b"+OK")
    return s


def watched(watch: Watch, attack: Coroutine[None, None, None], *log: str) -> None:
    asyncio.run(watch.during(attack, *log))


@pytest.mark.parametrize(
    "literal", ["{4294967295}", "{99999999999999999999}", "{2000000+}", "{8193}"]
)
def test_a_huge_literal_before_login(watch: Watch, literal: str) -> None:
    async def attack() -> None:
        async with await imap(watch, login=False) as s:
            answer = await command(s, f"LOGIN {literal}")
            assert answer.startswith((b"a NO", b"a BAD", b"* BYE")), answer

    watched(watch, attack())


def test_a_huge_message_to_append(watch: Watch) -> None:
    async def attack() -> None:
        async with await imap(watch) as s:
            answer = await command(s, "APPEND INBOX {4000000000}")
            assert answer.startswith(b"a NO [TOOBIG]"), answer
            assert (await command(s, "NOOP")).startswith(b"a OK")
        async with await imap(watch) as s:
            # A client that does not wait may pour in what it likes; it is read past, not kept.
            await s.send(b"a APPEND INBOX {4000000000+}\r\n")
            for _ in range(100):
                await s.pour(b"x" * MIB)
            heard = await s.rest()
            assert b"TOOBIG" in heard or b"BYE" in heard, heard

    watched(watch, attack())


@pytest.mark.parametrize("opener", ["(", "NOT ", "OR (", "(NOT ("])
def test_deep_parentheses(watch: Watch, opener: str) -> None:
    async def attack() -> None:
        async with await imap(watch) as s:
            assert (await command(s, "SELECT INBOX")).startswith(b"a OK")
            deep = opener * (60_000 // len(opener))
            assert (await command(s, f"SEARCH {deep}ALL")).startswith((b"a BAD", b"a NO"))
            assert (await command(s, "NOOP")).startswith(b"a OK")

    watched(watch, attack())


@pytest.mark.parametrize(
    "text",
    [
        "FETCH 1:* (" + "BODY[" + "1." * 20_000 + "1] )",
        "FETCH " + "1," * 30_000 + "1 UID",
        "FETCH 1 (" + "UID " * 15_000 + ")",
        "STORE 1 +FLAGS (" + "x" * 60_000 + ")",
        "STORE 1 +FLAGS (" + " ".join(f"k{n}" for n in range(5_000)) + ")",
        'LIST "" "' + "*%" * 30_000 + '"',
        "CREATE " + "a/" * 30_000 + "b",
        "FETCH 1 BODY[HEADER.FIELDS (" + "x " * 25_000 + ")]",
        "SEARCH " + "SUBJECT x " * 6_000,
    ],
    ids=lambda text: text[:20],
)
def test_long_and_many(watch: Watch, text: str) -> None:
    async def attack() -> None:
        async with await imap(watch) as s:
            assert (await command(s, "SELECT INBOX")).startswith(b"a OK")
            answer = await command(s, text)
            assert answer.startswith((b"a BAD", b"a NO")), answer[:200]
            assert (await command(s, "NOOP")).startswith(b"a OK")

    watched(watch, attack())


def test_lines_without_end(watch: Watch) -> None:
    async def attack() -> None:
        for login in (False, True):
            for connect in (imap, pop3):
                async with await connect(watch, login=login) as s:
                    for _ in range(50):
                        await s.pour(b"x" * MIB)
                    await s.pour(b"\r\n")
                    s.half_close()
                    heard = await s.rest()
                    assert heard.startswith((b"* BAD", b"* BYE", b"-ERR", b"x BAD")), heard[:200]

    watched(watch, attack())


def test_garbage(watch: Watch) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)

    async def attack() -> None:
        for login in (False, True):
            for connect in (imap, pop3):
                async with await connect(watch, login=login) as s:
                    await s.pour(dice.randbytes(200_000) + b"\r\n")
                    s.half_close()
                    await s.rest()
                async with await connect(watch, login=login) as s:
                    await s.pour(b"\r\n".join(dice.randbytes(20) for _ in range(10_000)))
                    assert (await s.rest()).count(b"\r\n") <= 22

    watched(watch, attack(), "too many")


def test_unknown_commands_by_the_thousand(watch: Watch) -> None:
    async def attack() -> None:
        for login in (False, True):
            async with await imap(watch, login=login) as s:
                await s.pour(b"a FOO\r\n" * 50_000)
                heard = (await s.rest()).splitlines()
                assert heard[-1].startswith(b"* BYE"), heard[-1]
                assert len(heard) <= 22
            async with await pop3(watch, login=login) as s:
                await s.pour(b"FOO\r\n" * 50_000)
                heard = (await s.rest()).splitlines()
                assert len(heard) <= 22
                assert all(line.startswith(b"-ERR") for line in heard)

    watched(watch, attack(), "too many")


def test_passwords_that_are_guessed(watch: Watch) -> None:
    async def by_imap() -> None:
        async with await imap(watch, login=False) as s:
            await s.pour(b"a LOGIN luis@estafeta.example wrong\r\n" * 20)
            heard = (await s.rest()).splitlines()
            assert heard[-1].startswith(b"* BYE"), heard
            assert sum(line.startswith(b"a NO [AUTHENTICATIONFAILED]") for line in heard) <= 3

    async def by_pop3() -> None:
        async with await pop3(watch, login=False) as s:
            await s.pour(b"USER luis@estafeta.example\r\nPASS wrong\r\n" * 20)
            heard = (await s.rest()).splitlines()
            assert sum(line.startswith(b"-ERR [AUTH]") for line in heard) <= 3

    async def attack() -> None:
        await asyncio.gather(by_imap(), by_pop3())

    # argon2id takes its 64 MiB, and no more than twice at once.
    asyncio.run(watch.during(attack(), "login failed", growth=136 * MIB))


def test_half_closed_and_reset(watch: Watch) -> None:
    async def attack() -> None:
        for connect in (imap, pop3):
            async with await connect(watch, login=False) as s:
                s.half_close()
                await s.rest()
            async with await connect(watch) as s:
                s.reset()
        async with await imap(watch) as s:
            await s.send(b"a APPEND INBOX {1000+}\r\nhalf of it")
            s.half_close()
            assert b"a OK" not in await s.rest()
        async with await imap(watch) as s:
            await s.send(b"a SELECT INBOX\r\na IDLE\r\n")
            s.half_close()
            await s.rest()

    watched(watch, attack(), "session ended")


def test_who_does_not_read(watch: Watch) -> None:
    """Answers are made as they are taken, not before."""

    async def attack() -> None:
        crowd = [await imap(watch) for _ in range(10)]
        try:
            async with await imap(watch) as s:
                await s.send(b"a APPEND INBOX {900000+}\r\n" + b"Subject: l\r\n\r\n")
                await s.send(b"y" * (900_000 - 14) + b"\r\n")
                assert (await tagged(s)).startswith(b"a OK")
            for s in crowd:
                await command(s, "SELECT INBOX")
                s.reader._transport.pause_reading()  # type: ignore[attr-defined]
                s.writer.write(b"a FETCH 1:* BODY.PEEK[]\r\n" * 1000)
            async with await imap(watch) as s:
                assert (await command(s, "SELECT INBOX")).startswith(b"a OK")
        finally:
            for s in crowd:
                s.reset()

    watched(watch, attack())


def test_five_hundred_idle_ones(watch: Watch) -> None:
    """Not logged in, from a handful of addresses."""

    async def attack() -> None:
        crowd = []
        try:
            for n in range(500):
                port = watch.server.ports["imap" if n % 2 else "pop3"]
                s = await Stranger.at(port, 20 + n // 100)
                assert (await s.line()).startswith((b"* OK", b"+OK"))
                crowd.append(s)
            # One address takes no more than its share, and leaves the others theirs.
            for port, answer in (("imap", b"* BYE [UNAVAILABLE]"), ("pop3", b"-ERR [SYS/TEMP]")):
                more = [await Stranger.at(watch.server.ports[port], 20) for _ in range(51)]
                crowd.extend(more)
                for s in more[:-1]:
                    assert (await s.line()).startswith((b"* OK", b"+OK"))
                assert (await more[-1].line()).startswith(answer)
            async with await imap(watch) as s:
                assert (await command(s, "SELECT INBOX")).startswith(b"a OK")
        finally:
            for s in crowd:
                s.cut()

    watched(watch, attack())
