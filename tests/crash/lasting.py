"""lasting: a trial whose clients come again and again while somebody is killed beside them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.crash.load import Client
from tests.crash.test_kill import STEPS_MAX, Trial
from tests.support.smtp_raw import Gone

PAUSE_SECONDS = 0.02
"""Of a client whose connection is gone."""


class LastingTrial(Trial):
    """As Trial; the load goes on from the first round to the last."""

    _load: tuple[asyncio.Task[None], ...] = ()

    def begin_load(self) -> None:
        """Does nothing when it goes on."""
        if not self._load:
            self._load = tuple(asyncio.create_task(self._drive(each)) for each in self.clients)

    async def read_replies(self, count: int, seconds: float) -> None:
        """Returns when clients have read so many. Raises TimeoutError."""
        self._steps, self._kill_at = 0, count
        self._reached.clear()
        async with asyncio.timeout(seconds):
            await self._reached.wait()

    async def reach_a_moment(self, seconds: float) -> None:
        """One that the dice choose. Raises TimeoutError."""
        await self.read_replies(self.dice.randrange(1, STEPS_MAX), seconds)
        await asyncio.sleep(self.dice.uniform(0, 0.004))  # not always right after a reply

    async def _drive(self, client: Client) -> None:
        while not self.stopping.is_set():
            with suppress(Gone, OSError):
                await client.run(self.stopping)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _finish(self) -> None:
        self.stopping.set()
        await asyncio.gather(*self._load)
        await super()._finish()
