"""Crash with large bodies in a bucket: the program is killed under load, and so is the bucket now
and then; nothing it answered 250 for is lost."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

from tests.crash.load import LARGE_OCTETS, Client
from tests.crash.test_kill import LOCAL, in_mailbox, told_seed
from tests.support.live import PASSWORD, Estafeta
from tests.support.s3 import S3Server, s3_server

KILLS = 6
STEPS_MAX = 150


class Trial:
    def __init__(self, folder: Path, server: S3Server, seed: int) -> None:
        self.dice = random.Random(seed)
        self.bucket = server
        self.house = Estafeta(
            folder,
            accounts=LOCAL,
            settings={**server.settings(), "log": ['level = "warning"']},
        )
        self.stopping = asyncio.Event()
        self._reached = asyncio.Event()
        self._left = 0
        ports = self.house.ports
        self.clients = [self._client(f"mx{n}", ports["mx"], "x@y.example", "") for n in range(3)]
        self.clients.append(self._client("sub", ports["submission"], LOCAL[0], PASSWORD))

    def _client(self, name: str, port: int, sender: str, password: str) -> Client:
        dice = random.Random(self.dice.random())
        return Client(name, port, dice, LOCAL, sender, self._step, password, large=0.4)

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._reached.set()

    async def run(self) -> None:
        await asyncio.to_thread(self.house.start)
        for n in range(KILLS):
            self._left = self.dice.randrange(20, STEPS_MAX)
            self._reached.clear()
            loads = [asyncio.create_task(each.run(self.stopping)) for each in self.clients]
            async with asyncio.timeout(60):
                await self._reached.wait()
            await asyncio.sleep(self.dice.uniform(0, 0.03))
            away = n % 3 == 2
            if away:
                await asyncio.to_thread(self.bucket.stop)
                await asyncio.sleep(self.dice.uniform(0, 0.3))
            await asyncio.to_thread(self.house.stop, signal.SIGKILL)
            await asyncio.gather(*loads)
            if away:
                await asyncio.to_thread(self.bucket.start)
            await asyncio.to_thread(self.house.start)
        self.stopping.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*(each.run(self.stopping) for each in self.clients))
        await asyncio.to_thread(self.house.command, "audit", "--full")
        await asyncio.to_thread(self.judge)
        assert await asyncio.to_thread(self.house.stop) == 0

    def judge(self) -> None:
        letters = {letter.mark: letter for each in self.clients for letter in each.letters}
        large = [x for x in letters.values() if len(x.data) > LARGE_OCTETS]
        assert len(large) >= KILLS
        for address in LOCAL:
            reader = self.house.imap(address)
            found = list(in_mailbox(reader))
            reader.logout()
            for mark, digest in found:
                assert digest == letters[mark].digest, f"{mark} was changed in {address}"
            there = {mark for mark, _ in found}
            for mark, letter in letters.items():
                if letter.answer and address in letter.recipients:
                    assert mark in there, f"{mark} is lost to {address}"


def test_killed_under_load(tmp_path: Path) -> None:
    with s3_server() as server:
        trial = Trial(tmp_path, server, told_seed())
        try:
            asyncio.run(trial.run())
        finally:
            if trial.house.running:
                trial.house.stop(signal.SIGKILL)
