"""Crash: the real program under load, killed 50 times; nothing it answered 250 for is lost."""

from __future__ import annotations

import asyncio
import imaplib
import json
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from tests.crash.load import LARGE, Client
from tests.crash.sink import Sink, Taken, read_mark, text_digest
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.process import DidNotHappen

KILLS = 50
STEPS_MAX = 800
"""Replies that all clients together read before a kill, at most."""
WHILE_STARTING = 0.1
"""Share of the kills that fall before the server says that it is ready."""
AUDIT_EVERY = 10
"""Kills between two full audits, taken while the load goes on."""
ON_ITS_WAY_SECONDS = 0.5
"""So long the sink may take to read what a killed server had sent."""
AT_ONCE = 20
"""Deliveries to one domain at once (a default): no more replies can be lost with one kill."""
DRAIN_SECONDS = 60.0

DOMAIN = "estafeta.example"
LOCAL = [f"{name}@{DOMAIN}" for name in ("ana", "luis", "eva")]
REMOTE = [f"user{n}@sink.example" for n in range(5)]


class Trial:
    """One installation, its clients, its sink, and the one who kills it. store: URL, "" for a file.
    patient, large: see Client."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        kills: int = KILLS,
        store: str = "",
        workers: int = 1,
        patient: bool = False,
        large: float = LARGE,
    ) -> None:
        self._wanted = kills
        self._patient = patient
        self._large = large
        self.settings = {
            "server": [f'store = "{store}"', f"workers = {workers}"],
            "log": ['level = "warning"'],
            "smtp": ['plaintext_auth_networks = ["127.0.0.0/8"]'],
            "queue": ['retry = ["1s"]', 'repeat = "1s"', 'give_up_after = "1d"'],
        }
        self.dice = random.Random(seed)
        self.sink = Sink(random.Random(seed + 1))
        self.folder = folder
        self.kills: list[float] = []
        self.stopping = asyncio.Event()
        self._steps = 0
        self._kill_at = 0
        self._reached = asyncio.Event()

    async def run(self) -> None:
        await self.sink.start()
        self.server = Estafeta(
            self.folder,
            accounts=LOCAL,
            routes={"sink.example": ("127.0.0.1", self.sink.port)},
            settings=self.settings,
        )
        self.clients = self._clients()
        try:
            await asyncio.to_thread(self.server.start)
            while len(self.kills) < self._wanted:
                await self._round()
            await self._finish()
            await asyncio.to_thread(judge_mailboxes, self)
            judge_sink(self)
            print(summary(self))
            assert not [s for client in self.clients for s in client.strange]
            assert await asyncio.to_thread(self.server.stop) == 0
        finally:
            await self.sink.close()
            if self.server.running:
                self.server.stop(signal.SIGKILL)

    def _clients(self) -> list[Client]:
        mx, submission = self.server.ports["mx"], self.server.ports["submission"]
        made = [
            Client(
                f"mx{n}",
                mx,
                random.Random(self.dice.random()),
                LOCAL,
                "x@y.example",
                self._step,
                patient=self._patient,
                large=self._large,
            )
            for n in range(3)
        ]
        for n, address in enumerate(LOCAL):
            made.append(
                Client(
                    f"sub{n}",
                    submission,
                    random.Random(self.dice.random()),
                    [*REMOTE, *LOCAL],
                    address,
                    self._step,
                    PASSWORD,
                    self._patient,
                    self._large,
                )
            )
        return made

    def _step(self) -> None:
        """A reply was read somewhere."""
        self._steps += 1
        if self._steps == self._kill_at:
            self._reached.set()

    async def _round(self) -> None:
        """Load until a random step, kill, start again."""
        self._steps, self._kill_at = 0, self.dice.randrange(1, STEPS_MAX)
        self._reached.clear()
        load = [asyncio.create_task(c.run(self.stopping)) for c in self.clients]
        async with asyncio.timeout(30):
            await self._reached.wait()
        await asyncio.sleep(self.dice.uniform(0, 0.004))  # not always right after a reply
        await asyncio.to_thread(self._kill)
        await asyncio.gather(*load)
        while len(self.kills) < self._wanted and self.dice.random() < WHILE_STARTING:
            await self._kill_while_starting()
        await asyncio.to_thread(self.server.start)
        if len(self.kills) % AUDIT_EVERY == 0:
            await self.audit()

    async def _kill_while_starting(self) -> None:
        starting = asyncio.create_task(asyncio.to_thread(self.server.start))
        await asyncio.wait([starting], timeout=self.dice.uniform(0.3, 1.0))
        self.kills.append(time.monotonic())
        os.kill(self.server.session, signal.SIGKILL)
        with suppress(DidNotHappen):
            await starting
            self.server.stop(signal.SIGKILL)

    def _kill(self) -> None:
        self.kills.append(time.monotonic())
        self.server.stop(signal.SIGKILL)

    async def _finish(self) -> None:
        """Everything gets its answer, everything accepted its place."""
        self.stopping.set()
        self.sink.faults = False
        async with asyncio.timeout(30):
            await asyncio.gather(*(c.run(self.stopping) for c in self.clients))
        wanted = {
            (letter.mark, recipient)
            for client in self.clients
            for letter in client.letters
            for recipient in letter.recipients
            if recipient in REMOTE
        }
        await self.sink.wait_for(wanted, DRAIN_SECONDS)
        async with asyncio.timeout(DRAIN_SECONDS):
            while json.loads(await self.command("queue", "list", "--json")):
                continue
        await self.audit()

    async def audit(self) -> None:
        """Raises DidNotHappen with the findings."""
        await self.command("audit", "--full")

    async def command(self, *words: str) -> str:
        return await asyncio.to_thread(self.server.command, *words)


def in_mailbox(client: imaplib.IMAP4) -> Iterator[tuple[str, bytes]]:
    """(mark, digest of the text) of every message in INBOX."""
    count = int(client.select("INBOX", readonly=True)[1][0] or b"0")
    for first in range(1, count + 1, 500):
        _, parts = client.fetch(f"{first}:{min(first + 499, count)}", "(BODY.PEEK[])")
        for part in parts:
            if isinstance(part, tuple):
                yield read_mark(part[1]), text_digest(part[1])


def killed_between(first: Taken, second: Taken, kills: list[float]) -> float | None:
    """The kill that lost the reply to `first`.

    It may lie just before it, with the message already on its way when the server died.
    """
    found = (kill for kill in kills if first.at - ON_ITS_WAY_SECONDS <= kill <= second.at)
    return next(found, None)


def judge_mailboxes(trial: Trial) -> None:
    """Each acknowledged copy is there, whole; more than one only where a reply was lost."""
    letters = {letter.mark: letter for client in trial.clients for letter in client.letters}
    for address in LOCAL:
        reader = trial.server.imap(address)
        found = list(in_mailbox(reader))
        reader.logout()
        copies = Counter(mark for mark, _ in found)
        for mark, digest in found:
            assert digest == letters[mark].digest, f"{mark} was changed in {address}"
        for mark, letter in letters.items():
            if address not in letter.recipients:
                assert not copies[mark], f"{mark} is not for {address}"
                continue
            assert copies[mark] or not letter.answer, f"{mark} is lost to {address}"
            # What submission took before a crash is recognised when it comes again.
            again = 0 if mark.startswith("sub") else letter.unanswered
            assert copies[mark] <= 1 + again, f"{address} has {copies[mark]} copies of {mark}"


def judge_sink(trial: Trial) -> None:
    """As for mailboxes; here a reply is lost where it was withheld, or the server was killed."""
    lost: defaultdict[float, set[str]] = defaultdict(set)
    for client in trial.clients:
        for letter in client.letters:
            for recipient in set(letter.recipients) & set(REMOTE):
                taken = trial.sink.taken[letter.mark, recipient]
                assert taken or not letter.answer, f"{letter.mark} is lost to {recipient}"
                assert all(one.digest == letter.digest for one in taken)
                for first, second in pairwise(taken):
                    if first.told:
                        kill = killed_between(first, second, trial.kills)
                        assert kill is not None, f"{letter.mark} came again: {taken}"
                        lost[kill].add(letter.mark)
    most = max(map(len, lost.values()), default=0)
    assert most <= AT_ONCE, f"{most} messages came again after one kill"


def told_seed() -> int:
    """ESTAFETA_SEED, or one of the dice; printed, so that the run can be had again."""
    seed = int(os.environ.get("ESTAFETA_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"ESTAFETA_SEED={seed}")
    return seed


def summary(trial: Trial) -> str:
    letters = [letter for client in trial.clients for letter in client.letters]
    again = sum(len(taken) - 1 for taken in trial.sink.taken.values() if taken)
    return (
        f"{len(trial.kills)} kills, {len(letters)} messages, "
        f"{sum(letter.unanswered for letter in letters)} unanswered, "
        f"{sum(len(t) for t in trial.sink.taken.values())} relayed, {again} of them again, "
        f"sink {dict(trial.sink.counts)}"
    )


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("crash")
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "e", told_seed())
    asyncio.run(trial.run())
