"""inline: a store without threads, and a clock that stands until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from estafeta.store.sqlite import SqliteStore, open_sqlite

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
    """Runs `work` over a fresh store in `tmp_path`."""

    async def main() -> T:
        store = open_sqlite(
            tmp_path / "estafeta.db", clock=HandClock(), inline=True, commit_latency=0
        )
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())
