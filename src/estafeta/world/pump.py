"""Pump: what a driver does between a Stream and a sans-IO Machine: send, wait, feed.

Two small functions instead of a loop, because what happens in between (units of work, STARTTLS,
authentication) is the driver's.
"""

from __future__ import annotations

import asyncio

from estafeta.mail.protocols import Machine

from .seams import Stream


async def flush(stream: Stream, machine: Machine) -> None:
    """Sends what the machine has to say; waits only where the peer reads too slowly.

    Raises ConnectionError.
    """
    output = machine.take_output()
    if output:
        stream.write(output)
        await stream.drain()


async def feed(stream: Stream, machine: Machine, seconds: float) -> bool:
    """Waits at most `seconds` for the peer's next bytes and gives them to the machine.

    False at the end of the peer's stream. Raises TimeoutError, ConnectionError. No timer is set
    where bytes wait already.
    """
    if stream.buffered():
        data = await stream.read()
    else:
        async with asyncio.timeout(seconds):
            data = await stream.read()
    machine.receive(data)
    return bool(data)
