"""Stream: one TCP connection on the running event loop, with TLS inside.

Promises: one read buffer shared by all streams of the process; nothing is read from a peer past
256 KiB that nobody takes; `read` returns without a task switch when bytes are there; plaintext is
encrypted only while the transport takes it, so that a peer that does not read costs what it was
written, once. An end of TLS without close_notify is a cut (RFC 8446 §6.1), never an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from .limits import (
    BUFFERED_OCTETS_MAX,
    BUFFERED_OCTETS_RESUME,
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    READ_OCTETS_MAX,
    TLS_PIECE_OCTETS,
    TLS_REPLY_OCTETS_MAX,
    UNSENT_OCTETS_HIGH,
    UNSENT_OCTETS_LOW,
)
from .seams import Endpoint, TlsConfig, TlsError, TlsInfo
from .tls import TlsEngine

_READ = memoryview(bytearray(READ_OCTETS_MAX))
"""Filled and emptied within one callback of the loop, so all streams of a process share it."""

THIS_MACHINE = Endpoint("127.0.0.1", 0)
"""Who comes by a Unix socket, and where to."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class RealStream(asyncio.BufferedProtocol):
    """Implements `seams.Stream`. One reader and one writer task at a time."""

    __slots__ = (
        "_chunks",
        "_drainers",
        "_ended",
        "_engine",
        "_error",
        "_gone",
        "_handshake",
        "_info",
        "_local",
        "_loop",
        "_lost",
        "_paused_reading",
        "_paused_writing",
        "_peer",
        "_reader",
        "_size",
        "_start",
        "_transport",
        "_unencrypted",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        start: Callable[[RealStream], None] | None = None,
        peer: Endpoint | None = None,
    ) -> None:
        """start: called once connected. peer: who it is, where the socket need not be asked."""
        self._loop = loop
        self._start = start
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._peer = peer
        self._local: Endpoint | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._reader: asyncio.Future[None] | None = None
        self._drainers: list[asyncio.Future[None]] = []
        self._paused_reading = False
        self._paused_writing = False
        self._ended = False
        self._gone: asyncio.Future[None] | None = None
        self._lost = False
        self._error: ConnectionError | None = None
        self._engine: TlsEngine | None = None
        self._handshake: asyncio.Future[None] | None = None
        self._info: TlsInfo | None = None
        self._unencrypted: deque[memoryview] = deque()

    # --- what the loop calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(UNSENT_OCTETS_HIGH, UNSENT_OCTETS_LOW)
        if self._peer is None:
            address = transport.get_extra_info("peername")
            if not isinstance(address, tuple):
                # Reset before it was accepted. There may be octets to read, but no one can say
                # whose they are: nothing that trusts an address may see this connection.
                self._peer = Endpoint("", 0)
                self.abort()
                return
            self._peer = Endpoint(address[0], address[1])
        if self._start is not None:
            self._start(self)

    def get_buffer(self, _: int) -> Any:
        return _READ

    def buffer_updated(self, count: int) -> None:
        if self._gone is not None:
            return  # an orderly end waits for the peer's; what still comes is for nobody
        if self._engine is None:
            self._chunks.append(bytes(_READ[:count]))
            self._size += count
        elif not self._take_ciphertext(_READ[:count]):
            return
        if self._size > BUFFERED_OCTETS_MAX and not self._paused_reading:
            self._paused_reading = True
            self._transport.pause_reading()
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)

    def eof_received(self) -> bool:
        if self._gone is not None:
            return False  # both sides are at the end: the transport goes
        if self._engine is not None and not self._engine.ended:
            self._fail(ConnectionResetError("the peer ended TLS without close_notify"))
        else:
            self._ended = True
            self._wake()
        return True  # what we have to say may still be said

    def pause_writing(self) -> None:
        self._paused_writing = True

    def resume_writing(self) -> None:
        self._paused_writing = False
        if self._engine is not None:
            self._encrypt()
        if not self._paused_writing:
            self._wake_drainers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._error is None:
            self._error = _as_connection_error(exc)
        self._unencrypted.clear()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._wake()
        self._wake_drainers()

    # --- reading -------------------------------------------------------------------------------

    @property
    def peer(self) -> Endpoint:
        assert self._peer is not None
        return self._peer

    @property
    def local(self) -> Endpoint:
        if self._local is None:
            address = self._transport.get_extra_info("sockname")
            known = isinstance(address, tuple)
            self._local = Endpoint(address[0], address[1]) if known else THIS_MACHINE
        return self._local

    @property
    def tls(self) -> TlsInfo | None:
        return self._info

    def introduce(self, peer: Endpoint, local: Endpoint, rest: bytes) -> None:
        assert self._engine is None, "TLS has begun already"
        self._peer, self._local = peer, local
        if rest:
            self._chunks.appendleft(rest)
            self._size += len(rest)

    def buffered(self) -> int:
        return self._size

    async def read(self) -> bytes:
        while True:
            if self._chunks:
                data = self._chunks.popleft()
                self._size -= len(data)
                if self._paused_reading and self._size <= BUFFERED_OCTETS_RESUME:
                    self._resume_reading()
                return data
            if self._ended and self._gone is None:
                return b""
            if self._error is not None:
                raise self._error
            assert self._reader is None, "two tasks read one stream"
            self._reader = reader = self._loop.create_future()
            try:
                await reader
            finally:
                self._reader = None

    def _resume_reading(self) -> None:
        self._paused_reading = False
        self._transport.resume_reading()

    def _take_ciphertext(self, data: memoryview) -> bool:
        """False where the connection failed on it, or nothing for a reader came of it."""
        engine = self._engine
        assert engine is not None
        try:
            plain = engine.feed(data)
        except (TlsError, ConnectionError) as error:
            self._send_owed()  # the alert that says why
            self._fail_handshake(error)
            return False
        if engine.owed and not self._send_owed():
            return False
        if plain:
            data_in = plain[0] if len(plain) == 1 else b"".join(plain)
            self._chunks.append(data_in)
            self._size += len(data_in)
        if engine.ended:
            self._ended = True
        if self._handshake is not None and engine.established:
            handshake, self._handshake = self._handshake, None
            if not handshake.done():
                handshake.set_result(None)
        return bool(plain) or engine.ended

    # --- writing -------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._error is not None or not data:
            return
        if self._engine is None:
            self._transport.write(data)
        elif len(data) <= TLS_PIECE_OCTETS and not self._paused_writing and not self._unencrypted:
            self._engine.encrypt(data)
            self._transport.write(self._engine.output())
        else:
            view = memoryview(data)
            self._unencrypted.extend(
                view[start : start + TLS_PIECE_OCTETS]
                for start in range(0, len(view), TLS_PIECE_OCTETS)
            )
            self._encrypt()

    def _encrypt(self) -> None:
        """Plaintext to ciphertext, while the transport takes it."""
        engine, waiting, transport = self._engine, self._unencrypted, self._transport
        assert engine is not None
        if engine.owed:
            transport.write(engine.output())
        while waiting and not self._paused_writing:
            engine.encrypt(waiting.popleft())
            transport.write(engine.output())

    def _send_owed(self) -> bool:
        """What TLS itself has to say; False (and cut) where a peer makes us owe without end."""
        engine = self._engine
        assert engine is not None
        if self._lost:
            return False
        if not self._paused_writing:
            self._transport.write(engine.output())
        elif engine.owed > TLS_REPLY_OCTETS_MAX:
            self._fail(ConnectionAbortedError("the peer asks of TLS more than it reads"))
            self.abort()
            return False
        return True

    def congested(self) -> bool:
        return bool(self._paused_writing or self._unencrypted or self._error is not None)

    async def drain(self) -> None:
        while (self._paused_writing or self._unencrypted) and self._error is None:
            await self._drained()
        if self._error is not None:
            raise self._error

    def interrupt(self, error: Exception) -> None:
        reader, self._reader = self._reader, None
        drainers, self._drainers = self._drainers, []
        for waiter in (reader, *drainers):
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)

    # --- TLS -----------------------------------------------------------------------------------

    async def start_tls(self, config: TlsConfig, *, server_name: str = "") -> TlsInfo:
        assert self._engine is None, "TLS has begun already"
        if self._error is not None:
            raise self._error
        engine = TlsEngine(config, server_name)
        self._engine = engine
        done = self._handshake = self._loop.create_future()
        early, self._chunks = self._chunks, deque()
        self._size = 0
        if self._paused_reading:
            self._resume_reading()
        try:
            # What is buffered is the peer's first flight (a handshake that needs no word before
            # it); were it anything else, it fails as TLS and is never taken for plaintext.
            if not early:
                engine.handshake()
                self._send_owed()
            for piece in early:
                if not self._take_ciphertext(memoryview(piece)) and done.done():
                    break
            if self._ended and not engine.established:
                raise ConnectionResetError("the peer ended before the handshake")
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await done
        except TimeoutError:
            self.abort()
            raise TlsError(f"no handshake within {HANDSHAKE_SECONDS:.0f} s") from None
        except TlsError:
            self._transport.close()
            raise
        except BaseException:
            self.abort()
            raise
        finally:
            self._handshake = None
        self._info = engine.info
        return self._info

    # --- ends ----------------------------------------------------------------------------------

    async def close(self) -> None:
        if self._lost:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._unencrypted and self._error is None:
                    await self._drained()
                if self._error is None:
                    await self._end()
        except TimeoutError:
            return
        finally:
            self.abort()

    async def _drained(self) -> None:
        drainer = self._loop.create_future()
        self._drainers.append(drainer)
        await drainer

    async def _end(self) -> None:
        """close_notify, FIN, then wait for the peer's FIN: closing over unread octets would reset
        the connection and may take our last words with it."""
        transport, gone = self._transport, self._loop.create_future()
        if self._engine is not None:
            self._engine.close_notify()
            transport.write(self._engine.output())
        self._gone = gone
        self._chunks.clear()
        self._size = 0
        self._fail(ConnectionAbortedError("closed here"))
        if self._paused_reading:
            self._resume_reading()
        if self._ended:
            transport.close()
        elif not transport.is_closing():
            transport.write_eof()
        await gone

    def abort(self) -> None:
        if self._lost:
            return
        if self._error is None:
            self._error = ConnectionAbortedError("aborted here")
        system_socket = self._transport.get_extra_info("socket")
        if system_socket is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):
                system_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def _fail(self, error: ConnectionError) -> None:
        if self._error is None:
            self._error = error
        self._wake()
        self._wake_drainers()

    def _fail_handshake(self, error: TlsError | ConnectionError) -> None:
        handshake, self._handshake = self._handshake, None
        self._fail(ConnectionError(str(error)))
        if handshake is not None and not handshake.done():
            handshake.set_exception(error)
        elif isinstance(error, ConnectionError):
            self._transport.close()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)
        handshake, self._handshake = self._handshake, None
        if handshake is not None and not handshake.done():
            handshake.set_exception(
                self._error or ConnectionResetError("the peer ended during the handshake")
            )

    def _wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, []
        for drainer in drainers:
            if not drainer.done():
                drainer.set_result(None)


def _as_connection_error(exc: Exception | None) -> ConnectionError:
    if isinstance(exc, ConnectionError):
        return exc
    return ConnectionResetError(str(exc) if exc else "the connection is closed")
