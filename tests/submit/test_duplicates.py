"""The memory of submissions whose 250 may have got lost: for whom, how long, and of what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import Talk, Whole, whole

from estafeta.sim.faults import Fault
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.submit.submission import REMEMBERED_MS

pytestmark = pytest.mark.usefixtures("each_engine")

ANA, EVA, BOB = "ana@mx.example", "eva@mx.example", "bob@remote.example"
MESSAGE = b"From: ana@mx.example\r\nMessage-ID: <one@client.example>\r\n\r\nhello\r\n"
SECONDS = REMEMBERED_MS / 1000


class Sender:
    """Hands messages in, each over a connection of its own unless it says otherwise."""

    def __init__(self, house: Whole, net: SimNet) -> None:
        self.house = house
        self.net = net

    async def talk(self, login: str = ANA) -> Talk:
        talk = Talk(await self.house.connect(self.net, "submissions"))
        await talk.begin(tls=True, login=login)
        return talk

    async def break_off(
        self, *recipients: str, message: bytes = MESSAGE, sender: str = ANA, login: str = ANA
    ) -> str:
        """The connection breaks behind the 250."""
        talk = await self.talk(login)
        answer = await talk.hand(sender, recipients, message)
        talk.stream.abort()
        await asyncio.sleep(1)
        return answer

    async def fates(self) -> list[str]:
        return [" ".join(line.split()[2:]) for line in await self.house.ledger()]


def with_sender(work: Callable[[Sender], Awaitable[Any]], **how: Any) -> None:
    async def main() -> None:
        async with whole(queue=False, **how) as (house, net):
            await work(Sender(house, net))
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


def test_each_recipient_gets_it_once() -> None:
    async def work(s: Sender) -> None:
        first = await s.break_off(EVA)
        assert await s.break_off(EVA, BOB) == first.replace("accepted", "accepted before")
        await s.break_off(BOB, EVA, "carl@remote.example")
        assert await s.fates() == [
            f"{EVA} stored",
            f"{EVA} duplicate",
            f"{BOB} open",
            f"{BOB} duplicate",
            f"{EVA} duplicate",
            "carl@remote.example open",
        ]
        assert len(await s.house.inbox("eva")) == 1

    with_sender(work)


def test_an_alias_is_not_expanded_again() -> None:
    async def work(s: Sender) -> None:
        await s.break_off("team@mx.example", "out@mx.example")
        await s.break_off("team@mx.example", "out@mx.example", EVA)
        assert (await s.fates())[-3:] == [
            "team@mx.example duplicate",
            "out@mx.example duplicate",
            f"{EVA} stored",
        ]
        assert len(await s.house.inbox("ana")) == 1
        assert len(await s.house.rows()) == 1

    with_sender(work)


@pytest.mark.parametrize(("late", "again"), [(-30, "duplicate"), (30, "stored")])
def test_for_a_quarter_of_an_hour(late: float, again: str) -> None:
    async def work(s: Sender) -> None:
        await s.break_off(EVA)
        await asyncio.sleep(SECONDS + late)
        await s.break_off(EVA)
        assert await s.fates() == [f"{EVA} stored", f"{EVA} {again}"]

    with_sender(work)


@pytest.mark.parametrize("after", ["QUIT", "NOOP", "garbage"])
def test_whoever_says_a_word_behind_the_250_knows_of_it(after: str) -> None:
    async def work(s: Sender) -> None:
        talk = await s.talk()
        await talk.hand(ANA, [EVA], MESSAGE)
        await talk.say(after)
        talk.stream.abort()
        await asyncio.sleep(1)
        await s.break_off(EVA)
        assert await s.fates() == [f"{EVA} stored", f"{EVA} stored"]

    with_sender(work)


def test_a_word_confirms_all_of_a_burst() -> None:
    """BDAT lets a client send several messages without waiting (RFC 3030 §4.2)."""

    async def work(s: Sender) -> None:
        talk = await s.talk()
        one = f"MAIL FROM:<{ANA}>\r\nRCPT TO:<{EVA}>\r\nBDAT {len(MESSAGE)} LAST\r\n".encode()
        other = MESSAGE.replace(b"one@", b"two@")
        talk.stream.write(one + MESSAGE + one + other)
        for _ in range(6):
            assert (await talk.reply()).startswith("250")
        await talk.say("NOOP")
        talk.stream.abort()
        await asyncio.sleep(1)
        await s.break_off(EVA)
        await s.break_off(EVA, message=other)
        assert await s.fates() == [f"{EVA} stored"] * 4

    with_sender(work)


def test_an_orderly_end_without_a_word_is_no_word() -> None:
    async def work(s: Sender) -> None:
        talk = await s.talk()
        await talk.hand(ANA, [EVA], MESSAGE)
        await talk.stream.close()
        await asyncio.sleep(1)
        await s.break_off(EVA)
        assert await s.fates() == [f"{EVA} stored", f"{EVA} duplicate"]

    with_sender(work)


def test_the_250_itself_gets_lost() -> None:
    async def work(s: Sender) -> None:
        s.net.internet.inject(
            Fault("cut", port=465, direction="from", match=b"250 2.0.0 Message", before=True)
        )
        with pytest.raises(ConnectionError):
            await s.break_off(EVA)
        await asyncio.sleep(1)
        assert (await s.break_off(EVA)).startswith("250 2.0.0 Message accepted before")
        assert await s.fates() == [f"{EVA} stored", f"{EVA} duplicate"]

    with_sender(work)


@pytest.mark.parametrize(
    "change",
    [
        {"message": MESSAGE + b"\r\n"},
        {"message": MESSAGE.replace(b"one@", b"two@")},
        {"message": MESSAGE.replace(b"hello", b"hallo")},
        {"sender": ""},
        {"sender": "ana+x@mx.example"},
    ],
)
def test_anything_else_is_another_message(change: dict[str, Any]) -> None:
    async def work(s: Sender) -> None:
        await s.break_off(EVA)
        await s.break_off(EVA, **change)
        assert await s.fates() == [f"{EVA} stored"] * 2

    with_sender(work)


def test_of_another_account_too() -> None:
    async def work(s: Sender) -> None:
        shared = MESSAGE.replace(b"From: ana@mx.example", b"From: eva@mx.example")
        await s.break_off(EVA, message=shared, sender="", login=EVA)
        await s.break_off(EVA, sender="")
        assert await s.fates() == [f"{EVA} stored"] * 2

    with_sender(work)


def test_without_a_message_id_there_is_no_memory() -> None:
    async def work(s: Sender) -> None:
        bare = b"From: ana@mx.example\r\n\r\nhello\r\n"
        await s.break_off(EVA, message=bare)
        await s.break_off(EVA, message=bare)
        assert await s.fates() == [f"{EVA} stored"] * 2

    with_sender(work)


def test_the_setting_is_off() -> None:
    async def work(s: Sender) -> None:
        await s.break_off(EVA)
        await s.break_off(EVA)
        assert await s.fates() == [f"{EVA} stored"] * 2

    with_sender(work, remember_submissions=False)


def test_a_wish_for_a_report_is_met_once() -> None:
    async def work(s: Sender) -> None:
        for _ in range(2):
            talk = await s.talk()
            await talk.say(f"MAIL FROM:<{ANA}>")
            await talk.say(f"RCPT TO:<{EVA}> NOTIFY=SUCCESS")
            await talk.say("DATA")
            talk.stream.write(MESSAGE)
            await talk.say(".")
            talk.stream.abort()
            await asyncio.sleep(1)
        assert len(await s.house.inbox("ana")) == 1

    with_sender(work)
