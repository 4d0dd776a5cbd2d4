"""Crash of a node: two services on one PostgreSQL, one killed under load, the other goes on.

ESTAFETA_CRASH_ROUNDS says how often; few by default. Nothing that was answered 250 is lost, clients
of the other node notice nothing, and what the dead one had in hand passes on when it is back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from tests.crash.lasting import LastingTrial
from tests.crash.load import Client
from tests.crash.test_kill import told_seed
from tests.support.live import Estafeta
from tests.support.peers import postgres

ROUNDS = int(os.environ.get("ESTAFETA_CRASH_ROUNDS", "4"))
ON_SECONDS = 30.0
"""Within this time clients read so many replies, whoever is down."""
REPLIES_WHILE_ONE_IS_DOWN = 100


class Killing(LastingTrial):
    """As LastingTrial, on two nodes in turn."""

    def __init__(self, folder: Path, seed: int, store: str) -> None:
        # Large messages would be files of one node, which the other could not read.
        super().__init__(folder / "one", seed, kills=ROUNDS, store=store, large=0.0)
        self._other_folder = folder / "other"

    def _clients(self) -> list[Client]:
        self.other = Estafeta(
            self._other_folder,
            routes={"sink.example": ("127.0.0.1", self.sink.port)},
            settings=self.settings,
        )
        made = super()._clients()
        there = {self.server.ports[role]: self.other.ports[role] for role in ("mx", "submission")}
        for client in made[::2]:
            client.port = there[client.port]
        return made

    async def _round(self) -> None:
        if not self.kills:
            await asyncio.to_thread(self.other.start)
        self.begin_load()
        await self.reach_a_moment(ON_SECONDS)
        node = self.dice.choice((self.server, self.other))
        self.kills.append(time.monotonic())
        await asyncio.to_thread(node.stop, signal.SIGKILL)
        await self.read_replies(REPLIES_WHILE_ONE_IS_DOWN, ON_SECONDS)
        await asyncio.to_thread(node.start)
        await self.audit()

    async def run(self) -> None:
        try:
            await super().run()
            assert await asyncio.to_thread(self.other.stop) == 0
        finally:
            if self.other.running:
                self.other.stop(signal.SIGKILL)


@pytest.mark.timeout(120 + 20 * ROUNDS)
@pytest.mark.xdist_group("crash")
def test_a_node_is_killed_and_the_other_goes_on(tmp_path: Path) -> None:
    server = postgres.required_server()
    try:
        trial = Killing(tmp_path, told_seed(), server.create("estafeta"))
        asyncio.run(trial.run())
    finally:
        server.stop()
