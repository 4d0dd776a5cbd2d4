"""Crash of the database: PostgreSQL killed under load, again and again, while estafeta goes on.

ESTAFETA_CRASH_ROUNDS says how often; few by default. Nothing that was answered 250 is lost; while
the database is away clients are told to come again, and as soon as it is back, so is estafeta.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from tests.crash.lasting import LastingTrial
from tests.crash.test_kill import told_seed
from tests.support.peers import postgres

from estafeta.sim.postgres import PostgresServer

KILLS = int(os.environ.get("ESTAFETA_CRASH_ROUNDS", "3"))
AWAY_SECONDS_MAX = 0.6
BACK_SECONDS = 30.0
"""After the database is back, a client must be served within this time."""


class Killing(LastingTrial):
    """As LastingTrial; who is killed is the database."""

    def __init__(self, folder: Path, seed: int, server: PostgresServer) -> None:
        url = server.create("estafeta")
        super().__init__(folder, seed, kills=KILLS, store=url, patient=True)
        self.database = server
        self.back: list[float] = []

    async def _round(self) -> None:
        self.begin_load()
        began = time.monotonic()
        await self.reach_a_moment(BACK_SECONDS)
        self.back.append(time.monotonic() - began)
        self.kills.append(time.monotonic())
        await asyncio.to_thread(self.database.kill9)
        await asyncio.sleep(self.dice.uniform(0, AWAY_SECONDS_MAX))
        await asyncio.to_thread(self.database.start)
        # A message on its way when the database died may come again until it is back.
        self.kills.append(time.monotonic())
        self._wanted += 1
        await self.audit()


@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.xdist_group("crash")
def test_the_database_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    server = postgres.required_server()
    try:
        trial = Killing(tmp_path / "e", told_seed(), server)
        asyncio.run(trial.run())
        refused = sum(client.refused for client in trial.clients)
        assert refused, "nobody noticed"
        print(f"{refused} told to come again; slowest back {max(trial.back):.1f} s")
    finally:
        server.stop()
