"""Pump: what a driver does between a Stream and a sans-IO Machine: send, wait, feed.

Two small steps instead of a loop, because what happens in between (units of work, STARTTLS,
authentication) is the driver's. Waiting is bounded without a timer for each wait: arming and
disarming one around every read is a tenth of what a session costs. One timer stands for the whole
session and is moved only when it fires too early; when it is time, the stream breaks off the wait.
"""

from __future__ import annotations

import asyncio

from estafeta.mail.protocols import Machine

from .seams import Stream


class Pump:
    """For one task at a time; `close` at the end."""

    __slots__ = ("_deadline", "_loop", "_machine", "_stream", "_timer", "_waiting")

    def __init__(self, stream: Stream, machine: Machine) -> None:
        self._stream = stream
        self._machine = machine
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._waiting = False

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
            self._watch(seconds)
            try:
                await stream.drain()
            finally:
                self._waiting = False
        return True

    async def feed(self, seconds: float) -> bool:
        """Waits at most `seconds` for the peer's next bytes and gives them to the machine.

        False at the end of the peer's stream. Raises TimeoutError, ConnectionError.
        """
        stream = self._stream
        if stream.buffered():
            data = await stream.read()
        else:
            self._watch(seconds)
            try:
                data = await stream.read()
            finally:
                self._waiting = False
        self._machine.receive(data)
        return bool(data)

    def close(self) -> None:
        """Disarms the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, seconds: float) -> None:
        """What is waited for next may last so long."""
        self._deadline = deadline = self._loop.time() + seconds
        self._waiting = True
        if self._timer is None or self._timer.when() > deadline:
            self._arm(deadline)

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if not self._waiting:
            return  # the next wait arms it anew
        if self._loop.time() < self._deadline:
            self._arm(self._deadline)
        else:
            self._stream.interrupt(TimeoutError())
