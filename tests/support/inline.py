"""inline: a store without threads, and a clock that stands until it is moved."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.support import stores
from tests.support.peers import postgres

from estafeta.store.postgres import open_postgres
from estafeta.store.sqlite import SqliteStore, open_sqlite
from estafeta.world.seams import World

T = TypeVar("T")
START = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


class HandClock:
    """Time of day that a test moves. Implements `seams.Clock`."""

    def __init__(self, start: float = START) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    @property
    def ms(self) -> int:
        return int(self.time * 1000)


def with_store(tmp_path: Path, work: Callable[[SqliteStore], Awaitable[T]]) -> T:
    """Runs `work` over a fresh store in `tmp_path`, or of the engine that is the usual one now."""

    async def main() -> T:
        clock, url = HandClock(), ""
        store: Any
        if stores.usual_engine == "postgresql":
            url = postgres.fresh_database()
            world = World(clock, random.Random(7), None, None, None)  # type: ignore[arg-type]
            store = open_postgres(url, url, world)
        else:
            store = open_sqlite(
                tmp_path / "estafeta.db", clock=clock, inline=True, commit_latency=0
            )
        try:
            return await work(store)
        finally:
            await store.close()
            if url:
                postgres.drop_database(url)

    return asyncio.run(main())
