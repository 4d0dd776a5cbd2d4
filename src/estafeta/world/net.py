"""Net: TCP and UDP of this machine, on the running event loop (uvloop or asyncio).

Promises: addresses only, names are the resolver's; TCP_NODELAY and keepalive on every connection;
a session that fails never takes its listener with it.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import stat

from .datagrams import RealDatagrams
from .limits import KEEPALIVE_IDLE_SECONDS, LISTEN_BACKLOG
from .seams import Endpoint, Handler
from .stream import THIS_MACHINE, RealStream

_UNIX_SOCKET_MODE = 0o666
"""Another server, under a user of its own, connects to it."""


class _Accepted:
    """What a listener's streams share: their handler, and the tasks that run it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handler: Handler) -> None:
        self._loop = loop
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, stream: RealStream) -> None:
        task = self._loop.create_task(self._run(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, stream: RealStream) -> None:
        try:
            await self._handler(stream)
        except ConnectionError:
            return  # the peer's end, which the handler had no use for
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": f"session with {stream.peer} ended by a fault", "exception": error}
            )
        finally:
            stream.abort()


class RealListener:
    """Implements `seams.Listener`."""

    def __init__(self, server: asyncio.AbstractServer, at: Endpoint) -> None:
        self._server = server
        self._endpoint = at

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    async def close(self) -> None:
        self._server.close()


def bind(at: Endpoint, *, reuse_port: bool = False) -> socket.socket:
    """A TCP socket bound and listening; for binding before root is dropped. Raises OSError."""
    system_socket = socket.socket(_family(at.host), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        setting = system_socket.setsockopt
        setting(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            setting(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if system_socket.family == socket.AF_INET6:
            setting(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _keep_alive(system_socket)  # what is accepted inherits it
        system_socket.bind((at.host, at.port))
        system_socket.listen(LISTEN_BACKLOG)
    except BaseException:
        system_socket.close()
        raise
    return system_socket


def bind_unix(path: str) -> socket.socket:
    """The same at a Unix socket; one that nobody listens at any more is replaced."""
    _remove_left_over(path)
    system_socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        system_socket.bind(path)
        # Connecting needs the right to write; who may is the matter of its folder.
        os.chmod(path, _UNIX_SOCKET_MODE)
        system_socket.listen(LISTEN_BACKLOG)
    except BaseException:
        system_socket.close()
        raise
    return system_socket


class RealNet:
    """Implements `seams.Net`."""

    async def connect(self, to: Endpoint, *, source: str = "") -> RealStream:
        loop = asyncio.get_running_loop()
        system_socket = socket.socket(_family(to.host), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _keep_alive(system_socket)
            if source:
                system_socket.bind((source, 0))
            await loop.sock_connect(system_socket, (to.host, to.port))
            _, stream = await loop.create_connection(
                lambda: RealStream(loop, peer=to), sock=system_socket
            )
        except BaseException:
            system_socket.close()
            raise
        return stream

    async def listen(
        self, at: Endpoint, handler: Handler, *, inherited: socket.socket | None = None
    ) -> RealListener:
        """inherited: a socket from `bind`, used instead of binding `at`."""
        loop = asyncio.get_running_loop()
        accepted = _Accepted(loop, handler)
        system_socket = inherited or bind(at)
        try:
            server = await loop.create_server(
                lambda: RealStream(loop, start=accepted.start),
                sock=system_socket,
                backlog=LISTEN_BACKLOG,
            )
        except BaseException:
            system_socket.close()
            raise
        return RealListener(server, _bound(server.sockets[0].getsockname()))

    async def listen_unix(
        self, path: str, handler: Handler, *, inherited: socket.socket | None = None
    ) -> RealListener:
        """inherited: a socket from `bind_unix`."""
        loop = asyncio.get_running_loop()
        accepted = _Accepted(loop, handler)
        system_socket = inherited or bind_unix(path)
        try:
            server = await loop.create_unix_server(
                lambda: RealStream(loop, start=accepted.start, peer=THIS_MACHINE),
                sock=system_socket,
                backlog=LISTEN_BACKLOG,
            )
        except BaseException:
            system_socket.close()
            raise
        return RealListener(server, THIS_MACHINE)

    async def datagrams(self, at: Endpoint) -> RealDatagrams:
        return RealDatagrams(asyncio.get_running_loop(), _family(at.host), at)


def _keep_alive(system_socket: socket.socket) -> None:
    system_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    system_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        system_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)


def _family(host: str) -> socket.AddressFamily:
    """Raises OSError for what is not an IP address: names are the resolver's."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise OSError(f"not an IP address: {host!r}") from None
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _remove_left_over(path: str) -> None:
    """A socket of a process that is gone. Raises OSError (EADDRINUSE) where somebody answers."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # binding says that it is in the way
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def _bound(address: tuple[str, int]) -> Endpoint:
    return Endpoint(address[0], address[1])
