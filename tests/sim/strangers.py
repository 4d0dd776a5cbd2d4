"""Strangers: one installation, and who comes to its port 25 from anywhere in a simulated world."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from tests.support.whole import Talk

from estafeta.deliver.policy.book import write_rules
from estafeta.deliver.policy.rules import Rules
from estafeta.office.config import Config
from estafeta.office.config_rules import complete
from estafeta.sim.dns import DnsServer, serve
from estafeta.sim.installation import Domain, SimInstallation
from estafeta.sim.loop import run
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.quiet import quiet
from estafeta.sim.stream import SimStream
from estafeta.sim.world import SimMachine
from estafeta.store import accounts, knocks, policies
from estafeta.store.audit import audit_full
from estafeta.store.engine import Tx
from estafeta.world.seams import Endpoint

T = TypeVar("T")

HERE, DNS = "192.0.2.1", "192.0.2.53"
HOME = Domain("ours.example", ("ana", "eva", "postmaster"))
ANA, EVA = "ana@ours.example", "eva@ours.example"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
LETTER = b"From: bob@remote.example\r\nSubject: hello\r\n\r\nhello\r\n"

Change = Callable[[Config], Config]


@dataclass(frozen=True, slots=True)
class Visit:
    """What somebody was told. greeting: what came first. answers: to each RCPT; end: to the
    message, "" where none was sent. at: when it was over."""

    greeting: str
    answers: tuple[str, ...] = ()
    end: str = ""
    at: float = 0.0

    @property
    def answer(self) -> str:
        return self.answers[0] if self.answers else self.greeting

    @property
    def taken(self) -> int:
        """Recipients."""
        return sum(each.startswith("250") for each in self.answers)


class Home(SimInstallation):
    """change: of its settings."""

    change: Change = staticmethod(lambda config: config)

    def config(self) -> Config:
        return complete(self.change(super().config()), self.machine.root)


class Scene:
    """Times are seconds since it began."""

    def __init__(self, folder: Path, change: Change, workers: int) -> None:
        self.dice = random.Random(17)
        self.internet = Internet(self.dice)
        self.machine = SimMachine(
            "ours", [HERE], self.internet, self.dice, folder, processes=workers
        )
        self.home = Home(HOME, self.machine, [HERE], [Endpoint(DNS, 53)], self.dice)
        self.home.change = change  # type: ignore[method-assign]
        self.dns = DnsServer({"ours.example": f"@ MX 10 mx\nmx A {HERE}"})
        self._nets: dict[str, SimNet] = {}
        self._life: asyncio.Task[None] | None = None
        self.began = 0.0

    async def begin(self, rules: Mapping[str, Rules]) -> None:
        """rules: by scope."""
        await serve(SimNet(self.internet, [DNS]), Endpoint(DNS, 53), self.dns)
        self._life = asyncio.ensure_future(self.home.run())
        await self.home.serving.wait()
        for scope, said in rules.items():
            text = write_rules(said)
            await self.store(lambda tx, s=scope, t=text: policies.put(tx, s, t, "test", 0))  # type: ignore[misc]
        await asyncio.sleep(3)
        self.began = asyncio.get_running_loop().time()

    async def end(self) -> None:
        assert self._life is not None
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    # -- who comes ------------------------------------------------------------------------------

    async def connect(self, source: str) -> Talk:
        net = self._nets.get(source)
        if net is None:
            net = self._nets[source] = SimNet(self.internet, [source])
        stream = await net.connect(Endpoint(HERE, 25))
        assert isinstance(stream, SimStream)
        return Talk(stream)

    async def visit(
        self, source: str, *recipients: str, sender: str = "bob@remote.example"
    ) -> Visit:
        """One connection, one message."""
        talk = await self.connect(source)
        greeting = await talk.reply()
        if not greeting.startswith("220"):
            return Visit(greeting, at=self.now)
        await talk.say("EHLO client.example")
        mailed = await talk.say(f"MAIL FROM:<{sender}>")
        if not mailed.startswith("250"):
            return Visit(mailed, at=self.now)
        answers = []
        for each in recipients:
            answers.append(await talk.say(f"RCPT TO:<{each}>"))
            if answers[-1].startswith("421") or not answers[-1]:
                return Visit(greeting, tuple(answers), at=self.now)
        end = ""
        if any(each.startswith("250") for each in answers):
            assert (await talk.say("DATA")).startswith("354")
            talk.stream.write(LETTER)
            end = await talk.say(".")
        await talk.say("QUIT")
        return Visit(greeting, tuple(answers), end, self.now)

    async def flood(
        self,
        sources: Sequence[str],
        *recipients: str,
        within: float = 0.0,
        sender: Callable[[int], str] = lambda _: "bob@remote.example",
    ) -> list[Visit]:
        """One visit of each, all at once or spread over so many seconds."""

        async def one(n: int, source: str) -> Visit:
            await asyncio.sleep(self.dice.uniform(0, within))
            return await self.visit(source, *recipients, sender=sender(n))

        return await asyncio.gather(*(one(n, each) for n, each in enumerate(sources)))

    # -- what we know ---------------------------------------------------------------------------

    async def store(self, unit: Callable[[Tx], T]) -> T:
        assert self.home.store is not None
        result: T = await self.home.store.run(unit)
        return result

    async def count(self, table: str) -> int:
        return await self.store(lambda tx: int(tx.value(f"SELECT COUNT(*) FROM {table}")))

    async def knocks(self, address: str) -> list[knocks.Knock]:
        def unit(tx: Tx) -> list[knocks.Knock]:
            found = accounts.account(tx, address)
            assert found is not None
            return list(knocks.knocks(tx, found.id))

        return await self.store(unit)

    async def stored(self) -> int:
        """Recipients who have their message."""
        return await self.store(
            lambda tx: int(tx.value("SELECT COUNT(*) FROM recipient WHERE fate = 'stored'"))
        )

    async def balanced(self) -> None:
        assert self.home.store is not None
        assert [each async for each in audit_full(self.home.store, self.machine.disk, None)] == []


def network(n: int, address: int = 1) -> str:
    """An address of the n-th network of /24."""
    return f"10.{n // 256}.{n % 256}.{address}"


def settings(**changes: Any) -> Change:
    """By section, what is said otherwise; nobody is exempt."""

    def change(config: Config) -> Config:
        sections = {"rates": {}, **changes}
        sections["rates"] = {"exempt_networks": [], **sections["rates"]}
        made = {
            name: msgspec.structs.replace(getattr(config, name), **said)
            for name, said in sections.items()
        }
        return msgspec.structs.replace(config, **made)

    return change


def play(
    act: Callable[[Scene], Awaitable[None]],
    change: Change,
    *,
    rules: Mapping[str, Rules] | None = None,
    workers: int = 1,
) -> None:
    """Runs `act`; at the end the books must balance and nothing of ours have gone wrong."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    scenes: list[Scene] = []

    async def main() -> None:
        scene = Scene(folder, change, workers)
        scenes.append(scene)
        await scene.begin(rules or {})
        await act(scene)
        await scene.balanced()
        await scene.end()

    try:
        with quiet() as errors:
            run(main())
        assert errors.lines == []
    finally:
        for scene in scenes:
            for worker in scene.home.workers:
                if worker.store is not None:
                    worker.store.abandon()
            scene.machine.close()
        shutil.rmtree(folder, ignore_errors=True)
