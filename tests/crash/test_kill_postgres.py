"""Crash of the database: PostgreSQL killed under load, again and again, while estafeta goes on.

ESTAFETA_POSTGRES_KILLS says how often; few by default. Nothing that was answered 250 is lost; while
the database is away clients are told to come again, and as soon as it is back, so is estafeta.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.crash.load import Client
from tests.crash.test_kill import STEPS_MAX, Trial, summary
from tests.support.peers import postgres
from tests.support.smtp_raw import Gone

from estafeta.sim.postgres import PostgresServer

KILLS = int(os.environ.get("ESTAFETA_POSTGRES_KILLS", "3"))
AWAY_SECONDS_MAX = 0.6
BACK_SECONDS = 30.0
"""After the database is back, a client must be served within this time."""
AUDIT_EVERY = 25
PAUSE_SECONDS = 0.02
"""Of a client that was told to come again."""


class Killing(Trial):
    """As Trial; who is killed is the database."""

    def __init__(self, folder: Path, seed: int, server: PostgresServer) -> None:
        url = server.create("estafeta")
        super().__init__(folder, seed, kills=KILLS, store=url, patient=True)
        self.database = server
        self.back: list[float] = []
        self._load: list[asyncio.Task[None]] = []

    async def _round(self) -> None:
        if not self._load:
            self._load = [asyncio.create_task(self._drive(client)) for client in self.clients]
        self._steps, self._kill_at = 0, self.dice.randrange(1, STEPS_MAX)
        self._reached.clear()
        began = time.monotonic()
        async with asyncio.timeout(BACK_SECONDS):
            await self._reached.wait()
        self.back.append(time.monotonic() - began)
        await asyncio.sleep(self.dice.uniform(0, 0.004))  # not always right after a reply
        self.kills.append(time.monotonic())
        await asyncio.to_thread(self.database.kill9)
        await asyncio.sleep(self.dice.uniform(0, AWAY_SECONDS_MAX))
        await asyncio.to_thread(self.database.restart)
        # A message on its way when the database died may come again until it is back.
        self.kills.append(time.monotonic())
        self._wanted += 1
        if len(self.kills) // 2 % AUDIT_EVERY == 0:
            await self.audit()

    async def _drive(self, client: Client) -> None:
        """Comes again and again, as a real client does."""
        while not self.stopping.is_set():
            with suppress(Gone, OSError):
                await client.run(self.stopping)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _finish(self) -> None:
        self.stopping.set()
        await asyncio.gather(*self._load)
        await super()._finish()


@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.xdist_group("crash")
def test_the_database_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("ESTAFETA_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"ESTAFETA_SEED={seed}")
    server = postgres.required_server()
    try:
        trial = Killing(tmp_path / "e", seed, server)
        asyncio.run(trial.run())
        refused = sum(client.refused for client in trial.clients)
        assert refused, "nobody noticed"
        print(
            f"{summary(trial)}; {refused} told to come again; slowest back {max(trial.back):.1f} s"
        )
    finally:
        server.stop()
