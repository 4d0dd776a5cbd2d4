"""Machines: what a crash ends, what a power loss loses, what the next life finds."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import apsw
import pytest

from estafeta.sim.loop import run
from estafeta.sim.net import Internet
from estafeta.sim.world import EPOCH, SimMachine
from estafeta.world.seams import Endpoint, Stream


def machines(folder: Path, seed: int = 1) -> tuple[Internet, SimMachine, SimMachine]:
    internet = Internet(random.Random(seed))
    one = SimMachine("one", ["192.0.2.1"], internet, random.Random(seed + 1), folder)
    two = SimMachine("two", ["192.0.2.2"], internet, random.Random(seed + 2), folder)
    return internet, one, two


async def line(stream: Stream) -> bytes:
    got = b""
    while not got.endswith(b"\n"):
        data = await stream.read()
        assert data
        got += data
    return got


class Service:
    """Counts lines in a database and answers each after its commit."""

    def __init__(self, machine: SimMachine) -> None:
        self.machine = machine
        self.cleaned: list[str] = []

    async def serve(self) -> None:
        world, root = self.machine.world, self.machine.root
        database = apsw.Connection(str(root / "store.db"))
        database.pragma("journal_mode", "wal")
        database.pragma("synchronous", "FULL")
        database.execute("CREATE TABLE IF NOT EXISTS line(text TEXT)")

        async def handler(stream: Stream) -> None:
            try:
                while data := await stream.read():
                    database.execute("INSERT INTO line VALUES(?)", (data.decode(),))
                    stream.write(b"250 OK\r\n")
            finally:
                self.cleaned.append("handler")
                try:
                    database.execute("DELETE FROM line")  # nothing of a dead machine's takes effect
                    self.cleaned.append("deleted")
                except apsw.Error:
                    pass
                stream.write(b"421 dying words\r\n")

        await world.net.listen(Endpoint("192.0.2.2", 25), handler)
        await asyncio.Event().wait()

    def lines(self) -> int:
        database = apsw.Connection(str(self.machine.root / "store.db"))
        count = next(database.execute("SELECT count(*) FROM line"))[0]
        database.close()
        return int(count)


@pytest.mark.parametrize("power", [False, True])
def test_a_death_ends_everything_at_once(tmp_path: Path, power: bool) -> None:
    async def main() -> None:
        _, one, two = machines(tmp_path)
        service = Service(two)
        two.start(service.serve())
        await asyncio.sleep(1)
        stream = await one.net.connect(Endpoint("192.0.2.2", 25))
        stream.write(b"a")
        assert await line(stream) == b"250 OK\r\n"
        if power:
            two.power_loss()
        else:
            two.crash()
        assert not two.up
        with pytest.raises(TimeoutError if power else ConnectionError):
            async with asyncio.timeout(60):
                assert not await stream.read(), "dying words were heard"
        with pytest.raises(TimeoutError if power else ConnectionRefusedError):
            async with asyncio.timeout(60):
                await one.net.connect(Endpoint("192.0.2.2", 25))
        assert service.cleaned == ["handler"]
        two.restart()
        with pytest.raises(ConnectionError):  # the next life does not know the connection
            await stream.read()
        assert service.lines() == 1
        two.start(service.serve())
        await asyncio.sleep(1)
        stream = await one.net.connect(Endpoint("192.0.2.2", 25))
        stream.write(b"b")
        await line(stream)
        assert service.lines() == 2
        one.close()
        two.close()

    run(main(), horizon=86400)


def test_power_may_go_within_a_commit(tmp_path: Path) -> None:
    async def main() -> None:
        for seed in range(12):
            _, one, two = machines(tmp_path / str(seed), seed)
            service = Service(two)
            two.start(service.serve())
            await asyncio.sleep(1)
            stream = await one.net.connect(Endpoint("192.0.2.2", 25))
            two.power_loss_at(1 + seed * 2, torn=seed % 2 == 1)
            answered = 0
            try:
                async with asyncio.timeout(10):
                    while True:
                        stream.write(b"x")
                        await line(stream)
                        answered += 1
            except (ConnectionError, TimeoutError):
                pass
            await two.died()
            two.restart()
            assert service.lines() in (answered, answered + 1), f"seed {seed}"
            one.close()
            two.close()

    run(main())


def test_the_session_belongs_to_the_machine_that_listens(tmp_path: Path) -> None:
    """The death of who connects does not cancel who serves."""

    async def main() -> None:
        _, one, two = machines(tmp_path)
        ended: list[object] = []

        async def serve() -> None:
            async def handler(stream: Stream) -> None:
                try:
                    await stream.read()
                except BaseException as error:
                    ended.append(type(error))
                    raise

            await two.net.listen(Endpoint("192.0.2.2", 25), handler)

        async def call() -> None:
            await one.net.connect(Endpoint("192.0.2.2", 25))
            await asyncio.Event().wait()

        two.start(serve())
        await asyncio.sleep(1)
        calling = one.start(call())
        await asyncio.sleep(1)
        one.crash()
        await asyncio.sleep(1)
        assert ended == [ConnectionResetError]
        assert calling.cancelled()
        one.close()
        two.close()

    run(main())


def test_time_of_day_is_virtual(tmp_path: Path) -> None:
    async def main() -> None:
        _, one, two = machines(tmp_path)
        two.clock.offset = 3600
        await asyncio.sleep(86400)
        assert one.world.clock.now() == EPOCH + 86400
        assert two.world.clock.now() == EPOCH + 90000
        assert await one.world.cpu.run(sum, [1, 2]) == 3
        one.close()
        two.close()

    run(main())
