"""Process: one of the programs on a simulated machine: its lives, its deaths, its pauses.

Promises: a life ends at once: all it could touch is dead before its tasks are cancelled, so that
their cleaning up reaches nothing; what it had written stays, its peers hear resets. A process that
is stopped runs nothing, and what comes for it waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from estafeta.world.seams import World

from .loop import VirtualLoop, whose
from .net import SimNet
from .objects import SimObjects

if TYPE_CHECKING:
    from .world import SimMachine

T = TypeVar("T")


class InlineCpu:
    """Implements `seams.Cpu`: at once, in the only thread."""

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        await asyncio.sleep(0)
        return work(*arguments)

    async def apart(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self.run(work, *arguments)


class Life:
    """From a start to the death: what the tasks of one run of a program can touch."""

    def __init__(self, name: str, world: World, net: SimNet) -> None:
        self.name = name
        self.world = world
        self.net = net
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in the order they were started

    @property
    def up(self) -> bool:
        return self.net.up

    def took(self, task: asyncio.Task[Any]) -> None:
        """A task of this life."""
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))

    def end(self, *, dark: bool) -> None:
        """See `SimNet.crash` for `dark`."""
        self.net.crash(dark=dark)
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.thaw(self)
        for task in list(self.tasks):
            task.cancel()  # also one that is running now: it ends at its next wait
        self.tasks.clear()


class SimProcess:
    """One process of `machine`, which makes it. `deaths`: its own, without those of the machine.
    died_at: the moments of all, in the loop's time.

    world, net: of the present life; take them anew after a restart.
    """

    def __init__(self, machine: SimMachine, name: str) -> None:
        self.machine = machine
        self.name = name
        self.deaths = 0
        self.died_at: list[float] = []
        self._death = asyncio.Event()
        self._birth = asyncio.Event()
        self.life = self._new_life()

    @property
    def up(self) -> bool:
        return self.life.up

    @property
    def world(self) -> World:
        return self.life.world

    @property
    def net(self) -> SimNet:
        return self.life.net

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs `main` in this process: it and every task it starts ends with the life."""
        watch_tasks(asyncio.get_running_loop())
        context = contextvars.copy_context()
        context.run(whose.set, self.life)
        return asyncio.get_running_loop().create_task(main, name=self.name, context=context)

    def kill(self) -> None:
        """The process is killed; its machine, and all that was written, stay."""
        if self.up:
            self.deaths += 1
            self.die(dark=False)

    def kill_at(self, operations: int) -> None:
        """Lets it die at its `operations`th write, sync, truncation or deletion by SQLite from
        now, before that takes effect. `died()` tells."""
        life = self.life
        self.machine.power.kill_at(operations, lambda: whose.get() is life, self.kill)

    def exit(self) -> None:
        """It has ended by itself; what it left open is closed. It can be started again."""
        if self.up:
            self.life.end(dark=False)
            self.life = self._new_life()

    def pause(self) -> None:
        """Stops it, as by SIGSTOP: it runs nothing until `resume`; its time goes on."""
        self._loop().freeze(self.life)

    def resume(self) -> None:
        """What should have happened meanwhile happens now. Does nothing where it is not stopped."""
        self._loop().thaw(self.life)

    async def died(self) -> None:
        """Returns once this life is over, whatever ended it."""
        await self._death.wait()

    async def revived(self) -> None:
        """Returns once the next life has begun."""
        await self._birth.wait()

    def restart(self) -> None:
        """The next life, on what there is; `start` its main anew."""
        assert not self.up, "it runs"
        assert self.machine.up, "the machine does not run"
        self.live()

    # --- what the machine calls ----------------------------------------------------------------

    def die(self, *, dark: bool) -> None:
        if self.up:
            self._birth = asyncio.Event()
            self.died_at.append(self._loop().time())
        self.life.end(dark=dark)
        self._death.set()

    def live(self) -> None:
        self._death = asyncio.Event()
        self.life = self._new_life()
        self._birth.set()

    # --- inside --------------------------------------------------------------------------------

    def _new_life(self) -> Life:
        machine = self.machine
        net = SimNet(machine.internet, machine.addresses, self.name)
        world = World(
            clock=machine.clock,
            dice=random.Random(machine.dice.random()),  # noqa: S311 (to be foretold)
            net=net,
            disk=machine.disk,
            cpu=InlineCpu(),
            objects=None if machine.bucket is None else SimObjects(machine.bucket),
        )
        return Life(self.name, world, net)

    @staticmethod
    def _loop() -> VirtualLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop


def life_at_work() -> Life | None:
    """Whose task or callback is running; None for what belongs to none."""
    life = whose.get()
    return life if isinstance(life, Life) else None


def alive() -> bool:
    """Whether whoever is at work may still touch anything."""
    life = life_at_work()
    return life is None or life.up


def watch_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Lets every new task of the loop count for the life it is started in."""
    if loop.get_task_factory() is not _task_of_life:
        loop.set_task_factory(_task_of_life)


def _task_of_life(
    loop: asyncio.AbstractEventLoop,
    work: Any,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    life = context.get(whose) if context is not None else whose.get()
    if isinstance(life, Life):
        life.took(task)
    return task
