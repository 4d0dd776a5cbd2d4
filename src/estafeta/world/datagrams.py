"""Datagrams: a UDP socket that also hears that a remote port is closed.

An unconnected UDP socket gets ICMP errors only through Linux's error queue (IP_RECVERR), which no
event loop empties; so the socket is ours and the loop only says when to look.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque

from .limits import DATAGRAM_OCTETS_MAX, DATAGRAMS_WAITING_MAX
from .seams import Endpoint

_IP_RECVERR = 11
_IPV6_RECVERR = 25
_BATCH = 64
"""Datagrams taken in one turn of the loop."""


class RealDatagrams:
    """Implements `seams.Datagrams`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, at: Endpoint
    ) -> None:
        self._loop = loop
        self._waiting: deque[tuple[bytes, Endpoint]] = deque()
        self._refused: Endpoint | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._closed = False
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            self._socket.bind((at.host, at.port))
            address = self._socket.getsockname()
            self._local = Endpoint(address[0], address[1])
            loop.add_reader(self._socket.fileno(), self._readable)
        except BaseException:
            self._socket.close()
            raise

    @property
    def local(self) -> Endpoint:
        return self._local

    def send(self, data: bytes, to: Endpoint) -> None:
        """Lost without a word where the system will not take it, as any datagram may be."""
        if self._closed:
            return
        try:
            self._socket.sendto(data, (to.host, to.port))
        except BlockingIOError:
            return
        except OSError:
            self._take_errors()  # an older datagram's ICMP error is reported here too

    async def receive(self) -> tuple[bytes, Endpoint]:
        while True:
            if self._waiting:
                return self._waiting.popleft()
            if self._refused is not None:
                refused, self._refused = self._refused, None
                raise ConnectionRefusedError(f"{refused} does not take datagrams")
            if self._closed:
                raise ConnectionAbortedError("closed here")
            assert self._receiver is None, "two tasks receive from one socket"
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._wake()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                data, address = self._socket.recvfrom(DATAGRAM_OCTETS_MAX)
            except BlockingIOError:
                self._take_errors()
                break
            except OSError:
                self._take_errors()
                continue
            if len(self._waiting) < DATAGRAMS_WAITING_MAX:
                self._waiting.append((data, Endpoint(address[0], address[1])))
        self._wake()

    def _take_errors(self) -> None:
        """Empties the error queue; the address there is where our datagram was going."""
        for _ in range(_BATCH):
            try:
                _, _, _, address = self._socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except OSError:
                break
            with contextlib.suppress(IndexError, TypeError):
                self._refused = Endpoint(address[0], address[1])
        if self._refused is not None:
            self._wake()

    def _wake(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)
