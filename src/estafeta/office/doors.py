"""Doors: the listeners of an installation, opened together, drained and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from estafeta.office.config import Listener
from estafeta.office.errors import DoorError
from estafeta.world.seams import Endpoint, Handler, Net, Stream
from estafeta.world.seams import Listener as OpenListener

ANY = ("0.0.0.0", "::")  # noqa: S104 - the setting `*` means every address

log = structlog.get_logger("doors")


def hosts_of(listener: Listener) -> Sequence[str]:
    """The addresses to bind."""
    return ANY if listener.address == "*" else (listener.address,)


def place_of(listener: Listener) -> str:
    """As a person names it."""
    return listener.path or f"{listener.address} port {listener.port}"


class Sessions(Protocol):
    """What stands behind a door."""

    @property
    def empty(self) -> bool:
        """Nobody is in."""
        ...

    def drain(self) -> None:
        """Begins nothing new, tells who is idle."""
        ...

    async def stop(self) -> None:
        """Returns when all sessions have ended; cancelled, it cuts those that have not."""
        ...


@dataclass(slots=True)
class Door:
    """One `[[listener]]`: where, and who answers. former: who answered before a reload."""

    setting: Listener
    handler: Handler
    sessions: Sessions
    former: list[Sessions] = field(default_factory=list)

    async def admit(self, stream: Stream) -> None:
        """The handler of the open listener: whoever answers now."""
        await self.handler(stream)


class Doors:
    """A component of the service."""

    name = "listeners"

    def __init__(self, net: Net, doors: Sequence[Door]) -> None:
        self._net = net
        self._doors = list(doors)
        self._open: list[OpenListener] = []
        self.endpoints: list[tuple[Listener, Endpoint]] = []

    async def start(self) -> None:
        """Raises DoorError, which names the listener; what was opened before is closed."""
        try:
            for door in self._doors:
                await self._open_door(door)
        except BaseException:
            await self.close()
            raise

    async def _open_door(self, door: Door) -> None:
        setting = door.setting
        try:
            if setting.path:
                self._open.append(await self._net.listen_unix(setting.path, door.admit))
                log.info("listening", role=setting.role, path=setting.path)
                return
            for host in hosts_of(setting):
                listener = await self._net.listen(Endpoint(host, setting.port), door.admit)
                self._open.append(listener)
                self.endpoints.append((setting, listener.endpoint))
                log.info("listening", role=setting.role, at=str(listener.endpoint), tls=setting.tls)
        except OSError as error:
            raise DoorError(f"{setting.role} on {place_of(setting)}", error) from error

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    async def drain(self) -> None:
        for door in self._doors:
            for sessions in (door.sessions, *door.former):
                sessions.drain()

    async def stop(self) -> None:
        """Waits for the sessions; who comes is told to come later, until `Latch` closes."""
        await asyncio.gather(
            *(sessions.stop() for door in self._doors for sessions in (door.sessions, *door.former))
        )

    async def reload(self) -> None:
        """New answers come by `use`; addresses and ports stay as they are until a restart."""

    def use(self, doors: Sequence[Door]) -> None:
        """Who comes from now on is answered by these; who is here goes on with whom he has.

        doors: for the same listeners, in the same order.
        """
        for door, fresh in zip(self._doors, doors, strict=True):
            door.former = [x for x in (*door.former, door.sessions) if not x.empty]
            door.handler, door.sessions = fresh.handler, fresh.sessions

    async def close(self) -> None:
        """Nobody can come any more."""
        for listener in self._open:
            await listener.close()
        self._open.clear()


class Latch:
    """A component that starts before all that the doors lead to, and so closes them after it.

    The queue may take long to end what it has begun; a client that comes meanwhile reads 421
    instead of finding nobody.
    """

    name = "latch"

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def start(self) -> None:
        """The doors open themselves, last of all."""

    async def drain(self) -> None:
        """Nothing of its own."""

    async def stop(self) -> None:
        await self._doors.close()

    async def reload(self) -> None:
        """Nothing of its own."""
