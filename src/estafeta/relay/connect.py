"""connect: the first address of a host that answers (RFC 8305 §5).

Addresses are tried in order, the next one beside the ones before when 250 ms have passed or as
soon as one fails. The first connection wins, the others are given up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from estafeta.relay.job import RelaySettings
from estafeta.world.seams import Endpoint, Net, Stream


class Unreachable(Exception):
    """No address answered. failures: what each said."""

    def __init__(self, failures: dict[Endpoint, str]) -> None:
        super().__init__("; ".join(f"{to}: {text}" for to, text in failures.items()))
        self.failures = failures


async def connect(
    net: Net, addresses: Sequence[Endpoint], settings: RelaySettings
) -> tuple[Stream, Endpoint, dict[Endpoint, str]]:
    """The stream, the address it leads to, and what failed before. Raises Unreachable."""
    failures: dict[Endpoint, str] = {}
    waiting = list(addresses)
    racing: dict[asyncio.Task[Stream], Endpoint] = {}
    try:
        while waiting or racing:
            if waiting:
                to = waiting.pop(0)
                racing[asyncio.ensure_future(_one(net, to, settings))] = to
            done, _ = await asyncio.wait(
                racing,
                timeout=settings.timeouts.stagger if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            # In the order of trying: a set's own order would differ from run to run.
            for task in [each for each in racing if each in done]:
                to = racing[task]
                error = task.exception()
                if error is None:
                    del racing[task]
                    return task.result(), to, failures
                if not isinstance(error, OSError):
                    raise error
                del racing[task]
                failures[to] = _words(error)
        raise Unreachable(failures)
    finally:
        for task in racing:
            task.add_done_callback(_give_up)
            task.cancel()


async def _one(net: Net, to: Endpoint, settings: RelaySettings) -> Stream:
    source = settings.source_v6 if ":" in to.host else settings.source_v4
    async with asyncio.timeout(settings.timeouts.connect):  # TimeoutError is an OSError
        return await net.connect(to, source=source)


def _give_up(task: asyncio.Task[Stream]) -> None:
    """The loser of a race may have connected all the same."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if error.errno is not None:
        return os.strerror(error.errno).lower()  # asyncio's own text repeats the address
    return str(error) or type(error).__name__
