"""Guests: a session that waits can be disturbed at any moment, and more than once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from estafeta.mail.protocols import NoMeter
from estafeta.read.guests import Guests
from estafeta.read.settings import ReadSettings
from estafeta.sim.net import Internet, SimNet
from estafeta.world.seams import Endpoint, Stream

AT = Endpoint("192.0.2.1", 143)


class Nowhere:
    """In the place of a store: nobody logs in."""


@pytest.mark.parametrize("turns", range(1, 6))
def test_disturbed_twice(turns: int) -> None:
    """A stop drains, and so does what comes first in it: so many turns of the loop later."""

    async def main() -> None:
        store: Any = Nowhere()
        guests = Guests("imap", store, ReadSettings(hostname="mx.example"), NoMeter())
        ends: list[type] = []

        async def serve(stream: Stream) -> None:
            guest = guests.enter(stream)
            assert guest is not None
            try:
                await guest.read(1000)
            except TimeoutError as error:
                ends.append(type(error))
            finally:
                guest.leave()

        net = SimNet(Internet(random.Random(1)), [AT.host])
        await net.listen(AT, serve)
        client = await net.connect(AT)
        while guests.empty:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        guests.drain()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await guests.stop()
        assert ends == [TimeoutError]
        client.abort()

    asyncio.run(main())
