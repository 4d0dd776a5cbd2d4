"""Loop: an event loop in virtual time. When nothing is ready, the clock jumps to the next timer.

Promises: no real I/O and no thread, so that a run depends on its seed only; timers of the same
moment run in the order they were set; what belongs to somebody frozen waits, in its order, until he
is thawed; a run in which nothing can ever happen again ends with `Deadlock`, which shows where
every task waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import io
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

EXECUTOR_SECONDS = 0.0005
"""What work given to a thread takes: its effect is there at once, its answer this much later, so
that a crash may fall in between."""

HORIZON_SECONDS = 90 * 86400.0
"""A run that reaches this virtual time is stuck in some endless retry."""


whose: contextvars.ContextVar[object | None] = contextvars.ContextVar("whose", default=None)
"""Whom a task or a callback belongs to: he can be frozen. None: nobody."""


class Deadlock(AssertionError):
    """Nothing is scheduled and the run has not ended; the text shows where each task waits."""


class _NoEvents:
    """In the place of a selector: instead of waiting, moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock(f"nothing can happen any more\n{waiting_tasks(self._loop)}")
        if timeout > 0:
            self._loop.jump()
        return []


class _Handle(asyncio.Handle):
    """A callback, which waits while the one it belongs to is frozen."""

    __slots__ = ()
    _loop: VirtualLoop
    _context: contextvars.Context

    def _run(self) -> None:
        if not self._loop.kept_back(self, self._context):
            super()._run()


class _Timer(asyncio.TimerHandle):
    """Orders timers of the same moment by when they were set: a heap alone does not."""

    __slots__ = ("number",)
    _loop: VirtualLoop
    _context: contextvars.Context
    number: int

    def _run(self) -> None:
        if not self._loop.kept_back(self, self._context):
            super()._run()

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        assert isinstance(other, _Timer)
        mine, others = self.when(), other.when()
        return mine < others or (mine == others and self.number < other.number)


class VirtualLoop(asyncio.BaseEventLoop):
    """Starts at time 0. horizon: seconds of virtual time after which a run fails."""

    _scheduled: list[asyncio.TimerHandle]
    _ready: deque[asyncio.Handle]

    def __init__(self, horizon: float = HORIZON_SECONDS) -> None:
        super().__init__()
        self._now = 0.0
        self._horizon = horizon
        self._timers_set = 0
        self._frozen: dict[object, list[asyncio.Handle]] = {}
        self._clock_resolution = 1e-9
        self._selector = _NoEvents(self)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self) -> None:
        """To the moment of the next timer."""
        self._now = max(self._now, self._scheduled[0].when())
        if self._now > self._horizon:
            raise Deadlock(f"virtual time passed {self._horizon:.0f} s\n{waiting_tasks(self)}")

    # --- freezing ------------------------------------------------------------------------------

    def freeze(self, who: object) -> None:
        """From now on nothing that belongs to `who` runs: a stopped process."""
        self._frozen.setdefault(who, [])

    def thaw(self, who: object) -> None:
        """What should have run meanwhile runs now, in its order. Does nothing where not frozen."""
        self._ready.extend(self._frozen.pop(who, ()))

    def kept_back(self, handle: asyncio.Handle, context: contextvars.Context) -> bool:
        if not self._frozen:
            return False
        kept = self._frozen.get(context.get(whose))
        if kept is None:
            return False
        kept.append(handle)
        return True

    # --- asyncio's own ---------------------------------------------------------------------------

    def _call_soon(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        timer.number = self._timers_set
        self._timers_set += 1
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # as BaseEventLoop.call_at does
        return timer

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            self.call_later(EXECUTOR_SECONDS, _unless_done, future, future.set_exception, error)
        else:
            self.call_later(EXECUTOR_SECONDS, _unless_done, future, future.set_result, result)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        return

    def _write_to_self(self) -> None:
        return


def _unless_done(future: asyncio.Future[Any], act: Callable[[Any], None], value: object) -> None:
    if not future.done():
        act(value)


def waiting_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Where each task of the loop waits, by name."""
    text = io.StringIO()
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
        task.print_stack(limit=6, file=text)
    return text.getvalue()


def run(main: Coroutine[Any, Any, T], *, horizon: float = HORIZON_SECONDS) -> T:
    """Runs `main` to its end in virtual time. Raises what it raises, or Deadlock."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(horizon)) as runner:
        return runner.run(main)
