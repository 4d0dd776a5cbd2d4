"""World: one simulated machine, its outside, its processes, and their deaths.

A machine lives in *lives*: each has its own folder for SQLite's files; each of its processes
(`sim.process`) has its own world and its own tasks. A crash ends a life: everything it could touch
is dead before its tasks are cancelled. The next life starts on what survived.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from estafeta.world.seams import World

from . import vfs
from .disk import SimDisk
from .net import Internet, SimNet
from .objects import SimBucket
from .process import SimProcess

EPOCH = 1_750_000_000.0
"""Time of day at the loop's time 0: 2025-06-15 15:06:40 UTC."""


class SimClock:
    """Implements `seams.Clock`: the loop's virtual time as time of day. offset: seconds by which
    this machine's clock is wrong."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.offset


class SimMachine:
    """One machine on an internet.

    addresses: its own. folder: a real, empty folder (best in memory: /dev/shm) below which each
    life keeps SQLite's files. dice: the machine's own, from the run's seed. processes: how many
    programs run on it, all at its addresses, on one disk. bucket: elsewhere, for large bodies.
    world, net, start: those of its first process. root: of the present life; take it anew after a
    restart.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        internet: Internet,
        dice: random.Random,
        folder: Path,
        *,
        processes: int = 1,
        bucket: SimBucket | None = None,
    ) -> None:
        vfs.install()
        self.name = name
        self.clock = SimClock()
        self.bucket = bucket
        self.deaths = 0
        self.up = True
        self.addresses = tuple(addresses)
        self.internet = internet
        self.dice = dice
        self._folder = folder
        self._death = asyncio.Event()
        self._birth = asyncio.Event()
        self.root = self._life_folder()
        self.root.mkdir(parents=True)
        self.power = vfs.PowerDomain(self.root)
        self.disk = SimDisk()
        names = [name, *(f"{name}/{number}" for number in range(1, processes))]
        self.processes = [SimProcess(self, each) for each in names]

    @property
    def world(self) -> World:
        return self.processes[0].world

    @property
    def net(self) -> SimNet:
        return self.processes[0].net

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs `main` on this machine: it and every task it starts ends with the life."""
        return self.processes[0].start(main)

    def crash(self) -> None:
        """All processes are killed; the system, and all that was written, stay."""
        self._die(power_lost=False, torn=False)

    def power_loss(self, *, torn: bool = False) -> None:
        """The power goes: unsynced writes are lost, or with `torn` some of them. Its peers hear
        nothing until `restart`."""
        self._die(power_lost=True, torn=torn)

    def power_loss_at(self, operations: int, *, torn: bool = False) -> None:
        """Lets the power go at SQLite's `operations`th write, sync, truncation or deletion from
        now, before it takes effect. `died()` tells."""
        self.power.cut_power_at(operations, lambda: self.power_loss(torn=torn))

    async def died(self) -> None:
        """Returns once this life is over."""
        await self._death.wait()

    async def revived(self) -> None:
        """Returns once the next life has begun."""
        await self._birth.wait()

    def restart(self) -> World:
        """The next life, on what survived; `start` its main anew."""
        assert not self.up, "it runs"
        for process in self.processes:
            process.net.forget()
        self._death = asyncio.Event()
        self.up = True
        self._birth.set()
        for process in self.processes:
            process.live()
        return self.world

    def close(self) -> None:
        """Removes the files of the present life."""
        self.power.close()

    # --- inside --------------------------------------------------------------------------------

    def _die(self, *, power_lost: bool, torn: bool) -> None:
        if not self.up:
            return
        self.up = False
        self.deaths += 1
        self._birth = asyncio.Event()
        dice = self.dice if torn else None
        disk, power = self.disk, self.power
        disk.dead = power.dead = True
        for process in self.processes:
            process.die(dark=power_lost)
        self.disk = disk.after(power_lost=power_lost, torn=dice)
        self.root = self._life_folder()
        self.power = power.move(self.root, power_lost=power_lost, torn=dice)
        self._death.set()

    def _life_folder(self) -> Path:
        return self._folder / self.name / f"life-{self.deaths}"
