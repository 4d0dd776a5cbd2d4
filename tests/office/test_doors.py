"""Doors: whether any is open, as /healthz tells it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from estafeta.office.config import Listener
from estafeta.office.doors import Door, Doors
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
        assert not doors.is_open

    asyncio.run(main())
