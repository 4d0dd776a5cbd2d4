"""Loop: an event loop in virtual time. When nothing is ready, the clock jumps to the next timer.

Promises: no real I/O and no thread, so that a run depends on its seed only; timers of the same
moment run in the order they were set; a run in which nothing can ever happen again ends with
`Deadlock`, which shows where every task waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import io
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

EXECUTOR_SECONDS = 0.0005
"""What work given to a thread takes: its effect is there at once, its answer this much later, so
that a crash may fall in between."""

HORIZON_SECONDS = 90 * 86400.0
"""A run that reaches this virtual time is stuck in some endless retry."""


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


class _Timer(asyncio.TimerHandle):
    """Orders timers of the same moment by when they were set: a heap alone does not."""

    __slots__ = ("number",)
    number: int

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        assert isinstance(other, _Timer)
        mine, others = self.when(), other.when()
        return mine < others or (mine == others and self.number < other.number)


class VirtualLoop(asyncio.BaseEventLoop):
    """Starts at time 0. horizon: seconds of virtual time after which a run fails."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, horizon: float = HORIZON_SECONDS) -> None:
        super().__init__()
        self._now = 0.0
        self._horizon = horizon
        self._timers_set = 0
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
