"""Upkeep: what an installation does by itself besides mail: sealing days, removing garbage."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from estafeta.store import audit
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Store, StoreError
from estafeta.store.garbage import collect_garbage
from estafeta.world.seams import Clock

INTERVAL_SECONDS = 3600.0

log = structlog.get_logger("upkeep")


class Upkeep:
    """A component of the service; the last to stop: it closes the store."""

    name = "store"

    def __init__(self, store: Store, bodies: Bodies, clock: Clock) -> None:
        self._store = store
        self._bodies = bodies
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def drain(self) -> None:
        """Nothing of it is begun by others."""

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._store.close()

    async def reload(self) -> None:
        """No setting concerns it."""

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            now = int(self._clock.now() * 1000)
            try:
                while not await self._store.run(partial(audit.seal_slice, now=now)):
                    pass
                await collect_garbage(self._store, self._bodies, now)
            except (StoreError, OSError) as error:
                log.warning("upkeep failed", error=str(error))
