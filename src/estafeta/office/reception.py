"""Reception: what decides how much may come in, as one component: the load of this process and the
buckets that all share."""

from __future__ import annotations

from estafeta.intake.load import Load
from estafeta.store.buckets import Buckets


class Reception:
    """Starts after the store, before the listeners; stops after them."""

    name = "reception"

    def __init__(self, load: Load, buckets: Buckets) -> None:
        self._load = load
        self._buckets = buckets

    async def start(self) -> None:
        await self._load.start()
        await self._buckets.start()

    async def drain(self) -> None:
        """It is needed to the last."""

    async def stop(self) -> None:
        await self._buckets.stop()
        await self._load.stop()

    async def reload(self) -> None:
        """Its settings come through `Installation.reconfigure`."""
