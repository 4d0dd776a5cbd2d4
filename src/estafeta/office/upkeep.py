"""Upkeep: what an installation does by itself besides mail: sealing days, removing what has ended.

One worker does it for all that share the store (store/duty.py); where it dies, another takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import structlog

from estafeta.store import admissions, audit, buckets, duty, greylist, knocks
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Store, StoreError
from estafeta.store.garbage import collect_garbage
from estafeta.world.seams import Clock

INTERVAL_SECONDS = 3600.0
LOOK_SECONDS = 300.0
"""Each worker looks so often whether it is time and nobody does it."""

TERM_SECONDS = 300.0
"""Whoever does it has it for so long, and renews that while it lasts."""

DUTY = "upkeep"

_INTERVAL_MS = int(INTERVAL_SECONDS * 1000)
_TERM_MS = int(TERM_SECONDS * 1000)

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
        announced = False
        while True:
            try:
                if not announced:
                    await self._store.run(
                        partial(duty.announce, name=DUTY, now=self._now(), interval=_INTERVAL_MS)
                    )
                    announced = True
                await asyncio.sleep(LOOK_SECONDS)
                if await self._store.read(
                    partial(duty.is_due, name=DUTY, now=self._now(), interval=_INTERVAL_MS)
                ):
                    await self._take_turn()
            except (StoreError, OSError) as error:
                log.warning("upkeep failed", error=str(error))
                await asyncio.sleep(LOOK_SECONDS)
            except Exception:
                # A bug of ours must not end it for good.
                log.exception("upkeep failed")
                await asyncio.sleep(LOOK_SECONDS)

    def _now(self) -> int:
        return int(self._clock.now() * 1000)

    async def _take_turn(self) -> None:
        number = await self._store.run(
            partial(duty.take, name=DUTY, now=self._now(), interval=_INTERVAL_MS, term=_TERM_MS)
        )
        if number is None:
            return  # another was faster
        renewing = asyncio.create_task(self._renew(number))
        try:
            await self._work(self._now())
        finally:
            renewing.cancel()
        # A run that failed is not ended: it is taken up again, by anybody, after its term.
        due = self._now() + _INTERVAL_MS
        await self._store.run(partial(duty.end, name=DUTY, number=number, due=due))

    async def _renew(self, number: int) -> None:
        while True:
            await asyncio.sleep(TERM_SECONDS / 3)
            with contextlib.suppress(StoreError):
                until = self._now() + _TERM_MS
                await self._store.run(partial(duty.keep, name=DUTY, number=number, until=until))

    async def _work(self, now: int) -> None:
        while not await self._store.run(partial(audit.seal_slice, now=now)):
            pass
        for erase_old in (
            greylist.expire,
            knocks.erase_old,
            admissions.erase_old,
            buckets.forget_full,
        ):
            while not await self._store.run(partial(erase_old, now=now)):
                pass
        await collect_garbage(self._store, self._bodies, now)
