"""Crash of a worker: killed under load, again and again, while the others serve.

ESTAFETA_CRASH_ROUNDS says how often; few by default. Nothing that was answered 250 is lost, nobody
has to do anything, and the books balance while it goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.crash.lasting import LastingTrial
from tests.crash.test_kill import told_seed
from tests.support.peers import postgres

ROUNDS = int(os.environ.get("ESTAFETA_CRASH_ROUNDS", "5"))
WORKERS = 2
ALL_AT_ONCE = 0.15
"""Share of the rounds in which no worker is left."""
AGAIN_SECONDS_MAX = 30.0
"""After a kill all clients together must have read a reply within this time."""


class Killing(LastingTrial):
    """As LastingTrial; who is killed are workers, and nobody starts them again."""

    def __init__(self, folder: Path, seed: int, store: str) -> None:
        super().__init__(folder, seed, kills=ROUNDS, workers=WORKERS, store=store)
        self.slowest = 0.0

    async def _round(self) -> None:
        self.begin_load()
        await self.reach_a_moment(AGAIN_SECONDS_MAX)
        living = self.server.workers
        assert living, "no worker is there"
        if self.dice.random() >= ALL_AT_ONCE:
            living = [self.dice.choice(living)]
        self.kills.append(time.monotonic())
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.read_replies(1, AGAIN_SECONDS_MAX)
        self.slowest = max(self.slowest, time.monotonic() - self.kills[-1])
        await self.audit()


@pytest.mark.timeout(90 + 20 * ROUNDS)
@pytest.mark.xdist_group("crash")
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_workers_are_killed_and_nothing_is_lost(tmp_path: Path, engine: str) -> None:
    server = postgres.required_server() if engine == "postgresql" else None
    try:
        store = server.create("estafeta") if server is not None else ""
        trial = Killing(tmp_path / "e", told_seed(), store)
        asyncio.run(trial.run())
        print(f"the slowest reply after a kill {trial.slowest:.2f} s")
    finally:
        if server is not None:
            server.stop()
