"""Faults of the simulated net: each does what its name says, and counts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from estafeta.sim.faults import Fault
from estafeta.sim.loop import run
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.tls import SimClientTls, sim_server_tls
from estafeta.world.seams import Endpoint, Stream

PORT = Endpoint("192.0.2.2", 25)


class Scene:
    """A client machine and a server that keeps all it hears, and how the hearing ended."""

    def __init__(self, seed: int) -> None:
        self.internet = Internet(random.Random(seed))
        self.here = SimNet(self.internet, ["192.0.2.1"])
        self.there = SimNet(self.internet, ["192.0.2.2"])
        self.heard: list[bytes] = []
        self.ends: list[object] = []
        self.answer_at = b"\r\n.\r\n"

    async def listen(self) -> None:
        await self.there.listen(PORT, self.handle)

    async def handle(self, stream: Stream) -> None:
        index = len(self.heard)
        self.heard.append(b"")
        try:
            while data := await stream.read():
                self.heard[index] += data
                if self.heard[index].endswith(self.answer_at):
                    stream.write(b"250 2.0.0 queued\r\n")
            self.ends.append("end")
            await stream.close()
        except ConnectionError as error:
            self.ends.append(type(error))


def scene(test: Callable[[Scene], Awaitable[None]], seeds: int = 10) -> None:
    for seed in range(seeds):

        async def main(seed: int = seed) -> None:
            made = Scene(seed)
            await made.listen()
            await test(made)

        run(main(), horizon=86400)


MESSAGE = b"Subject: x\r\n\r\n" + b"body line\r\n" * 200 + b".\r\n"


def test_cut_before_the_final_dot() -> None:
    async def test(made: Scene) -> None:
        fault = made.internet.inject(Fault("cut", to="192.0.2.2", match=b"\r\n.\r\n", before=True))
        stream = await made.here.connect(PORT)
        stream.write(MESSAGE)
        with pytest.raises(ConnectionError):
            await stream.read()
        await asyncio.sleep(1)
        assert made.heard == [MESSAGE[:-1]]
        assert made.ends == [ConnectionResetError]
        assert fault.hits == 1

    scene(test)


def test_cut_after_the_final_dot() -> None:
    """The server has it all; its answer is lost."""

    async def test(made: Scene) -> None:
        made.internet.inject(Fault("cut", match=b"\r\n.\r\n"))
        stream = await made.here.connect(PORT)
        stream.write(MESSAGE)
        with pytest.raises(ConnectionError):
            await stream.read()
        await asyncio.sleep(1)
        assert made.heard == [MESSAGE]

    scene(test)


def test_cut_of_the_answer() -> None:
    async def test(made: Scene) -> None:
        made.internet.inject(Fault("cut", direction="from", match=b"250", before=True))
        stream = await made.here.connect(PORT)
        stream.write(MESSAGE)
        got = b""
        try:
            while True:
                got += await stream.read()
        except ConnectionError:
            pass
        assert got == b"25"
        assert made.heard == [MESSAGE]

    scene(test)


def test_cut_after_so_many_octets_and_only_once() -> None:
    async def test(made: Scene) -> None:
        made.internet.inject(Fault("cut", after=100))
        for _ in range(2):
            stream = await made.here.connect(PORT)
            stream.write(MESSAGE)
            try:
                assert await stream.read()
            except ConnectionError:
                continue
        assert [len(heard) for heard in made.heard] == [100, len(MESSAGE)]

    scene(test)


def test_an_end_in_order_that_is_none() -> None:
    """Without TLS it looks like the end; with TLS it is a cut."""

    async def test(made: Scene) -> None:
        made.internet.inject(Fault("cut", port=25, match=b"body", end="fin"))
        made.internet.inject(Fault("cut", port=465, match=b"body", end="fin"))
        stream = await made.here.connect(PORT)
        stream.write(MESSAGE)
        await asyncio.sleep(5)
        assert made.ends == ["end"]
        assert made.heard[0].endswith(b"body")

        async def secured(stream: Stream) -> None:
            await stream.start_tls(sim_server_tls("mx.example"))
            await made.handle(stream)

        await made.there.listen(Endpoint("192.0.2.2", 465), secured)
        stream = await made.here.connect(Endpoint("192.0.2.2", 465))
        await stream.start_tls(SimClientTls(verify=True), server_name="mx.example")
        stream.write(MESSAGE)
        await asyncio.sleep(5)
        assert made.ends == ["end", ConnectionResetError]
        assert made.heard[1].endswith(b"body")

    scene(test, seeds=3)


def test_refuse_unreachable_black_hole() -> None:
    async def test(made: Scene) -> None:
        made.internet.inject(Fault("refuse", port=25))
        with pytest.raises(ConnectionRefusedError):
            await made.here.connect(PORT)
        made.internet.inject(Fault("unreachable", to="192.0.2.2"))
        with pytest.raises(OSError, match="no route"):
            await made.here.connect(PORT)
        hole = made.internet.inject(Fault("black-hole", source="192.0.2.1", times=None))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(300):
                await made.here.connect(PORT)
        assert hole.hits == 1
        made.internet.heal()
        (await made.here.connect(PORT)).abort()
        with pytest.raises(OSError, match="no route"):
            await made.here.connect(Endpoint("192.0.2.77", 25))
        with pytest.raises(OSError, match="unreachable"):
            await made.here.connect(Endpoint("2001:db8::1", 25))

    scene(test, seeds=2)


def test_silence_and_drip() -> None:
    async def test(made: Scene) -> None:
        made.internet.inject(Fault("silence", direction="from"))
        stream = await made.here.connect(PORT)
        stream.write(MESSAGE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await stream.read()
        assert made.heard[0] == MESSAGE
        stream.abort()
        made.internet.inject(Fault("drip", octets_per_second=10))
        stream = await made.here.connect(PORT)
        start = asyncio.get_running_loop().time()
        stream.write(b"x\r\n.\r\n" * 50)
        assert await stream.read()
        elapsed = asyncio.get_running_loop().time() - start
        assert 0.5 < elapsed < 60
        await asyncio.sleep(60)
        assert made.heard[1] == b"x\r\n.\r\n" * 50

    scene(test, seeds=2)


def test_lost_and_late_datagrams() -> None:
    async def test(made: Scene) -> None:
        one = await made.here.datagrams(Endpoint("192.0.2.1", 0))
        two = await made.there.datagrams(Endpoint("192.0.2.2", 53))
        lost = made.internet.inject(Fault("lose", to="192.0.2.2", times=3))
        for n in range(4):
            one.send(bytes([n]), two.local)
        assert await two.receive() == (b"\3", one.local)
        assert lost.hits == 3
        made.internet.inject(Fault("delay", seconds=4))
        start = asyncio.get_running_loop().time()
        one.send(b"late", two.local)
        assert (await two.receive())[0] == b"late"
        assert asyncio.get_running_loop().time() - start > 4

    scene(test, seeds=3)


def test_unix_sockets_are_for_this_machine() -> None:
    async def test(made: Scene) -> None:
        await made.there.listen_unix("/run/lmtp", made.handle)
        stream = await made.there.connect_unix("/run/lmtp")
        assert stream.peer.host == stream.local.host == "127.0.0.1"
        stream.write(MESSAGE)
        assert await stream.read()
        with pytest.raises(FileNotFoundError):
            await made.here.connect_unix("/run/lmtp")
        with pytest.raises(OSError, match="in use"):
            await made.there.listen_unix("/run/lmtp", made.handle)

    scene(test, seeds=2)


def test_one_seed_is_one_run() -> None:
    def trace(seed: int) -> list[tuple[float, str, bytes]]:
        pieces: list[tuple[float, str, bytes]] = []

        async def main() -> None:
            made = Scene(seed)
            loop = asyncio.get_running_loop()
            made.internet.tap = lambda a, b, data: pieces.append((loop.time(), f"{a}>{b}", data))
            await made.listen()
            for _ in range(5):
                stream = await made.here.connect(PORT)
                stream.write(MESSAGE)
                await stream.read()
                await stream.close()

        run(main())
        return pieces

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)
    assert len({len(data) for _, _, data in trace(7)}) > 3, "all pieces are alike"
