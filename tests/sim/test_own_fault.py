"""A fault of our own, simulated: mail is held through crashes, and sent when the DNS is mended."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import pytest
from tests.support.whole import Talk

from estafeta.queue import runner
from estafeta.sim.disk import SimDisk
from estafeta.sim.dns import DnsServer, serve
from estafeta.sim.installation import Domain, SimInstallation
from estafeta.sim.loop import run
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.quiet import quiet
from estafeta.sim.world import SimMachine
from estafeta.store.audit import audit_full
from estafeta.store.ledger import entries
from estafeta.world.seams import Endpoint, Stream

HOME = Domain("correo.example", ("ana", "postmaster"))
OURS, THEIRS, DNS, CLIENT = "192.0.2.1", "203.0.113.10", "203.0.113.53", "198.51.100.7"
REVERSE = "2.0.192.in-addr.arpa"
LETTER = b"From: ana@correo.example\r\nSubject: %d\r\n\r\nhello\r\n"
CHECK = 600.0
HOUR = 3600.0


@dataclass
class Picky:
    """A server of others that takes mail only from addresses with a name (RFC 1912 §2.1)."""

    dns: DnsServer
    taken: list[bytes] = field(default_factory=list)
    tries: int = 0

    async def serve(self, stream: Stream) -> None:
        talk = _Lines(stream)
        await talk.say("220 mx.remote.example ESMTP")
        while (line := await talk.line()) is not None:
            verb = line[:4].upper()
            if verb == b"RCPT":
                self.tries += 1
                await talk.say(self._verdict(stream.peer.host))
            elif verb == b"DATA":
                await talk.say("354 go ahead")
                self.taken.append(await talk.content())
                await talk.say("250 2.0.0 taken")
            elif verb == b"QUIT":
                await talk.say("221 2.0.0 bye")
                return
            else:
                await talk.say("250 2.0.0 well")

    def _verdict(self, client: str) -> str:
        name = ".".join(reversed(client.split("."))) + ".in-addr.arpa"
        answer = self.dns.answer(dns.message.make_query(name, "PTR").to_wire())
        if answer is not None and dns.message.from_wire(answer).answer:
            return "250 2.1.5 well"
        return f"550 5.7.25 Client host rejected: cannot find your reverse hostname, [{client}]"


class _Lines:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = b""

    async def say(self, text: str) -> None:
        self._stream.write(text.encode() + b"\r\n")
        await self._stream.drain()

    async def line(self) -> bytes | None:
        while b"\r\n" not in self._data:
            more = await self._stream.read()
            if not more:
                return None
            self._data += more
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    async def content(self) -> bytes:
        lines = []
        while (line := await self.line()) not in (b".", None):
            lines.append(line or b"")
        return b"\r\n".join(lines)


@dataclass
class Town:
    dns: DnsServer
    picky: Picky
    home: SimInstallation
    net: SimNet

    async def write(self, *numbers: int) -> None:
        for number in numbers:
            talk = Talk(await self.net.connect(Endpoint(OURS, 587)))  # type: ignore[arg-type]
            await talk.begin(login="ana@correo.example")
            to = f"bob{number}@remote.example"
            answer = await talk.hand("ana@correo.example", [to], LETTER % number)
            assert answer.startswith("250"), answer

    async def fates(self) -> list[str]:
        """Of what Ana wrote, in order."""
        store = self.home.store
        assert store is not None
        return await store.read(
            lambda tx: [
                "open" if each.fate is None else type(each.fate).__name__.lower()
                for (id,) in tx.rows(
                    "SELECT id FROM acceptance WHERE origin = 'submission' ORDER BY id"
                )
                for each in entries(tx, id)
            ]
        )

    async def told(self) -> int:
        """Messages to the postmaster about faults."""
        store = self.home.store
        assert store is not None
        count = "SELECT count(*) FROM acceptance WHERE origin = 'fault'"
        return await store.read(lambda tx: int(tx.value(count)))

    async def balanced(self) -> None:
        store = self.home.store
        assert store is not None
        disk: SimDisk = self.home.machine.disk
        assert [each async for each in audit_full(store, disk)] == []

    def mend(self) -> None:
        self.dns.set_zone(REVERSE, "1 PTR mx.correo.example.")


def play(work: Callable[[Town], Awaitable[None]], *, workers: int = 1) -> None:
    async def main(folder: Path) -> None:
        dice = random.Random(5)
        internet = Internet(dice)
        dns_server = DnsServer(
            {
                "correo.example": f"@ MX 10 mx\nmx A {OURS}",
                "remote.example": f"@ MX 10 mx\nmx A {THEIRS}",
                REVERSE: "9 PTR other.example.",
            }
        )
        await serve(SimNet(internet, [DNS]), Endpoint(DNS, 53), dns_server)
        picky = Picky(dns_server)
        await SimNet(internet, [THEIRS]).listen(Endpoint(THEIRS, 25), picky.serve)
        machine = SimMachine("correo", [OURS], internet, dice, folder, processes=workers)
        home = SimInstallation(HOME, machine, [OURS], [Endpoint(DNS, 53)], dice)
        life = asyncio.ensure_future(home.run())
        await home.serving.wait()
        try:
            await work(Town(dns_server, picky, home, SimNet(internet, [CLIENT])))
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            for worker in home.workers:
                if worker.store is not None:
                    worker.store.abandon()
            machine.close()

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        with quiet() as logged:
            run(main(Path(folder)))
        assert not logged.lines, logged.lines


@pytest.mark.parametrize("workers", [1, 2])
def test_the_dns_is_mended_and_the_mail_arrives(workers: int) -> None:
    async def work(town: Town) -> None:
        await town.write(1, 2, 3)
        await asyncio.sleep(2 * HOUR)
        assert await town.fates() == ["open"] * 3
        assert town.picky.tries == 3  # a permanent refusal is not asked about again
        assert await town.told() == 1
        town.mend()
        await asyncio.sleep(2 * CHECK)
        assert await town.fates() == ["relayed"] * 3
        assert town.picky.tries == 6
        assert len(town.picky.taken) == 3
        assert await town.told() == 1
        await town.balanced()

    play(work, workers=workers)


@pytest.mark.parametrize("death", ["crash", "power"])
def test_what_is_held_outlives_deaths(death: str) -> None:
    async def work(town: Town) -> None:
        machine = town.home.machine
        for number in range(1, 5):
            await town.write(number)
            # At once, while it is checked, and while it is told.
            await asyncio.sleep((0.0, 0.3, 30.05, 700.0)[number - 1])
            town.home.serving.clear()
            machine.crash() if death == "crash" else machine.power_loss()
            await asyncio.sleep(1)
            machine.restart()
            await town.home.serving.wait()
        await asyncio.sleep(CHECK)
        assert await town.fates() == ["open"] * 4
        assert await town.told() == 1
        tries = town.picky.tries
        town.mend()
        await asyncio.sleep(0.7 * CHECK)
        machine.crash()  # while they are released, perhaps
        await asyncio.sleep(1)
        machine.restart()
        await asyncio.sleep(2 * CHECK)
        assert await town.fates() == ["relayed"] * 4
        assert town.picky.tries - tries in range(4, 9)
        await town.balanced()

    play(work)


def test_what_is_not_mended_comes_back_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # The queue's net under lost hints: none are lost here, and two days are 35,000 of its looks.
    monkeypatch.setattr(runner, "POLL_SECONDS", 60.0)

    async def work(town: Town) -> None:
        await town.write(1)
        await asyncio.sleep(48 * HOUR - 60)
        assert await town.fates() == ["open"]
        await asyncio.sleep(120)
        assert await town.fates() == ["returned"]
        assert town.picky.tries == 1
        await town.balanced()

    play(work)
