"""The pump: what a machine says is sent, what comes is fed to it, silence ends."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.nets import sim_pair

from estafeta.sim.loop import run
from estafeta.world.pump import Pump


class Echo:
    """A machine that says what it hears."""

    def __init__(self) -> None:
        self.out = b""
        self.ended = False

    def receive(self, data: bytes) -> None:
        self.out += data
        self.ended = not data

    def take_output(self) -> bytes:
        out, self.out = self.out, b""
        return out


def test_a_machine_is_driven_to_the_end() -> None:
    async def main() -> None:
        pair = sim_pair(1)
        client, server = await pair.connected()
        machine = Echo()

        async def serve() -> None:
            pump = Pump(server, machine)
            while await pump.feed(60):
                await pump.flush(60)
            pump.close()
            await server.close()

        serving = asyncio.ensure_future(serve())
        sent = bytes(range(256)) * 300
        client.write(sent)
        got = b""
        while len(got) < len(sent):
            got += await client.read()
        assert got == sent
        await client.close()
        await serving
        assert machine.ended

    run(main())


def test_silence_ends_in_time() -> None:
    async def main() -> None:
        pair = sim_pair(1)  # kept: its sessions live as long
        _client, server = await pair.connected()
        pump = Pump(server, Echo())
        start = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await pump.feed(300)
        assert asyncio.get_running_loop().time() - start == 300

    run(main())


@pytest.mark.parametrize("waits", [(300, 300), (600, 10), (10, 600)])
def test_each_wait_has_its_own_end(waits: tuple[int, int]) -> None:
    """One timer stands for all waits: neither a longer nor a shorter one before may count."""

    async def main() -> None:
        pair = sim_pair(1)
        client, server = await pair.connected()
        pump = Pump(server, Echo())
        loop = asyncio.get_running_loop()
        for said in (b"a", b"b", b"c"):
            loop.call_later(waits[0] - 5, client.write, said)
            assert await pump.feed(waits[0])
        start = loop.time()
        with pytest.raises(TimeoutError):
            await pump.feed(waits[1])
        assert loop.time() - start == pytest.approx(waits[1])
        # The task lives on, and so does the pump.
        loop.call_later(1, client.write, b"d")
        assert await pump.feed(waits[1])
        pump.close()

    run(main())


def test_a_task_that_is_cancelled_is_not_taken_for_silence() -> None:
    async def main() -> None:
        pair = sim_pair(1)  # kept: its sessions live as long
        _client, server = await pair.connected()

        async def wait() -> None:
            await Pump(server, Echo()).feed(300)

        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main())


def test_a_peer_that_does_not_read_is_not_waited_for_without_end() -> None:
    async def main() -> None:
        pair = sim_pair(1)
        _client, server = await pair.connected()
        machine = Echo()
        pump = Pump(server, machine)
        start = asyncio.get_running_loop().time()
        machine.out = b"x" * 1_000_000
        with pytest.raises(TimeoutError):
            await pump.flush(300)
        assert 300 <= asyncio.get_running_loop().time() - start < 301
        pump.close()

    run(main())
