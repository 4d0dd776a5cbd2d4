"""Load: when a process is busy, until when, and what is said to those who come then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.whole import MESSAGE, Talk, Whole, whole

from estafeta.intake.load import Load, LoadLimits, Measures
from estafeta.office.metrics import PrometheusMeter
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet

LIMITS = LoadLimits(units_max=100, memory_max=1000, disk_free_min=1000)


class Machine:
    """What is measured, as the test says it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.memory = 10
        self.disk_free = 100_000
        self.error = ""
        self.meter = PrometheusMeter(strict=True)
        measures = Measures(*(self._of(each) for each in ("waiting", "memory", "disk_free")))
        self.load = Load(measures, LIMITS, self.meter)

    def _of(self, what: str) -> Callable[[], int]:
        def measure() -> int:
            if what == self.error:
                raise OSError("cannot be known")
            return int(getattr(self, what))

        return measure

    def at(self, **measured: int) -> str:
        for what, value in measured.items():
            setattr(self, what, value)
        self.load.look()
        return self.load.busy


@pytest.mark.parametrize(
    ("busy", "what", "good", "short", "better", "well"),
    [
        ("store", "waiting", 100, 101, 50, 49),
        ("memory", "memory", 1000, 1001, 950, 949),
        ("disk", "disk_free", 1000, 999, 1250, 1251),
    ],
)
def test_who_is_busy_stays_so_until_it_is_clearly_better(
    busy: str, what: str, good: int, short: int, better: int, well: int
) -> None:
    machine = Machine()
    with capture_logs() as said:
        assert machine.at(**{what: good}) == ""
        assert machine.at(**{what: short}) == busy
        assert machine.meter.value("estafeta_busy", what=busy) == 1
        assert machine.at(**{what: good}) == busy
        assert machine.at(**{what: better}) == busy
        assert machine.at(**{what: well}) == ""
        assert machine.meter.value("estafeta_busy", what=busy) == 0
    assert len(said) == 2


def test_what_is_not_limited_or_cannot_be_known_makes_nobody_busy() -> None:
    machine = Machine()
    machine.load.limits = LoadLimits()
    assert machine.at(waiting=1 << 40, memory=1 << 60, disk_free=0) == ""
    machine.load.limits = LIMITS
    assert machine.at() == "disk"
    machine.error = "disk_free"
    assert machine.at(waiting=0) == "memory"
    machine.error = "memory"
    assert machine.at(disk_free=100_000) == ""
    machine.load.limits = LoadLimits(memory_max=1 << 61)  # as a reload sets it
    machine.error = ""
    assert machine.at(memory=1 << 60) == ""


def test_it_looks_by_itself_once_a_second() -> None:
    async def main() -> None:
        machine = Machine()
        machine.memory = 2000
        await machine.load.start()
        assert machine.load.busy == "memory"
        machine.memory = 10
        assert machine.load.busy == "memory"
        await asyncio.sleep(1.01)
        assert machine.load.busy == ""
        await machine.load.stop()

    run(main())


def with_house(work: Callable[[Whole, SimNet], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, net):
            await work(house, net)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


def test_new_work_is_turned_away_and_what_was_begun_is_finished() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        begun, idle = Talk(await house.connect(net)), Talk(await house.connect(net))
        await begun.begin()
        await idle.begin()
        assert (await begun.say("MAIL FROM:<a@client.example>")).startswith("250")
        house.built.receiving.load.busy = "memory"
        refused = Talk(await house.connect(net))
        assert (await refused.reply()).startswith("421 4.3.2 ")
        assert await refused.reply() == ""
        submitting = Talk(await house.connect(net, "submission"))
        assert (await submitting.reply()).startswith("421 4.3.2 ")
        assert (await idle.say("MAIL FROM:<a@client.example>")).startswith("451 4.3.2 ")
        assert (await begun.say("RCPT TO:<eva@mx.example>")).startswith("250")
        assert (await begun.say("DATA")).startswith("354")
        begun.stream.write(MESSAGE)
        assert (await begun.say(".")).startswith("250")
        # By LMTP comes what another server of ours has accepted already.
        near = Talk(await house.connect(net, "lmtp"))
        assert (await near.reply()).startswith("220")
        house.built.receiving.load.busy = ""
        assert (await idle.say("MAIL FROM:<a@client.example>")).startswith("250")
        assert (await (Talk(await house.connect(net))).reply()).startswith("220")

    with_house(work)
