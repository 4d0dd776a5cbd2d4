"""Processes of one machine: each dies and stops by itself, what they share lives on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw

from estafeta.sim.loop import run
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.world import SimMachine
from estafeta.world.seams import Endpoint, Stream

AT = Endpoint("192.0.2.1", 25)


class Scene:
    """A machine whose two processes both listen, and answer each octet with their name."""

    def __init__(self, folder: Path) -> None:
        self.internet = Internet(random.Random(1))
        dice = random.Random(2)
        self.machine = SimMachine("one", [AT.host], self.internet, dice, folder, processes=2)
        self.people = SimNet(self.internet, ["192.0.2.2"])
        for process in self.machine.processes:
            process.start(self.serve(process.name, process.net))

    @staticmethod
    async def serve(name: str, net: SimNet) -> None:
        async def answer(stream: Stream) -> None:
            while await stream.read():
                stream.write(name.encode() + b"\n")

        await net.listen(AT, answer)
        await asyncio.Event().wait()

    async def call(self, name: str = "") -> tuple[Stream, str]:
        """A connection that this one took; or anybody, without a name."""
        while True:
            stream = await self.people.connect(AT)
            stream.write(b"?")
            said = (await line(stream)).decode()
            if name in ("", said):
                return stream, said
            stream.abort()


async def line(stream: Stream) -> bytes:
    got = b""
    while not got.endswith(b"\n"):
        data = await stream.read()
        assert data
        got += data
    return got[:-1]


def play(folder: Path, test: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        scene = Scene(folder)
        await asyncio.sleep(1)
        await test(scene)
        scene.machine.close()

    run(main(), horizon=86400)


def test_connections_are_dealt_out(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        assert {(await scene.call())[1] for _ in range(30)} == {"one", "one/1"}

    play(tmp_path, test)


def test_one_dies(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        first, second = scene.machine.processes
        mine, _ = await scene.call("one")
        other, _ = await scene.call("one/1")
        second.kill()
        assert (first.up, second.up, scene.machine.up) == (True, False, True)
        try:
            await other.read()
        except ConnectionError:
            pass
        else:
            raise AssertionError("the dead did not reset its connection")
        mine.write(b"?")
        assert await line(mine) == b"one"
        assert {(await scene.call())[1] for _ in range(10)} == {"one"}
        second.restart()
        second.start(scene.serve("one/1", second.net))
        assert {(await scene.call())[1] for _ in range(30)} == {"one", "one/1"}

    play(tmp_path, test)


def test_one_dies_in_the_middle_of_a_commit(tmp_path: Path) -> None:
    """What it was writing is not there; the other writes on at once."""

    async def test(scene: Scene) -> None:
        path = str(scene.machine.root / "store.db")
        answered: dict[str, int] = {"one": 0, "one/1": 0}

        async def write(name: str) -> None:
            database = apsw.Connection(path)
            database.set_busy_timeout(0)
            database.pragma("journal_mode", "wal")
            database.execute("CREATE TABLE IF NOT EXISTS line(name TEXT)")
            while answered[name] < 20:
                try:
                    database.execute("INSERT INTO line VALUES(?)", (name,))
                except apsw.Error:
                    database.close(True)  # as the system does for the dead
                    return
                answered[name] += 1
                await asyncio.sleep(1)

        first, second = scene.machine.processes
        second.kill_at(9)
        for process in (first, second):
            process.start(write(process.name))
        await second.died()
        assert first.up
        await asyncio.sleep(30)
        database = apsw.Connection(path)
        found = dict(database.execute("SELECT name, count(*) FROM line GROUP BY name"))
        database.close()
        assert answered["one"] == 20
        assert 0 < answered["one/1"] < 20
        assert found == answered

    play(tmp_path, test)


def test_one_is_stopped(tmp_path: Path) -> None:
    """It does nothing meanwhile, and all of it afterwards; what was on its way arrives."""

    async def test(scene: Scene) -> None:
        loop = asyncio.get_running_loop()
        ticks: list[float] = []

        async def tick() -> None:
            while True:
                await asyncio.sleep(1)
                ticks.append(loop.time())

        second = scene.machine.processes[1]
        second.start(tick())
        stream, _ = await scene.call("one/1")
        began = loop.time()
        second.pause()
        stream.write(b"?")
        asked = asyncio.ensure_future(line(stream))
        await asyncio.sleep(100)
        assert not asked.done()
        assert not any(began < at < loop.time() for at in ticks)
        second.resume()
        assert await asked == b"one/1"
        assert loop.time() < began + 101
        second.pause()
        second.kill()
        assert not second.up

    play(tmp_path, test)
