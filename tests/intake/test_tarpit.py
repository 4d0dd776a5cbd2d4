"""Tarpit: who errs again and again waits for each answer, longer each time; nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import TRUSTED, Talk, Whole, whole

from estafeta.intake.limits import TARPIT_SECONDS_MAX
from estafeta.intake.tarpit import seconds_held
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet

EVA, NOBODY = "RCPT TO:<eva@mx.example>", "RCPT TO:<gone@mx.example>"
AT_ONCE = 0.5


def with_house(work: Callable[[Whole, SimNet], Awaitable[Any]], **how: Any) -> None:
    async def main() -> None:
        async with whole(queue=False, **({"tarpit": 1.0} | how)) as (house, net):
            await work(house, net)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


async def timed(asked: Awaitable[str]) -> tuple[str, float]:
    clock = asyncio.get_running_loop().time
    began = clock()
    answer = await asked
    return answer[:3], clock() - began


async def waits(talk: Talk, line: str, times: int) -> list[int]:
    """Whole seconds that each answer took."""
    return [int((await timed(talk.say(line)))[1] + AT_ONCE) for _ in range(times)]


def test_the_waits_double_up_to_the_limit() -> None:
    assert [seconds_held(n, 1.0) for n in range(8)] == [0, 0, 0, 1, 2, 4, 8, 10]
    assert seconds_held(10**9, 0.001) == TARPIT_SECONDS_MAX
    assert seconds_held(3, 60.0) == TARPIT_SECONDS_MAX
    assert seconds_held(10**9, 0.0) == 0


@pytest.mark.parametrize("line", [NOBODY, "NONSENSE", "MAIL FROM:<a@b.example>"])
def test_an_error_is_waited_for_from_the_third_on(line: str) -> None:
    """Whoever finds it: the role, or the machine by itself."""

    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net))
        await talk.begin()
        await talk.say("MAIL FROM:<bob@b.example>")
        assert await waits(talk, line, 7) == [0, 0, 1, 2, 4, 8, 10]
        assert (await timed(talk.say("NOOP")))[1] < AT_ONCE  # what refuses nothing
        assert (await timed(talk.say(EVA)))[1] < AT_ONCE

    with_house(work)


def test_it_is_forgotten_when_a_message_was_accepted() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net))
        await talk.begin()
        for _ in range(2):
            await talk.say("MAIL FROM:<bob@b.example>")
            assert await waits(talk, NOBODY, 4) == [0, 0, 1, 2]
            await talk.say(EVA)
            await talk.say("DATA")
            assert await timed(talk.say(".")) == ("250", pytest.approx(0, abs=AT_ONCE))

    with_house(work)


def test_what_is_put_off_is_no_error() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net))
        await talk.begin()
        await talk.say("MAIL FROM:<bob@b.example>")
        await talk.say("RCPT TO:<full@mx.example>")  # the client's name is looked up for the first
        assert await waits(talk, "RCPT TO:<full@mx.example>", 9) == [0] * 9

    with_house(work)


@pytest.mark.parametrize(
    ("listener", "source", "how"),
    [
        ("mx", "198.51.100.7", {"exempt_networks": ["198.51.100.7/32"]}),
        ("submissions", TRUSTED, {}),
        ("mx", "198.51.100.7", {"tarpit": 0.0}),
        ("lmtp", "198.51.100.7", {}),
    ],
)
def test_who_never_waits(listener: str, source: str, how: dict[str, Any]) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net, listener, source))
        if listener == "lmtp":
            await talk.reply()
            await talk.say("LHLO me")
        else:
            await talk.begin(tls=listener == "submissions")
        await talk.say("MAIL FROM:<bob@b.example>")
        assert await waits(talk, NOBODY, 9) == [0] * 9

    with_house(work, **how)


def test_who_logs_in_waits_before_and_not_after() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net, "submissions"))
        await talk.begin(tls=True)
        assert await waits(talk, "NONSENSE", 4) == [0, 0, 1, 2]
        again = Talk(await house.connect(net, "submissions"))
        await again.begin(tls=True, login="ana@mx.example")
        assert await waits(again, "NONSENSE", 4) == [0] * 4

    with_house(work)


def test_pipelined_errors_are_answered_one_after_the_other() -> None:
    """So that no client's patience runs out. What stands before the first waits with it."""

    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net))
        await talk.begin()
        talk.stream.write(f"MAIL FROM:<b@b.example>\r\n{EVA}\r\n".encode())
        talk.stream.write(f"{NOBODY}\r\n".encode() * 6 + b"NOOP\r\n")
        took = [await timed(talk.reply()) for _ in range(9)]
        assert [code for code, _ in took] == ["250", "250"] + ["550"] * 6 + ["250"]
        seconds = [int(each + AT_ONCE) for _, each in took]
        assert sum(seconds[:5]) == 1
        assert seconds[5:] == [2, 4, 8, 0]

    with_house(work)


def test_a_stop_does_not_wait() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net))
        await talk.begin()
        for _ in range(6):
            await talk.say("NONSENSE")
        waiting = asyncio.create_task(timed(talk.say("NONSENSE")))
        await asyncio.sleep(1)
        await house.built.doors.stop()
        answer, seconds = await waiting
        assert answer == "500"
        assert seconds < 2
        assert (await talk.reply()).startswith("421")

    with_house(work)
