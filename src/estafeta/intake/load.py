"""Load: whether this process has so much to do that new work is turned away.

Looked at once a second, so that a session asks for nothing but an attribute. Promises: who is busy
stays so until it is clearly better, so that it does not flicker at the limit; what has been
accepted goes on, and so do those who read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from estafeta.intake.limits import (
    BUSY_DISK_UNTIL,
    BUSY_LOOK_SECONDS,
    BUSY_MEMORY_UNTIL,
    BUSY_STORE_UNTIL,
)
from estafeta.mail.protocols import Meter

log = structlog.get_logger("load")


class LoadLimits(msgspec.Struct, frozen=True):
    """See the settings of `[busy]`. 0: it is not looked at."""

    units_max: int = 0
    memory_max: int = 0
    disk_free_min: int = 0


class Measures(msgspec.Struct, frozen=True):
    """waiting: units that wait for the store. memory, disk_free: octets. May raise OSError: what
    cannot be known makes nobody busy."""

    waiting: Callable[[], int]
    memory: Callable[[], int]
    disk_free: Callable[[], int]


class Load:
    """Of one process. busy: "memory", "disk" or "store", whichever is short; "" for nothing."""

    def __init__(self, measures: Measures, limits: LoadLimits, meter: Meter) -> None:
        self.limits = limits
        self.busy = ""
        self._measures = measures
        self._meter = meter
        self._short: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.look()
        self._task = asyncio.create_task(self._run(), name="load")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BUSY_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Once at all of them."""
        limits, measures = self.limits, self._measures
        self._turn(
            "memory",
            measures.memory,
            limits.memory_max,
            lambda now: now > limits.memory_max,
            lambda now: now < limits.memory_max * BUSY_MEMORY_UNTIL,
        )
        self._turn(
            "disk",
            measures.disk_free,
            limits.disk_free_min,
            lambda now: now < limits.disk_free_min,
            lambda now: now > limits.disk_free_min * BUSY_DISK_UNTIL,
        )
        self._turn(
            "store",
            measures.waiting,
            limits.units_max,
            lambda now: now > limits.units_max,
            lambda now: now < limits.units_max * BUSY_STORE_UNTIL,
        )
        self.busy = min(self._short, default="")

    def _turn(
        self,
        what: str,
        measure: Callable[[], int],
        limit: int,
        is_short: Callable[[int], bool],
        is_over: Callable[[int], bool],
    ) -> None:
        was = what in self._short
        try:
            now = measure() if limit else 0
        except OSError as error:
            if was:
                log.warning("load not known", what=what, error=str(error))
            now, limit = 0, 0
        short = bool(limit) and (not is_over(now) if was else is_short(now))
        if short == was:
            return
        if short:
            self._short.add(what)
            log.warning("too busy for new mail", short_of=what, now=now, limit=limit)
        else:
            self._short.discard(what)
            log.warning("new mail is taken again", was_short_of=what, now=now, limit=limit)
        self._meter.gauge("busy", int(short), what=what)
