"""Doors: whether any is open, as /healthz tells it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from estafeta.office.config import Listener
from estafeta.office.doors import Door, Doors, Latch
from estafeta.office.service import Service
from estafeta.world.net import RealNet
from estafeta.world.seams import Stream


class Nobody:
    """Sessions without any."""

    empty = True

    def drain(self) -> None:
        return

    async def stop(self) -> None:
        return


async def refuse(stream: Stream) -> None:
    await stream.close()


def test_a_unix_socket_alone_is_an_open_door(tmp_path: Path) -> None:
    async def main() -> None:
        setting = Listener(role="lmtp", path=str(tmp_path / "lmtp"), tls="none")
        doors = Doors(RealNet(), [Door(setting, refuse, Nobody())])
        assert not doors.is_open
        await doors.start()
        assert doors.is_open
        await doors.stop()
        assert doors.is_open
        await doors.close()
        assert not doors.is_open

    asyncio.run(main())


class Slow:
    """A queue that has not ended what it has begun."""

    name = "queue"

    def __init__(self) -> None:
        self.stopping, self.ended = asyncio.Event(), asyncio.Event()

    async def start(self) -> None: ...
    async def drain(self) -> None: ...
    async def reload(self) -> None: ...

    async def stop(self) -> None:
        self.stopping.set()
        await self.ended.wait()


def test_who_comes_while_the_queue_ends_its_work_is_answered(tmp_path: Path) -> None:
    path = str(tmp_path / "lmtp")

    async def main() -> None:
        async def later(stream: Stream) -> None:
            stream.write(b"421 later\r\n")
            await stream.close()

        queue = Slow()
        doors = Doors(
            RealNet(), [Door(Listener(role="lmtp", path=path, tls="none"), later, Nobody())]
        )
        service = Service([Latch(doors), queue, doors])
        running = asyncio.create_task(service.run())
        await service.ready.wait()
        service.stop.ask()
        await queue.stopping.wait()
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b"421 later\r\n"
        writer.close()
        queue.ended.set()
        await running
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            await asyncio.open_unix_connection(path)

    asyncio.run(main())
