"""Random commands, cut anywhere, stopped at any time: each 250 is in the ledger, and nothing else.

A message may be in the ledger without its 250 only where the connection was cut.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.support.whole import Whole, whole

from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.store.engine import StoreFull

SESSIONS = 25
MESSAGE = b"From: ana@mx.example\r\n\r\nhello\r\n"
COMMANDS = (
    *(b"EHLO me\r\n", b"LHLO me\r\n", b"HELO me\r\n", b"NOOP\r\n", b"RSET\r\n", b"VRFY x\r\n"),
    *(b"MAIL FROM:<bob@b.example>\r\n", b"MAIL FROM:<> SIZE=9 BODY=8BITMIME\r\n", b"MAIL x\r\n"),
    *(b"RCPT TO:<ana@mx.example>\r\n", b"RCPT TO:<team@mx.example>\r\n", b"RCPT TO:<x@y.z>\r\n"),
    *(b"DATA\r\n" + MESSAGE + b".\r\n", b"DATA\r\n.\r\n", b"BDAT 0 LAST\r\n"),
    *(b"BDAT 34 LAST\r\n" + MESSAGE, b"BDAT 5\r\nA: b\n", b"\xff\r\n", b"\r\n", b"AUTH PLAIN\r\n"),
)
SETTING_OUT = b"HELO me\r\n", b"EHLO me\r\n", b"LHLO me\r\n"
WHOLE = (
    b"MAIL FROM:<bob@b.example>\r\nRCPT TO:<ana@mx.example>\r\nRCPT TO:<team@mx.example>\r\n"
    b"DATA\r\n" + MESSAGE + b".\r\n"
)


def conversation(dice: random.Random) -> bytes:
    steps = [dice.choice(SETTING_OUT)]
    for _ in range(dice.randint(1, 12)):
        steps.append(WHOLE if dice.random() < 0.3 else dice.choice(COMMANDS))
    return b"".join(steps)


async def session(
    house: Whole, net: SimNet, listener: str, dice: random.Random
) -> tuple[int, bool]:
    """(how many recipients or messages a 250 was heard for, whether it was cut by us)."""
    stream = await house.connect(net, listener)
    said = conversation(dice)
    cut = dice.random() < 0.3
    if cut:
        said = said[: dice.randrange(len(said))]
    heard = b""

    async def listen() -> None:
        nonlocal heard
        try:
            while data := await stream.read():
                heard += data
        except ConnectionError:
            pass

    listening = asyncio.create_task(listen())
    while said:
        size = dice.choice((1, 7, 100, 10**6))
        stream.write(said[:size])
        said = said[size:]
        await asyncio.sleep(dice.choice((0, 0, 0.01, 0.2)))
    if cut:
        stream.abort()
    else:
        stream.half_close()
    await listening
    words = b": delivered, queue id" if listener == "lmtp" else b"Message accepted, queue id"
    return heard.count(words), cut


def no_space_now_and_then(dice: random.Random) -> None:
    if dice.random() < 0.2:
        raise StoreFull("no space")


@pytest.mark.parametrize("listener", ["mx", "lmtp"])
@pytest.mark.parametrize("seed", range(6))
def test_each_250_is_in_the_ledger(listener: str, seed: int) -> None:
    dice = random.Random(f"{listener} {seed}")

    async def main() -> None:
        async with whole(queue=False, seed=seed) as (house, net):
            if seed % 2:
                house.store.before = lambda: no_space_now_and_then(dice)
            taken = cuts = 0
            stopped = dice.randrange(SESSIONS)
            for n in range(SESSIONS):
                both = await asyncio.gather(
                    *(session(house, net, listener, dice) for _ in range(2)),
                    *([house.built.doors.drain()] if n == stopped and seed % 3 == 0 else []),
                )
                for count, cut in both[:2]:
                    taken += count
                    cuts += cut
            unit = "count(*)" if listener == "mx" else "sum(recipients)"
            sql = f"SELECT {unit} FROM acceptance WHERE parent IS NULL"
            kept = await house.store.read(lambda tx: tx.value(sql)) or 0
            assert taken <= kept <= taken + 6 * cuts, seed
            assert kept or seed % 3 == 0
            if not cuts:
                assert kept == taken
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines, seed
