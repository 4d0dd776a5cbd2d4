"""Trouble: what goes wrong in one run, when, and for how long, all of it from the dice.

Faults of the net and of the DNS come at moments; machines crash, lose their power, in the middle of
a write or not, torn or not, and come back; disks are full for one write. `heal` ends it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from .dns import DnsFault, DnsServer, Wrong
from .faults import Fault
from .installation import SimInstallation
from .names import ADDRESSES, INSTALLATIONS, MANNERS
from .net import Internet
from .observer import Moment, Observer
from .world import SimMachine

NET_FAULTS = (
    Fault("refuse"),
    Fault("unreachable"),
    Fault("black-hole"),
    Fault("cut", match=b"\r\n.\r\n", before=True),
    Fault("cut", match=b"\r\n.\r\n"),
    Fault("cut", match=b"\r\n.\r\n", end="fin"),
    Fault("cut", match=b"354", direction="from"),
    Fault("cut", match=b"RCPT TO"),
    Fault("cut", after=700),
    Fault("cut", after=120, direction="from", end="fin"),
    Fault("silence", after=900),
    Fault("silence", match=b"\r\n.\r\n"),
    Fault("silence", after=150, direction="from"),
    Fault("drip", direction="from"),
)
WRONG: tuple[Wrong, ...] = (
    "SERVFAIL",
    "REFUSED",
    "timeout",
    "truncate",
    "wrong-id",
    "lame",
    "garbage",
    "NODATA",
)
USUAL_SECONDS = 1500.0
"""For so long there are as many faults as said here; for longer, more: up to TIMES_MAX as many."""

TIMES_MAX = 10

DEATH_KINDS = ("crash", "power", "torn", "stop")
"""The process is killed; the power goes, what was not synced is lost; or some of it; SIGTERM."""

DEATHS = (0, 1, 2, 3, 5, 8)
"""Of one machine, at most."""

DOWN_SECONDS = ((1.0, 10.0), (10.0, 240.0))
MOMENTS: tuple[Moment | None, ...] = (None, None, "taking", "refused", "refused", "answered")
OPERATIONS: dict[Moment | None, tuple[int, int]] = {
    None: (1, 400),
    "taking": (1, 60),
    "refused": (1, 60),
    "answered": (1, 60),
}
"""A power loss that is to fall into a write falls into one of so many from the moment on."""


class Trouble:
    """deaths: those of DEATH_KINDS that may come."""

    def __init__(
        self,
        internet: Internet,
        dns: DnsServer,
        installations: dict[str, SimInstallation],
        observer: Observer,
        dice: random.Random,
        tell: Callable[[str], None],
        deaths: tuple[str, ...] = DEATH_KINDS,
    ) -> None:
        self._internet = internet
        self._dns = dns
        self._installations = installations
        self._observer = observer
        self._dice = dice
        self._tell = tell
        self._kinds = deaths
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, seconds: float) -> None:
        """Lets trouble come over the next `seconds`."""
        dice = self._dice
        times = _times(seconds)
        for _ in range(dice.randint(4, 10) * times):
            self._at(dice.uniform(0, seconds), self._net_fault)
        for _ in range(dice.randint(1, 5) * times):
            self._at(dice.uniform(0, seconds), self._dns_fault)
        for installation in self._installations.values():
            if dice.random() < 0.4:
                when = dice.uniform(0, seconds)
                self._at(when, partial(self._disk_full, installation, dice.uniform(60, 300)))
            self._tasks.append(asyncio.ensure_future(self._mortal(installation, seconds)))

    async def heal(self) -> None:
        """Ends every fault; returns when all machines are up and serve."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._internet.heal()
        self._dns.heal()
        for installation in self._installations.values():
            machine = installation.machine
            machine.power.heal()
            machine.disk.capacity = None
            if not machine.up:
                machine.restart()
            await installation.serving.wait()

    # -- faults ----------------------------------------------------------------------------------

    def _at(self, when: float, act: Callable[[], None]) -> None:
        async def later() -> None:
            await asyncio.sleep(when)
            act()

        self._tasks.append(asyncio.ensure_future(later()))

    def _net_fault(self) -> None:
        dice = self._dice
        fault = replace(dice.choice(NET_FAULTS), times=dice.choice((1, 1, 2, 4)))
        fault.port = dice.choice((25, 25, 587))
        servers = [each for addresses in ADDRESSES.values() for each in addresses]
        if fault.port == 25 and dice.random() < 0.4:
            servers = [address for address, _, _ in MANNERS.values()]
        fault.to = dice.choice(servers)
        if dice.random() < 0.15:
            kind = dice.choice(("lose", "delay"))
            fault = Fault(kind, port=53, chance=0.5, seconds=5.0, times=20)  # type: ignore[arg-type]
        self._tell(f"fault {fault.kind} to {fault.to}:{fault.port} x{fault.times}")
        self._internet.inject(fault)

    def _dns_fault(self) -> None:
        dice = self._dice
        names = [*MANNERS, *(f"{name}.example" for name in INSTALLATIONS), ""]
        fault = DnsFault(dice.choice(WRONG), dice.choice(names), times=dice.randint(1, 6))
        self._tell(f"DNS {fault.wrong} for {fault.name or 'all'} x{fault.times}")
        self._dns.inject(fault)

    def _disk_full(self, installation: SimInstallation, seconds: float) -> None:
        """Once for what SQLite writes or syncs, for a while for the bodies beside it."""
        machine = installation.machine
        self._tell(f"{machine.name}: disk full")
        if self._dice.random() < 0.3:
            machine.power.fail("sync", self._dice.randint(1, 6), "io", "-wal")
        else:
            operation = self._dice.randint(1, 60)
            machine.power.fail("write", operation, self._dice.choice(("full", "io")))
        disk = machine.disk
        disk.capacity = disk.used()

        def space() -> None:
            machine.disk.capacity = None

        self._at(seconds, space)

    @staticmethod
    def _kill(machine: SimMachine, kind: str) -> None:
        if kind == "crash":
            machine.crash()
        else:
            machine.power_loss(torn=kind == "torn")

    # -- deaths ----------------------------------------------------------------------------------

    async def _mortal(self, installation: SimInstallation, seconds: float) -> None:
        """The lives and deaths of one machine."""
        dice, machine = self._dice, installation.machine
        count = dice.choice(DEATHS) * _times(seconds)
        for _ in range(count):
            await asyncio.sleep(dice.uniform(0, 1.5 * seconds / count))
            kind = dice.choice(self._kinds)
            if kind == "stop":
                self._tell(f"{machine.name}: stop")
                installation.stop()
                await installation.serving.wait()
                continue
            moment = dice.choice(MOMENTS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds / count):
                    if moment is not None:
                        await self._observer.next(moment, installation.addresses)
            if dice.random() < 0.2:
                self._kill(machine, kind)
            else:
                operations = dice.randint(*OPERATIONS[moment])
                machine.power.cut_power_at(operations, partial(self._kill, machine, kind))
                await machine.died()
            self._tell(f"{machine.name}: {kind}")
            await asyncio.sleep(dice.uniform(*dice.choice(DOWN_SECONDS)))
            machine.restart()
            await installation.serving.wait()


def _times(seconds: float) -> int:
    return min(TIMES_MAX, max(1, round(seconds / USUAL_SECONDS)))
