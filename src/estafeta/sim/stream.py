"""Streams of the simulated net: two ends joined by two pipes, with latency, faults and toy TLS.

Each pipe cuts what is written into pieces of the dice's choice and lets them arrive in order after
the dice's delay. A window like TCP's holds the writer back when the reader does not read.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Callable

from estafeta.world.limits import (
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    READ_OCTETS_MAX,
    UNSENT_OCTETS_HIGH,
)
from estafeta.world.seams import Endpoint, TlsConfig, TlsError, TlsInfo

from .faults import Fault
from .tls import HANDSHAKE_OCTETS_MAX, MARK, ToyHandshake

WINDOW_OCTETS = 256 * 1024
"""In flight and unread together."""

PIECE_OCTETS_MAX = 16 * 1024
LATENCY_SECONDS = (0.0005, 0.05)
"""From the shortest to the longest way of a piece."""

Tap = Callable[[Endpoint, Endpoint, bytes], None]

WIRE = contextvars.Context()
"""In which arrives what is under way: it goes on while a process is stopped, or dead."""


class Pipe:
    """One direction. `target` is the end that reads it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, dice: random.Random, faults: list[Fault], tap: Tap
    ) -> None:
        self._loop = loop
        self._dice = dice
        self._faults = [fault for fault in faults if fault.kind != "drip"]
        drips = [fault.octets_per_second for fault in faults if fault.kind == "drip"]
        self._seconds_per_octet = 1 / min(drips) if drips else 0.0
        self._cut_now: Fault | None = None
        self._tap = tap
        self.target: SimStream
        self.origin: SimStream
        self._unsent: deque[memoryview] = deque()
        self.unsent = 0
        self._flying: deque[bytes | bool] = deque()  # a bool is the end: with close_notify or not
        self._flying_octets = 0
        self.arrival = 0.0  # of what was sent last, on the loop's clock
        self._passed = 0
        self._tail = b""
        self._ending: bool | None = None
        self._ended = False
        self._silent = False
        self.dead = False
        self.orphaned = False  # its origin is gone: what is in flight still arrives, nothing after

    def send(self, data: bytes) -> None:
        self._unsent.append(memoryview(bytes(data)))
        self.unsent += len(data)
        self.move()

    def end(self, notified: bool) -> None:
        """FIN, after what is unsent."""
        if self._ending is None:
            self._ending = notified
            self.move()

    @property
    def idle(self) -> bool:
        """Everything sent has arrived, the end included."""
        return not self._unsent and not self._flying

    def move(self) -> None:
        """From unsent into flight, as far as the window lets."""
        while self._unsent and not self.dead and not self.orphaned:
            room = WINDOW_OCTETS - self._flying_octets - self.target.buffered()
            if room < min(PIECE_OCTETS_MAX, len(self._unsent[0])):
                return  # a small gap stays, else all pieces would end up as small (RFC 1122)
            view = self._unsent.popleft()
            size = min(room, len(view), self._piece(len(view)))
            if size < len(view):
                self._unsent.appendleft(view[size:])
            self.unsent -= size
            self._flying_octets += size
            self._launch(bytes(view[:size]))
            if not self._unsent or self.unsent <= UNSENT_OCTETS_HIGH:
                self.origin.sent()
        over = self.dead or self.orphaned or self._ended
        if self._ending is not None and not self._unsent and not over:
            self._ended = True
            self._launch(self._ending)

    def _piece(self, size: int) -> int:
        """How much goes in one piece: often all of it, often something odd."""
        dice = self._dice
        if self._seconds_per_octet:
            return 1
        if dice.random() < 0.5:
            return min(size, PIECE_OCTETS_MAX)
        return dice.randint(1, min(size, dice.choice((2, 16, 256, PIECE_OCTETS_MAX))))

    def _launch(self, item: bytes | bool) -> None:
        """Into flight; nothing overtakes what was sent before."""
        now = self._loop.time()
        arrival = now + self._dice.uniform(*LATENCY_SECONDS)
        if self._seconds_per_octet:
            arrival = max(now, self.arrival) + self._seconds_per_octet
        self.arrival = max(self.arrival, arrival)
        self._flying.append(item)
        self._loop.call_at(self.arrival, self._arrive, context=WIRE)

    def _arrive(self) -> None:
        if self.dead or not self._flying:
            return
        item = self._flying.popleft()
        if isinstance(item, bool):
            if not self._silent:
                self.target.ended(item)
            self.origin.sent()
            return
        self._flying_octets -= len(item)
        piece = self._through_faults(item)
        if piece and not self.dead and self.target.hears:
            self._tap(self.origin.local, self.target.local, piece)
            self.target.arrived(piece)
        if self._cut_now is not None:
            self._cut(self._cut_now)
        self.move()

    def _through_faults(self, piece: bytes) -> bytes:
        """What of a piece gets through; marks a cut that comes after it."""
        if self._silent:
            return b""
        for fault in self._faults:
            at = self._place(fault, piece)
            if at is None:
                continue
            piece = piece[:at]
            if fault.kind == "silence":
                self._silent = True
            else:
                self._cut_now = fault
            break
        self._passed += len(piece)
        self._tail = (self._tail + piece)[-64:]
        return piece

    def _place(self, fault: Fault, piece: bytes) -> int | None:
        """After how many octets of the piece the fault happens; None: not in this piece."""
        if fault.match:
            tail = self._tail[-(len(fault.match) - 1) :] if len(fault.match) > 1 else b""
            found = (tail + piece).find(fault.match)
            if found < 0:
                return None
            end = found + len(fault.match) - len(tail)
            return max(0, end - 1) if fault.before else end
        left = (fault.after or 0) - self._passed
        return max(0, left) if left <= len(piece) else None

    def _cut(self, fault: Fault) -> None:
        self._cut_now = None
        if fault.end == "fin":
            self.dead = True
            self.target.ended(notified=False)
            self.origin.cut(ConnectionResetError("connection reset by peer"))
        else:
            for stream in (self.target, self.origin):
                stream.cut(ConnectionResetError("connection reset by peer"))


class SimStream:
    """Implements `seams.Stream`; `half_close` besides, for scripted peers."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, local: Endpoint, peer: Endpoint, out: Pipe
    ) -> None:
        self._loop = loop
        self._local = local
        self._peer = peer
        self._out = out
        self.incoming: Pipe
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._notified = False
        self._error: ConnectionError | None = None
        self._closed = False
        self._tls: TlsInfo | None = None
        self._changed: list[asyncio.Future[None]] = []
        self._reading = False

    # --- what the pipes call -------------------------------------------------------------------

    @property
    def hears(self) -> bool:
        """What arrives may still be read."""
        return self._error is None and not self._closed

    def arrived(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        self._wake()

    def ended(self, notified: bool) -> None:
        self._ended = True
        self._notified = notified
        self._wake()

    def sent(self) -> None:
        self._wake()

    def cut(self, error: ConnectionError) -> None:
        """The connection is gone for this end; what came before may still be read."""
        if self._error is None:
            self._error = error
        self._out.dead = True
        self._wake()

    def die(self) -> None:
        """The machine of this end is gone. What it has sent is on its way and will arrive."""
        if self._error is None:
            self._error = ConnectionAbortedError("the machine is gone")
        self._out.orphaned = True
        self._wake()

    def hear_reset(self) -> None:
        """The other end is gone, and its system says so, behind all that was sent before."""
        reset = ConnectionResetError("connection reset by peer")
        when = max(self._loop.time(), self.incoming.arrival)
        self._loop.call_at(when, self.cut, reset, context=WIRE)

    @property
    def over(self) -> bool:
        """Nothing more can happen on this end."""
        return self._error is not None or (self._closed and self._ended and self._out.idle)

    # --- seams.Stream --------------------------------------------------------------------------

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
        assert self._tls is None, "TLS has begun already"
        self._peer, self._local = peer, local
        if rest:
            self._chunks.appendleft(rest)
            self._size += len(rest)

    def buffered(self) -> int:
        return self._size

    async def read(self) -> bytes:
        assert not self._reading, "two tasks read one stream"
        self._reading = True
        try:
            while True:
                if self._closed:
                    raise ConnectionAbortedError("closed here")
                if self._chunks:
                    return self._take()
                if self._ended and (self._tls is None or self._notified):
                    return b""
                if self._ended and self._error is None:
                    self._error = ConnectionResetError("the peer ended TLS without close_notify")
                if self._error is not None:
                    raise self._error
                await self._change()
        finally:
            self._reading = False

    def write(self, data: bytes) -> None:
        if data and self._error is None and not self._closed:
            self._out.send(data)

    def congested(self) -> bool:
        return self._error is not None or self._closed or self._out.unsent > UNSENT_OCTETS_HIGH

    async def drain(self) -> None:
        while self._error is None and self._out.unsent > UNSENT_OCTETS_HIGH:
            await self._change()
        if self._error is not None:
            raise self._error
        if self._closed:
            raise ConnectionAbortedError("closed here")

    def interrupt(self, error: Exception) -> None:
        for change in self._changed:
            if not change.done():
                change.set_exception(error)

    async def start_tls(self, config: TlsConfig, *, server_name: str = "") -> TlsInfo:
        assert self._tls is None, "TLS has begun already"
        handshake = ToyHandshake(config, server_name)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                if not handshake.is_server:
                    self.write(handshake.hello())
                answer, info = handshake.receive(await self._flight())
        except TimeoutError:
            self.abort()
            raise TlsError(f"no handshake within {HANDSHAKE_SECONDS:.0f} s") from None
        except BaseException:
            self._chunks.clear()  # what should have been TLS is never plaintext
            self._size = 0
            self.abort()
            raise
        self.write(answer)
        self._tls = info
        return info

    async def close(self) -> None:
        if self._error is not None or self._closed:
            return
        self._out.end(notified=self._tls is not None)
        self._closed = True
        self._chunks.clear()
        self._size = 0
        self._wake()
        self.incoming.move()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while not self.over:
                    await self._change()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        if self.over:
            return
        self.cut(ConnectionAbortedError("aborted here"))
        other = self._out.target
        reset = ConnectionResetError("connection reset by peer")
        self._loop.call_later(LATENCY_SECONDS[0], other.cut, reset, context=WIRE)

    def half_close(self) -> None:
        """FIN, and go on reading; with close_notify under TLS."""
        self._out.end(notified=self._tls is not None)

    # --- inside --------------------------------------------------------------------------------

    def _take(self) -> bytes:
        data = self._chunks.popleft()
        if len(data) > READ_OCTETS_MAX:
            self._chunks.appendleft(data[READ_OCTETS_MAX:])
            data = data[:READ_OCTETS_MAX]
        self._size -= len(data)
        self.incoming.move()
        return data

    async def _flight(self) -> bytes:
        """The peer's side of the handshake, one line; what follows it stays."""
        flight = b""
        while b"\n" not in flight:
            if flight and (flight[0] != MARK or len(flight) > HANDSHAKE_OCTETS_MAX):
                raise TlsError("wrong version number")
            data = await self.read()
            if not data:
                raise ConnectionResetError("the peer ended before the handshake")
            flight += data
        line, _, rest = flight.partition(b"\n")
        if rest:
            self._chunks.appendleft(rest)
            self._size += len(rest)
        return line + b"\n"

    async def _change(self) -> None:
        change = self._loop.create_future()
        self._changed.append(change)
        try:
            await change
        finally:
            self._changed.remove(change)

    def _wake(self) -> None:
        for change in self._changed:
            if not change.done():
                change.set_result(None)


def joined(
    loop: asyncio.AbstractEventLoop,
    dice: random.Random,
    ends: tuple[Endpoint, Endpoint],
    faults: list[Fault],
    tap: Tap,
) -> tuple[SimStream, SimStream]:
    """(the connecting end, the listening end) of one connection."""
    there = Pipe(loop, dice, [fault for fault in faults if fault.direction == "to"], tap)
    back = Pipe(loop, dice, [fault for fault in faults if fault.direction == "from"], tap)
    client = SimStream(loop, ends[0], ends[1], there)
    server = SimStream(loop, ends[1], ends[0], back)
    client.incoming, server.incoming = back, there
    there.origin, there.target = client, server
    back.origin, back.target = server, client
    return client, server
