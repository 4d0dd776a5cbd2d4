"""Service: the life of the program from its first port to its last answer.

Promises: components start in order and stop in the opposite one; when one cannot start, those
before it are stopped; "ready" is said once all are open; a stop first drains (new connections get
421 or wait, what has begun goes on), then waits, and after its deadline gives up waiting.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from estafeta.office import notice
from estafeta.office.limits import STOP_SECONDS_MAX
from estafeta.office.signals import Handled, Stop, handled


class Component(Protocol):
    """A part of the running program: a listener, the queue's runner, the store …"""

    @property
    def name(self) -> str: ...

    async def start(self) -> None:
        """Returns when it is open. Raises what `errors.explain_startup_error` can explain."""
        ...

    async def drain(self) -> None:
        """Begins nothing new; returns at once."""
        ...

    async def stop(self) -> None:
        """Finishes what has begun, closes; returns when that is done. Cancelled at the deadline."""
        ...

    async def reload(self) -> None:
        """The settings may have changed. Must not raise for a setting it cannot change."""
        ...


class Service:
    """Runs components until it is asked to stop.

    after_start: runs once all are open (dropping privileges belongs there); may raise.
    reload: runs on SIGHUP before the components' own; where it raises, they keep what they have.
    reloaded: is told how that went: "", or why it was refused.
    ready_fd: a file descriptor that gets "ready\\n" and is closed (as systemd's or s6's notice).
    handled: how it comes to know that it is to stop or to reload.
    """

    def __init__(
        self,
        components: Sequence[Component],
        *,
        after_start: Callable[[], None] = lambda: None,
        reload: Callable[[], None] = lambda: None,
        reloaded: Callable[[str], None] = lambda _: None,
        ready_fd: int | None = None,
        stop_seconds: float = STOP_SECONDS_MAX,
        handled: Handled = handled,
    ) -> None:
        self._components = list(components)
        self._after_start = after_start
        self._reload = reload
        self._reloaded = reloaded
        self._handled = handled
        self._ready_fd = ready_fd
        self._stop_seconds = stop_seconds
        self._log = structlog.get_logger()
        self.reload_wanted = asyncio.Event()
        self.stop = Stop()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """From start to stop. Raises what a component's start raised."""
        started: list[Component] = []
        watchdog = asyncio.create_task(notice.keep_watchdog(), name="watchdog")
        with self._handled(self.stop, self.reload_wanted.set):
            try:
                for component in self._components:
                    started.append(component)
                    await component.start()
                self._after_start()
                self._say_ready()
                reloading = asyncio.create_task(self._reload_when_wanted(), name="reload")
                await self.stop.asked.wait()
                reloading.cancel()
            finally:
                self.ready.clear()
                await self._stop_all(started)
                watchdog.cancel()

    def stop_within(self, seconds: float) -> None:
        """As a signal to stop, with less time for what has begun."""
        self._stop_seconds = min(self._stop_seconds, seconds)
        self.stop.asked.set()

    def _say_ready(self) -> None:
        self.ready.set()
        self._log.info("ready", components=[c.name for c in self._components])
        say_ready(self._ready_fd)

    async def _reload_when_wanted(self) -> None:
        while True:
            await self.reload_wanted.wait()
            self.reload_wanted.clear()
            notice.reloading()
            self._reloaded(await self._reload_now())
            notice.ready()

    async def _reload_now(self) -> str:
        """Why it was refused, or ""."""
        try:
            self._reload()
        except Exception as wrong:
            self._log.error("reload_refused", reason=str(wrong))
            return str(wrong)
        for component in self._components:
            try:
                await component.reload()
            except Exception:
                self._log.exception("reload_failed", component=component.name)
        self._log.info("reloaded")
        return ""

    async def _stop_all(self, started: list[Component]) -> None:
        notice.stopping(self._stop_seconds)
        self._log.info("stopping")
        for component in started:
            try:
                await component.drain()
            except Exception:
                self._log.exception("drain_failed", component=component.name)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._stop_seconds
        for component in reversed(started):
            await self._stop_one(component, deadline)
        self._log.info("stopped")

    async def _stop_one(self, component: Component, deadline: float) -> None:
        """Waits for it until the deadline, or until a second signal says not to wait."""
        stopping = asyncio.create_task(component.stop(), name=f"stop {component.name}")
        at_once = asyncio.create_task(self.stop.at_once.wait())
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        # What comes after the deadline still gets a moment: the store closes last, and must.
        await asyncio.wait({stopping, at_once}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not stopping.done():
            await asyncio.wait({stopping}, timeout=0.5)
        if not stopping.done():
            self._log.warning("stop_cut_short", component=component.name)
            stopping.cancel()
        try:
            await stopping
        except asyncio.CancelledError:
            if not stopping.cancelled():
                raise
        except Exception:
            self._log.exception("stop_failed", component=component.name)


def say_ready(ready_fd: int | None) -> None:
    """To the service manager, and to the descriptor that was given for it."""
    notice.ready()
    if ready_fd is not None:
        with suppress(OSError):
            os.write(ready_fd, b"ready\n")
            os.close(ready_fd)
