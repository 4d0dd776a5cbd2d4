"""Berths: the listening sockets of a crew, bound once, a set for each worker.

Every worker has sockets of its own at the same ports (SO_REUSEPORT): the kernel deals out the
connections, and none waits for a worker that is busy with others'. The supervisor keeps all of
them, so that root is needed only once and a worker that died finds its place again. While nobody
serves a set it is closed to connections (`pause`): the other workers get them.

A Unix socket has no such thing: all workers accept from one.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from estafeta.office.config import Config
from estafeta.office.doors import hosts_of, place_of
from estafeta.office.errors import DoorError
from estafeta.world.net import RealListener, RealNet, bind, bind_unix
from estafeta.world.seams import Endpoint, Handler

Key = Endpoint | str
"""What a listener asked for: address and port, or the path of a Unix socket."""


class Berth:
    """The sockets of one worker, in the order of the settings."""

    def __init__(self) -> None:
        self._sockets: list[tuple[Key, socket.socket]] = []

    def add(self, key: Key, bound: socket.socket) -> None:
        self._sockets.append((key, bound))

    def take(self) -> dict[Key, deque[socket.socket]]:
        """For the worker: by what was asked for, the first first."""
        found: dict[Key, deque[socket.socket]] = {}
        for key, bound in self._sockets:
            found.setdefault(key, deque()).append(bound)
        return found

    def pause(self) -> None:
        """Nobody connects to it until somebody listens again; who waits is sent away."""
        for key, bound in self._sockets:
            if isinstance(key, Endpoint):
                with suppress(OSError):  # paused already
                    bound.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        for _, bound in self._sockets:
            bound.close()

    @property
    def sockets(self) -> list[socket.socket]:
        return [bound for _, bound in self._sockets]


def close_others(mine: Berth, all_berths: Iterable[Berth]) -> None:
    """In a worker: what is not its own. A Unix socket is everybody's."""
    kept = set(mine.sockets)
    for berth in all_berths:
        for bound in berth.sockets:
            if bound not in kept:
                bound.close()


def bind_all(config: Config, workers: int) -> list[Berth]:
    """Raises DoorError, which names the listener; nothing is left open then."""
    berths = [Berth() for _ in range(workers)]
    try:
        for listener in config.listener:
            try:
                if listener.path:
                    _share(berths, listener.path)
                    continue
                for host in hosts_of(listener):
                    _bind(berths, Endpoint(host, listener.port))
            except OSError as error:
                raise DoorError(f"{listener.role} on {place_of(listener)}", error) from error
    except BaseException:
        for berth in berths:
            berth.close()
        raise
    return berths


def _bind(berths: Iterable[Berth], at: Endpoint) -> None:
    """The first is bound as if alone, so that it fails where another program has the port, be it
    another estafeta; then it lets its siblings in."""
    key, reuse = at, False
    for berth in berths:
        bound = bind(at, reuse_port=reuse)
        berth.add(key, bound)
        if not reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            at, reuse = Endpoint(at.host, bound.getsockname()[1]), True


def _share(berths: Iterable[Berth], path: str) -> None:
    bound = bind_unix(path)
    for berth in berths:
        berth.add(path, bound)


class BerthNet(RealNet):
    """The network of a worker: it listens on the sockets of its berth."""

    def __init__(self, berth: Berth) -> None:
        self._sockets = berth.take()

    def socket_at(self, key: Key) -> socket.socket:
        """The next one bound for `key`."""
        return self._sockets[key].popleft()

    async def listen(
        self, at: Endpoint, handler: Handler, *, inherited: socket.socket | None = None
    ) -> RealListener:
        return await super().listen(at, handler, inherited=inherited or self.socket_at(at))

    async def listen_unix(
        self, path: str, handler: Handler, *, inherited: socket.socket | None = None
    ) -> RealListener:
        return await super().listen_unix(path, handler, inherited=inherited or self.socket_at(path))
