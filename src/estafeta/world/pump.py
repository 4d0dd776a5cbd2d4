"""Pump: what a driver does between a Stream and a sans-IO Machine: send, wait, feed.

Two small steps instead of a loop, because what happens in between (units of work, STARTTLS,
authentication) is the driver's. Waiting is bounded without a timer for each wait: arming and
disarming one around every read is a tenth of what a session costs. One timer stands for the whole
session and is moved only when it fires too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from estafeta.mail.protocols import Machine

from .seams import Stream

T = TypeVar("T")


class Pump:
    """For one task at a time; `close` at the end."""

    __slots__ = (
        "_deadline",
        "_expired",
        "_loop",
        "_machine",
        "_stream",
        "_task",
        "_timer",
    )

    def __init__(self, stream: Stream, machine: Machine) -> None:
        self._stream = stream
        self._machine = machine
        self._task: asyncio.Task[Any] | None = None  # the one that waits
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._expired = False

    async def flush(self, seconds: float) -> bool:
        """Sends what the machine has to say; waits, at most so long, where the peer does not read.

        False where it had nothing. Raises TimeoutError, ConnectionError.
        """
        output = self._machine.take_output()
        if not output:
            return False
        stream = self._stream
        stream.write(output)
        if stream.congested():
            await self._bounded(stream.drain(), seconds)
        return True

    async def feed(self, seconds: float) -> bool:
        """Waits at most `seconds` for the peer's next bytes and gives them to the machine.

        False at the end of the peer's stream. Raises TimeoutError, ConnectionError.
        """
        stream = self._stream
        if stream.buffered():
            data = await stream.read()
        else:
            data = await self._bounded(stream.read(), seconds)
        self._machine.receive(data)
        return bool(data)

    def close(self) -> None:
        """Disarms the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _bounded(self, waiting: Coroutine[Any, Any, T], seconds: float) -> T:
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > deadline:
            self._arm(deadline)
        self._task = task = asyncio.current_task()
        assert task is not None
        try:
            return await waiting
        except asyncio.CancelledError:
            if not self._expired:
                raise
            self._expired = False
            if task.uncancel() > 0:
                raise  # somebody else wants the task to end
            raise TimeoutError from None
        finally:
            self._task = None

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._task is None:
            return  # the next wait arms it anew
        if self._loop.time() < self._deadline:
            self._arm(self._deadline)
            return
        self._expired = True
        self._task.cancel()
