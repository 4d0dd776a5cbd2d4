"""Rig: Ana, who submits and reads, in a whole installation of which others are played."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.read.rig import Client
from tests.support.whole import PASSWORD, Talk, Whole, whole

from estafeta.mail.outcome import Deferred, Delivered, Refused, Reply
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.sim.tls import SimClientTls
from estafeta.store import accounts

ANA, EVA, BOB, CARL = (
    "ana@mx.example",
    "eva@mx.example",
    "bob@remote.example",
    "carl@other.example",
)
MESSAGE = b"From: Ana <ana@mx.example>\r\nMessage-ID: <one@client.example>\r\n\r\nhello\r\n"
BUSY = Deferred(Reply(451, "4.3.0", "busy"), "server-busy")
GONE = Refused(Reply(550, "5.1.1", "nobody"), "unknown-user")
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), "mx.remote.example")
SOON = 2.0
"""Seconds within which a client must have been told."""


class Ana:
    """She submits and reads."""

    def __init__(self, house: Whole, net: SimNet) -> None:
        self.house = house
        self.net = net

    async def reads(self, mailbox: str = "Sent") -> Client:
        stream = await self.house.connect(self.net, "imaps")
        await stream.start_tls(SimClientTls(verify=False))
        client = Client(stream)  # type: ignore[arg-type]
        assert (await client.line()).startswith(b"* OK")
        await client.ok(f'LOGIN {ANA} "{PASSWORD}"')
        await client.ok(f"SELECT {mailbox}")
        return client

    async def submits(self, *recipients: str, message: bytes = MESSAGE) -> str:
        talk = Talk(await self.house.connect(self.net, "submissions"))
        await talk.begin(tls=True, login=ANA)
        answer = await talk.hand(ANA, recipients, message)
        assert answer.startswith("250"), answer
        await talk.say("QUIT")
        return answer

    async def saves_sent(self) -> None:
        id = self.house.accounts["ana"].id
        await self.house.store.run(lambda tx: accounts.set_account(tx, id, save_sent=True))


def with_ana(work: Callable[[Ana], Awaitable[Any]], **how: Any) -> None:
    async def main() -> None:
        async with whole(**how) as (house, net):
            await work(Ana(house, net))
            await house.balanced()

    with quiet():
        run(main())


async def flags(client: Client, number: int = 1) -> set[str]:
    """System flags and keywords, without \\Recent."""
    line = (await client.ok(f"FETCH {number} FLAGS"))[0]
    return set(line.partition(b"FLAGS (")[2].rstrip(b")").decode().split()) - {"\\Recent"}


async def heard(client: Client, keyword: str, seconds: float = SOON) -> None:
    """In IDLE, that the first message bears `keyword` and none other of ours."""
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        try:
            line = await asyncio.wait_for(client.line(), 1)
        except TimeoutError:
            continue
        if line.startswith(b"* 1 FETCH"):
            told = [word.strip("()") for word in line.decode().split() if "$" in word]
            assert told == [keyword], line
            return
    raise AssertionError(f"{keyword} was not told")


async def whole_message(client: Client, number: int = 1) -> bytes:
    (line, _) = await client.ok(f"FETCH {number} BODY.PEEK[]")
    return line.partition(b"}\r\n")[2].rstrip(b")")


async def idles(client: Client) -> None:
    client.send(b"i IDLE\r\n")
    assert (await client.line()).startswith(b"+")
