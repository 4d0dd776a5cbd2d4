"""Whatever octets a message holds: it is taken and kept as it came, or refused; never a fault."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.support.strange import strange
from tests.support.whole import Talk, whole

from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet

ANA, EVA = "ana@mx.example", "eva@mx.example"


@pytest.mark.parametrize("listener", ["mx", "submissions"])
@pytest.mark.parametrize("seed", range(4))
def test_strange_messages(listener: str, seed: int, tmp_path: Path) -> None:
    dice = random.Random(f"{listener} {seed}")
    kept: list[bytes] = []

    async def main() -> None:
        async with whole(queue=False) as (house, net):
            talk = Talk(await house.connect(net, listener))
            login = ANA if listener == "submissions" else ""
            await talk.begin(tls=bool(login), login=login)
            for _ in range(60):
                message = strange(dice)
                stuffed = message.replace(b"\r\n.", b"\r\n..")
                if stuffed.startswith(b"."):
                    stuffed = b"." + stuffed
                answer = await talk.hand(ANA, [EVA], stuffed)
                assert answer[:3] in ("250", "550", "553", "554"), (seed, message, answer)
                if answer.startswith("250"):
                    kept.append(message)
            found = await house.inbox("eva")
            assert len(found) == len(kept)
            if listener == "mx":
                for message, stored in zip(kept, found, strict=True):
                    assert stored.endswith(message), (seed, message)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines, seed
    assert kept


HALF = b"=?utf-7?Q?hi_+2AA-?="


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: " + HALF + b"\r\n\r\nx\r\n",
        b"From: " + HALF + b" <eva@mx.example>\r\n\r\nx\r\n",
        b"Subject: hi\r\nContent-Type: text/plain; charset=utf-7\r\n\r\nhi +2AA- x\r\n",
    ],
    ids=["subject", "from", "text"],
)
def test_half_a_character(message: bytes) -> None:
    """UTF-7 can say it, and no store can keep it."""

    async def main() -> None:
        async with whole() as (house, net):
            talk = Talk(await house.connect(net))
            await talk.begin()
            answer = await talk.hand(EVA, [ANA], message)
            assert answer.startswith("250"), answer
            (kept,) = await house.inbox("ana")
            assert kept.endswith(message)

    with quiet() as logged:
        run(main())
    assert not logged.lines
