"""Datagrams: a UDP socket that also hears that a remote port is closed, and its inbox.

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


class Inbox:
    """What has come to a socket, real or simulated, and was not received yet.

    Promises: DATAGRAMS_WAITING_MAX at most, what comes then is lost; a refusal is told behind all
    that came before it, the last one for those between two calls.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[bytes, Endpoint]] = deque()
        self._refused: Endpoint | None = None
        self._receiver: asyncio.Future[None] | None = None
        self.closed = False

    def put(self, data: bytes, source: Endpoint) -> None:
        if len(self._waiting) < DATAGRAMS_WAITING_MAX:
            self._waiting.append((data, source))
            self._wake()

    def refuse(self, by: Endpoint) -> None:
        """Something we sent was not taken there."""
        self._refused = by
        self._wake()

    def close(self) -> None:
        self.closed = True
        self._wake()

    async def receive(self) -> tuple[bytes, Endpoint]:
        """See `seams.Datagrams.receive`."""
        while True:
            if self._waiting:
                return self._waiting.popleft()
            if self._refused is not None:
                refused, self._refused = self._refused, None
                raise ConnectionRefusedError(f"{refused} does not take datagrams")
            if self.closed:
                raise ConnectionAbortedError("closed here")
            assert self._receiver is None, "two tasks receive from one socket"
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None

    def _wake(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)


class RealDatagrams:
    """Implements `seams.Datagrams`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, at: Endpoint
    ) -> None:
        self._loop = loop
        self._inbox = Inbox(loop)
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
        if self._inbox.closed:
            return
        try:
            self._socket.sendto(data, (to.host, to.port))
        except BlockingIOError:
            return
        except OSError:
            self._take_errors()  # an older datagram's ICMP error is reported here too

    async def receive(self) -> tuple[bytes, Endpoint]:
        return await self._inbox.receive()

    def close(self) -> None:
        if self._inbox.closed:
            return
        self._inbox.close()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

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
            self._inbox.put(data, Endpoint(address[0], address[1]))

    def _take_errors(self) -> None:
        """Empties the error queue; the address there is where our datagram was going."""
        for _ in range(_BATCH):
            try:
                _, _, _, address = self._socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except OSError:
                break
            with contextlib.suppress(IndexError, TypeError):
                self._inbox.refuse(Endpoint(address[0], address[1]))
