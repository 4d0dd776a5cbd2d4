"""The pump: what a machine says is sent, what comes is fed to it, silence ends."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.nets import sim_pair

from estafeta.sim.loop import run
from estafeta.world.pump import feed, flush


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
        client, server = await sim_pair(1).connected()
        machine = Echo()

        async def serve() -> None:
            while await feed(server, machine, 60):
                await flush(server, machine)
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
        _, server = await sim_pair(1).connected()
        start = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await feed(server, Echo(), 300)
        assert asyncio.get_running_loop().time() - start == 300

    run(main())
