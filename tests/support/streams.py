"""Streams in memory: two connected ends, and a net of scripted servers, on the running loop.

For rooms above `world` whose tests are about what is said, not about sockets. Both follow
`world.seams`; time is the loop's.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from estafeta.world.seams import (
    Datagrams,
    Endpoint,
    Handler,
    Listener,
    TlsConfig,
    TlsError,
    TlsInfo,
    World,
)

HIGH_WATER = 65536
CLIENT = Endpoint("192.0.2.1", 50000)
SERVER = Endpoint("192.0.2.2", 25)

DatagramServer = Callable[[bytes, "MemoryDatagrams", Endpoint], None]


class MemoryStream:
    """One end; `other` is set by `stream_pair`."""

    def __init__(self, local: Endpoint, peer: Endpoint) -> None:
        self._local = local
        self._peer = peer
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._cut: ConnectionError | None = None
        self._closed = False
        self._room: asyncio.Future[None] | None = None
        self._tls: TlsInfo | None = None
        self.other: MemoryStream

    @property
    def peer(self) -> Endpoint:
        return self._peer

    @property
    def local(self) -> Endpoint:
        return self._local

    @property
    def tls(self) -> TlsInfo | None:
        return self._tls

    def introduce(self, peer: Endpoint, local: Endpoint, rest: bytes) -> None:
        self._peer, self._local = peer, local
        if rest:
            self._chunks.appendleft(rest)

    async def read(self) -> bytes:
        while not self._chunks:
            if self._cut is not None:
                raise self._cut
            if self._ended or self._closed:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = self._chunks.popleft()
        if len(data) > HIGH_WATER:
            self._chunks.appendleft(data[HIGH_WATER:])
            data = data[:HIGH_WATER]
        if self.other._room is not None and self.buffered() < HIGH_WATER:
            if not self.other._room.done():
                self.other._room.set_result(None)
            self.other._room = None
        return data

    def buffered(self) -> int:
        return sum(map(len, self._chunks))

    def write(self, data: bytes) -> None:
        if self._closed or self._cut is not None or not data:
            return
        self.other._chunks.append(data)
        self.other._wake()

    def congested(self) -> bool:
        return self._cut is not None or self.other.buffered() >= HIGH_WATER

    async def drain(self) -> None:
        while self._cut is None and self.other.buffered() >= HIGH_WATER and not self.other._closed:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self._cut is not None:
            raise self._cut

    def interrupt(self, error: Exception) -> None:
        for waiter in (self._waiter, self._room):
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
        self._waiter = self._room = None

    async def start_tls(self, config: TlsConfig, *, server_name: str = "") -> TlsInfo:
        """`config` is an exception (the handshake fails with it) or any label."""
        if isinstance(config, Exception):
            self.abort()
            raise config
        info = TlsInfo("TLSv1.3", "TOY", server_name, verified=config == "verified")
        self._tls = info
        return info

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.other._ended = True
            self.other._wake()

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._wake()
        if self.other._cut is None and not self.other._closed:
            self.other._cut = ConnectionResetError("reset by peer")
            self.other._wake()
            if self.other._room is not None and not self.other._room.done():
                self.other._room.set_result(None)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def stream_pair(
    client: Endpoint = CLIENT, server: Endpoint = SERVER
) -> tuple[MemoryStream, MemoryStream]:
    """(client's end, server's end)."""
    here, there = MemoryStream(client, server), MemoryStream(server, client)
    here.other, there.other = there, here
    return here, there


class MemoryDatagrams:
    def __init__(self, net: MemoryNet, local: Endpoint) -> None:
        self._net = net
        self._local = local
        self._queue: asyncio.Queue[tuple[bytes, Endpoint] | ConnectionError] = asyncio.Queue()

    @property
    def local(self) -> Endpoint:
        return self._local

    def send(self, data: bytes, to: Endpoint) -> None:
        self._net.datagram(data, self, to)

    async def receive(self) -> tuple[bytes, Endpoint]:
        item = await self._queue.get()
        if isinstance(item, ConnectionError):
            raise item
        return item

    def put(self, data: bytes, source: Endpoint) -> None:
        self._queue.put_nowait((data, source))

    def refuse(self) -> None:
        self._queue.put_nowait(ConnectionRefusedError("port closed"))

    def close(self) -> None:
        return


class MemoryNet:
    """servers: handler per endpoint, run as a task for each connection; else refused.

    black_holes: endpoints whose connect never returns. datagram_servers: called with (data, socket,
    server's endpoint). connects: every attempt, in order.
    """

    def __init__(self) -> None:
        self.servers: dict[Endpoint, Handler] = {}
        self.black_holes: set[Endpoint] = set()
        self.datagram_servers: dict[
            Endpoint, Callable[[bytes, MemoryDatagrams, Endpoint], None]
        ] = {}
        self.connects: list[Endpoint] = []
        self.sources: list[str] = []
        self.sockets: list[MemoryDatagrams] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._port = 40000

    async def connect(self, to: Endpoint, *, source: str = "") -> MemoryStream:
        self.connects.append(to)
        self.sources.append(source)
        if to in self.black_holes:
            await asyncio.Event().wait()
        handler = self.servers.get(to)
        if handler is None:
            raise ConnectionRefusedError(111, "Connection refused")
        self._port += 1
        here, there = stream_pair(Endpoint(source or "192.0.2.1", self._port), to)
        task = asyncio.ensure_future(self._serve(handler, there))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return here

    async def _serve(self, handler: Callable[[Any], Awaitable[None]], stream: MemoryStream) -> None:
        try:
            await handler(stream)
        finally:
            stream.abort()

    async def listen(self, at: Endpoint, handler: Handler) -> Listener:
        raise NotImplementedError

    async def datagrams(self, at: Endpoint) -> Datagrams:
        self._port += 1
        sock = MemoryDatagrams(self, Endpoint(at.host, self._port))
        self.sockets.append(sock)
        return sock

    def datagram(self, data: bytes, sender: MemoryDatagrams, to: Endpoint) -> None:
        server = self.datagram_servers.get(to)
        if server is not None:
            server(data, sender, to)


class InlineCpu:
    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)

    async def apart(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)


class FixedClock:
    def now(self) -> float:
        return 1_700_000_000.0


def memory_world(net: MemoryNet, seed: int = 1) -> World:
    return World(FixedClock(), random.Random(seed), net, None, InlineCpu())  # type: ignore[arg-type]


__all__ = [
    "InlineCpu",
    "MemoryDatagrams",
    "MemoryNet",
    "MemoryStream",
    "TlsError",
    "memory_world",
    "stream_pair",
]
