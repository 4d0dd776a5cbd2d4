"""Days: one installation, servers of others as they are told, days of virtual time in seconds."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from estafeta.intake.prepared import Incoming
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.office.config import Config
from estafeta.office.config import Queue as QueueSetting
from estafeta.office.config_rules import complete
from estafeta.queue import runner
from estafeta.sim.dns import DnsServer, serve
from estafeta.sim.installation import Domain, SimInstallation
from estafeta.sim.loop import run
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.peers import Manner, Mood, Peer
from estafeta.sim.quiet import quiet
from estafeta.sim.world import SimMachine
from estafeta.store.audit import audit_full
from estafeta.store.engine import Tx
from estafeta.store.ledger import ALL_RECIPIENTS
from estafeta.world.seams import Endpoint, Stream

HERE, DNS, MX, OTHER_MX = "198.51.100.1", "192.0.2.53", "192.0.2.10", "192.0.2.11"
OURS = Domain("ours.example", ("ana", "postmaster"))
MESSAGE = b"Subject: one\r\nMessage-ID: <one@ours.example>\r\n\r\nhello\r\n"
POLL_SECONDS = 120.0  # the queue's net under lost hints: none are lost here
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Watched(Peer):
    """A peer that notes when it was connected to."""

    def __init__(self, *rest: Any) -> None:
        super().__init__(*rest)
        self.times: list[float] = []
        self.open_now = self.open_most = 0

    async def _talk(self, stream: Stream) -> None:
        self.times.append(asyncio.get_running_loop().time())
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            await super()._talk(stream)
        finally:
            self.open_now -= 1

    def be(self, *moods: Mood) -> None:
        self.manner = Manner(moods)


class Ours(SimInstallation):
    """With the settings that the program has where nobody says otherwise, but for the queue's."""

    queue_settings: QueueSetting = QueueSetting()

    def config(self) -> Config:
        usual = super().config()
        made = msgspec.structs.replace(usual, queue=self.queue_settings)
        return msgspec.structs.replace(usual, queue=complete(made, self.machine.root).queue)


class Days:
    """The scene. Times are seconds since it began."""

    def __init__(self, folder: Path, settings: QueueSetting, workers: int) -> None:
        self.dice = random.Random(11)
        self.internet = Internet(self.dice)
        self.machine = SimMachine(
            "ours", [HERE], self.internet, self.dice, folder, processes=workers
        )
        self.ours = Ours(OURS, self.machine, [HERE], [Endpoint(DNS, 53)], self.dice)
        self.ours.queue_settings = settings
        self.dns = DnsServer({"ours.example": f"@ MX 10 mx\nmx A {HERE}"})
        self.tasks: list[asyncio.Task[None]] = []
        self.began = 0.0

    async def begin(self) -> None:
        await serve(SimNet(self.internet, [DNS]), Endpoint(DNS, 53), self.dns)
        self.tasks.append(asyncio.ensure_future(self.ours.run()))
        await self.ours.serving.wait()
        await asyncio.sleep(1)
        self.began = asyncio.get_running_loop().time()

    async def peer(self, *moods: Mood, at: str = MX, name: str = "b.example") -> Watched:
        """The host of `name`."""
        net = SimNet(self.internet, [at])
        found = Watched(name, net, Manner(moods or ("well",)), self.dice)
        await found.open()
        self.domain(name, at)
        return found

    def domain(self, name: str, at: str = MX, mx: str = "") -> None:
        """mx: the host's name, where it is another domain's."""
        records = f"@ MX 10 {mx}" if mx else f"@ MX 10 mx\nmx A {at}"
        self.dns.set_zone(name, records)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    async def send(
        self, *recipients: str, worker: int = 0, sender: str = "ana@ours.example"
    ) -> int:
        """As a session would, after the end of DATA."""
        at = self.ours.workers[worker]
        found = at.installation
        assert found is not None
        known = tuple(Recipient(each) for each in recipients)

        async def accept() -> int:
            look_up = found._directory
            incoming = Incoming(
                id=found.ids.next(),
                origin="submission",
                envelope=Envelope(sender, known),
                targets=await found.store.read(
                    lambda tx: tuple(look_up(tx, each.address) for each in known)
                ),
                body=await found.bodies.from_bytes(MESSAGE),
                message_id="<one@ours.example>",
            )
            await found.acceptor.accept(incoming)
            return incoming.id

        return await asyncio.create_task(accept(), context=at._context.copy())

    async def read(self, unit: Callable[[Tx], Any]) -> Any:
        assert self.ours.store is not None
        return await self.ours.store.read(unit)

    async def rows(self) -> int:
        return int(await self.read(lambda tx: tx.value("SELECT COUNT(*) FROM queue")))

    async def attempts(self, acceptance: int) -> list[float]:
        """When a message was attempted."""
        found = await self.read(
            lambda tx: tx.rows(
                "SELECT at FROM event WHERE acceptance = ? AND kind = 'attempt' AND n = ? "
                "ORDER BY at",
                (acceptance, ALL_RECIPIENTS),
            )
        )
        accepted = await self.read(
            lambda tx: tx.value("SELECT at FROM acceptance WHERE id = ?", (acceptance,))
        )
        return [(at - accepted) / 1000 for (at,) in found]

    async def fate(self, acceptance: int) -> tuple[str, float]:
        """Of its first recipient, and how many seconds after acceptance."""
        row = await self.read(
            lambda tx: tx.row(
                "SELECT fate, ended - at FROM recipient JOIN acceptance ON id = acceptance "
                "WHERE acceptance = ? AND n = 0",
                (acceptance,),
            )
        )
        return (row[0] or "open", (row[1] or 0) / 1000)

    async def fates(self) -> dict[str, int]:
        """Of submitted messages."""
        found = await self.read(
            lambda tx: tx.rows(
                "SELECT COALESCE(fate, 'open'), COUNT(*) FROM recipient "
                "JOIN acceptance ON id = acceptance WHERE origin = 'submission' GROUP BY 1"
            )
        )
        return dict(found)

    async def children(self, ids: Sequence[int]) -> list[list[tuple[str, float]]]:
        """What we wrote about each of these, and how many seconds after its acceptance."""

        def unit(tx: Tx) -> list[list[tuple[str, float]]]:
            return [
                [
                    (origin, after / 1000)
                    for origin, after in tx.rows(
                        "SELECT child.origin, child.at - acceptance.at FROM acceptance"
                        " JOIN acceptance child ON child.parent = acceptance.id"
                        " WHERE acceptance.id = ? ORDER BY child.at",
                        (id,),
                    )
                ]
                for id in ids
            ]

        found: list[list[tuple[str, float]]] = await self.read(unit)
        return found

    async def balanced(self) -> None:
        assert self.ours.store is not None
        audit = audit_full(self.ours.store, self.machine.disk, None)
        assert [each async for each in audit] == []

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def play(
    act: Callable[[Days], Awaitable[None]],
    settings: QueueSetting | None = None,
    *,
    workers: int = 1,
    logged: Sequence[str] = (),
) -> None:
    """Runs `act`; at the end the books must balance and nothing of ours have gone wrong."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(runner, "POLL_SECONDS", POLL_SECONDS)
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    scene: list[Days] = []

    async def main() -> None:
        days = Days(folder, settings or QueueSetting(), workers)
        scene.append(days)
        await days.begin()
        await act(days)
        await days.balanced()
        await days.end()

    try:
        with quiet() as errors:
            run(main())
        assert [text for _, _, text in errors.lines] == list(logged)
    finally:
        monkeypatch.undo()
        for days in scene:
            for worker in days.ours.workers:
                if worker.store is not None:
                    worker.store.abandon()
            days.machine.close()
        shutil.rmtree(folder, ignore_errors=True)


__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "MX",
    "OTHER_MX",
    "Days",
    "Watched",
    "play",
]
