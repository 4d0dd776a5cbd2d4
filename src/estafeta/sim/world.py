"""World: one simulated machine, its outside, and its deaths.

A machine lives in *lives*: each has its own `World`, its own folder for SQLite's files, its own
tasks. A crash ends a life: everything it could touch is dead before its tasks are cancelled, so
that their cleaning up reaches nothing. The next life starts on what survived.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from estafeta.world.seams import World

from . import vfs
from .disk import SimDisk
from .net import Internet, SimNet

T = TypeVar("T")

EPOCH = 1_750_000_000.0
"""Time of day at the loop's time 0: 2025-06-15 15:06:40 UTC."""


class SimClock:
    """Implements `seams.Clock`: the loop's virtual time as time of day. offset: seconds by which
    this machine's clock is wrong."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.offset


class InlineCpu:
    """Implements `seams.Cpu`: at once, in the only thread."""

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        await asyncio.sleep(0)
        return work(*arguments)


class SimMachine:
    """One machine on an internet.

    addresses: its own. folder: a real, empty folder (best in memory: /dev/shm) below which each
    life keeps SQLite's files. dice: the machine's own, from the run's seed.
    world, root: of the present life; take them anew after a restart.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        internet: Internet,
        dice: random.Random,
        folder: Path,
    ) -> None:
        vfs.install()
        self.name = name
        self.clock = SimClock()
        self.deaths = 0
        self._addresses = tuple(addresses)
        self._internet = internet
        self._dice = dice
        self._folder = folder
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order they were started
        self._death = asyncio.Event()
        self._birth = asyncio.Event()
        self.root = self._life_folder()
        self.root.mkdir(parents=True)
        self.power = vfs.PowerDomain(self.root)
        self.disk = SimDisk()
        self.net = SimNet(internet, addresses)
        self.world = self._new_world()

    @property
    def up(self) -> bool:
        return self.net.up

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs `main` on this machine: it and every task it starts ends with the life."""
        watch_tasks(asyncio.get_running_loop())
        context = contextvars.copy_context()
        context.run(_machine.set, self)
        return asyncio.get_running_loop().create_task(main, name=self.name, context=context)

    def crash(self) -> None:
        """The process is killed; the system, and all that was written, stay."""
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
        self.net.forget()
        self._death = asyncio.Event()
        self._birth.set()
        self.net = SimNet(self._internet, self._addresses)
        self.world = self._new_world()
        return self.world

    def close(self) -> None:
        """Removes the files of the present life."""
        self.power.close()

    # --- inside --------------------------------------------------------------------------------

    def _die(self, *, power_lost: bool, torn: bool) -> None:
        if not self.up:
            return
        self.deaths += 1
        self._birth = asyncio.Event()
        dice = self._dice if torn else None
        self.net.crash(dark=power_lost)
        self.disk = self.disk.after(power_lost=power_lost, torn=dice)
        root = self._life_folder()
        self.power = self.power.move(root, power_lost=power_lost, torn=dice)
        self.root = root
        for task in list(self._tasks):
            task.cancel()  # also one that is running now: it ends at its next wait
        self._tasks.clear()
        self._death.set()

    def _life_folder(self) -> Path:
        return self._folder / self.name / f"life-{self.deaths}"

    def _new_world(self) -> World:
        return World(
            clock=self.clock,
            dice=random.Random(self._dice.random()),  # noqa: S311 (to be foretold)
            net=self.net,
            disk=self.disk,
            cpu=InlineCpu(),
        )

    def took(self, task: asyncio.Task[Any]) -> None:
        """A task of the present life."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


_machine: contextvars.ContextVar[SimMachine | None] = contextvars.ContextVar(
    "machine", default=None
)


def machine_of_task() -> SimMachine | None:
    """The machine whose task is running, None for what belongs to none."""
    return _machine.get()


def watch_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Lets every new task of the loop count for the machine it is started on."""
    if loop.get_task_factory() is _task_of_machine:
        return
    loop.set_task_factory(_task_of_machine)


def _task_of_machine(
    loop: asyncio.AbstractEventLoop,
    work: Any,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    machine = context.get(_machine) if context is not None else _machine.get()
    if machine is not None:
        machine.took(task)
    return task
