"""Member: a worker's side of the crew: what the supervisor says is done, what it asks answered."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog

from estafeta.office.config import Config
from estafeta.office.crew.messages import (
    Answer,
    Ask,
    Buried,
    Bury,
    Decoder,
    Gathered,
    Message,
    Ready,
    Reload,
    Reloaded,
    Reply,
    Stop,
    Topic,
    encode,
)
from estafeta.office.errors import CommandError
from estafeta.office.limits import GATHER_SECONDS_MAX, ORPHAN_STOP_SECONDS
from estafeta.office.service import Service

_READ_OCTETS = 65_536

log = structlog.get_logger("worker")


class Member:
    """Of the crew; `serve` follows the supervisor until the service has ended.

    bury: gives back what dead workers held.
    answer: what this worker says to a question of the supervisor's.
    """

    def __init__(
        self,
        channel: socket.socket,
        *,
        answer: Callable[[Topic], Awaitable[Reply]],
        bury: Callable[[Sequence[int]], Awaitable[None]],
    ) -> None:
        self.fresh: Config | None = None  # of the last Reload
        self._channel = channel
        self._answer = answer
        self._bury = bury
        self._writer: asyncio.StreamWriter | None = None
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Gathered]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, service: Service) -> None:
        """Runs the service under the supervisor. Raises what its start raised."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        following = asyncio.create_task(self._follow(reader, service), name="crew")
        try:
            await service.run()
        finally:
            following.cancel()
            with suppress(ConnectionError):
                await self._writer.drain()

    def say_ready(self) -> None:
        self._send(Ready())

    def say_reloaded(self, reason: str) -> None:
        self._send(Reloaded(reason))

    async def gather(self, topic: Topic) -> Gathered:
        """What all workers say to it. Raises CommandError where the supervisor does not answer."""
        id = next(self._ids)
        future: asyncio.Future[Gathered] = asyncio.get_running_loop().create_future()
        self._asked[id] = future
        self._send(Ask(id, topic))
        try:
            async with asyncio.timeout(2 * GATHER_SECONDS_MAX):
                return await future
        except TimeoutError:
            raise CommandError("the supervisor does not answer") from None
        finally:
            del self._asked[id]

    def _send(self, message: Message) -> None:
        if self._writer is not None:
            self._writer.write(encode(message))

    async def _follow(self, reader: asyncio.StreamReader, service: Service) -> None:
        decoder = Decoder()
        with suppress(ConnectionError):
            while data := await reader.read(_READ_OCTETS):
                for message in decoder.feed(data):
                    self._on_message(message, service)
        log.warning("the supervisor is gone: stopping")
        service.stop_within(ORPHAN_STOP_SECONDS)

    def _on_message(self, message: Message, service: Service) -> None:
        match message:
            case Stop(at_once):
                service.stop.asked.set()
                if at_once:
                    service.stop.at_once.set()
            case Reload(config):
                self.fresh = config
                service.reload_wanted.set()
            case Bury(lives):
                self._beside(self._give_back(lives))
            case Ask(id, topic):
                self._beside(self._say(id, topic))
            case Gathered(id=id):
                future = self._asked.get(id)
                if future is not None and not future.done():
                    future.set_result(message)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back(self, lives: list[int]) -> None:
        await self._bury(lives)
        self._send(Buried(lives))

    async def _say(self, id: int, topic: Topic) -> None:
        self._send(Answer(id, await self._answer(topic)))
