"""Trouble: what goes wrong in one run, when, and for how long, all of it from the dice.

Faults of the net and of the DNS come at moments; machines crash, lose their power, in the middle of
a write or not, torn or not, and come back; disks are full for one write. Where several workers
share a machine, one of them dies while the others go on, or is stopped for a while. `heal` ends it
all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from estafeta.queue.runner import LEASE_SECONDS

from .dns import DnsFault, DnsServer, Wrong
from .faults import Fault
from .installation import SimInstallation
from .names import ADDRESSES, INSTALLATIONS, MANNERS
from .net import Internet
from .observer import Moment, Observer
from .process import SimProcess
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

POWER_KINDS = ("power", "torn")

DEATHS = (0, 1, 2, 3, 5, 8)
"""Of one machine, at most."""

WORKER_MISHAPS = (0, 1, 2, 4, 6)
"""Deaths and pauses of one worker, at most, where a machine has several."""

PAUSES_SECONDS = ((0.5, 30.0), (30.0, 300.0))
LONG_PAUSE_SECONDS = (LEASE_SECONDS, LEASE_SECONDS + 200)
"""So long a worker is stopped; its leases outlast all but the longest."""

WORKER_DOWN_SECONDS = ((0.2, 5.0), (5.0, 120.0))

DOWN_SECONDS = ((1.0, 10.0), (10.0, 240.0))
MOMENTS: tuple[Moment | None, ...] = (None, None, "taking", "refused", "refused", "answered")
OUTCOMES: tuple[Moment, ...] = ("refused", "answered")
OPERATIONS: dict[Moment | None, tuple[int, int]] = {
    None: (1, 400),
    "taking": (1, 60),
    "refused": (1, 60),
    "answered": (1, 60),
}
"""A power loss that is to fall into a write falls into one of so many from the moment on."""


class Trouble:
    """deaths: those of DEATH_KINDS that may come. pauses: name of a process -> from when to when it
    was stopped; still open: to infinity."""

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
        self.pauses: dict[str, list[tuple[float, float]]] = {}

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
            if len(installation.workers) > 1:
                for worker in installation.workers:
                    work = self._unsteady(worker.process, seconds)
                    self._tasks.append(asyncio.ensure_future(work))

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
            for process in machine.processes:
                if not process.up:
                    process.restart()
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

    async def _moment(
        self,
        whose: Iterable[str],
        patience: float,
        moments: Sequence[Moment | None] = MOMENTS,
    ) -> Moment | None:
        """Waits for a bad moment of theirs, or for none; for so many seconds at most."""
        moment = self._dice.choice(moments)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                if moment is not None:
                    await self._observer.next(moment, whose)
        return moment

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
            moment = await self._moment(installation.addresses, seconds / count)
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

    # -- workers ---------------------------------------------------------------------------------

    async def _unsteady(self, process: SimProcess, seconds: float) -> None:
        """The deaths and pauses of one worker, beside those of its machine."""
        dice = self._dice
        if dice.random() < 0.3:
            # Early enough to last: the other takes over what this one holds.
            await asyncio.sleep(dice.uniform(0, 0.1 * seconds))
            await self._moment([process.name], 0.2 * seconds, OUTCOMES)
            if process.up:
                await self._pause(process, dice.uniform(*LONG_PAUSE_SECONDS))
        count = dice.choice(WORKER_MISHAPS) * _times(seconds)
        for _ in range(count):
            await asyncio.sleep(dice.uniform(0, 1.5 * seconds / count))
            moment = await self._moment([process.name], seconds / count)
            if not process.up:
                continue  # its machine is down
            if dice.random() < 0.5:
                await self._pause(process, dice.uniform(*dice.choice(PAUSES_SECONDS)))
            else:
                await self._kill_worker(process, moment)

    async def _pause(self, process: SimProcess, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._tell(f"{process.name}: stopped for {seconds:.1f} s")
        pauses = self.pauses.setdefault(process.name, [])
        pauses.append((began, math.inf))
        process.pause()
        try:
            await asyncio.sleep(seconds)
        finally:
            process.resume()
            pauses[-1] = (began, loop.time())

    async def _kill_worker(self, process: SimProcess, moment: Moment | None) -> None:
        """Between two of its writes, or in the middle of one."""
        dice = self._dice
        if dice.random() < 0.4:
            process.kill()
        else:
            process.kill_at(dice.randint(*OPERATIONS[moment]))
            await process.died()
        if not process.machine.up:
            return
        self._tell(f"{process.name}: killed")
        await asyncio.sleep(dice.uniform(*dice.choice(WORKER_DOWN_SECONDS)))
        if process.machine.up and not process.up:
            process.restart()


def _times(seconds: float) -> int:
    return min(TIMES_MAX, max(1, round(seconds / USUAL_SECONDS)))
