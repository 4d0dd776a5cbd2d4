"""Sender: the queue's runner with the relay and the resolver under it, and the teller of delays, as
one component."""

from __future__ import annotations

import asyncio

from estafeta.queue.delays import Delays
from estafeta.queue.runner import Queue
from estafeta.relay import Relay
from estafeta.resolve import Resolver


class Sender:
    """Starts after the store, before the listeners; stops after them."""

    name = "queue"

    def __init__(self, queue: Queue, relay: Relay, resolver: Resolver, delays: Delays) -> None:
        self._queue = queue
        self._relay = relay
        self._resolver = resolver
        self._delays = delays
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._queue.run(), name="queue")
        self._telling = asyncio.create_task(self._delays.run(), name="delays")

    async def drain(self) -> None:
        self._queue.drain()
        if self._telling is not None:
            self._telling.cancel()  # a unit that has begun ends by itself

    async def stop(self) -> None:
        """Returns when the attempts under way have ended; cancelled, it cuts them."""
        try:
            await self._queue.stop()
        finally:
            await self._relay.close()
            await self._resolver.close()
            if self._task is not None:
                await asyncio.wait([self._task])

    async def reload(self) -> None:
        """Its settings come through `Installation.reconfigure`."""
