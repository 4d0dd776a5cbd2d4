"""Net: a small internet in one process. Each machine has a `SimNet`, or one for each of the
processes that share its addresses; they meet on an `Internet`.

Promises: everything that happens depends on the dice, also which of several processes that listen
at one address gets a connection (as by SO_REUSEPORT); faults are data (`sim.faults`) and count
their hits; a process that died resets its connections, a machine that lost power says nothing until
it is back.
"""

from __future__ import annotations

import asyncio
import contextvars
import ipaddress
import random
from collections.abc import Iterator, Sequence

from estafeta.world.datagrams import Inbox
from estafeta.world.seams import Endpoint, Handler, Stream
from estafeta.world.stream import THIS_MACHINE

from .faults import Fault
from .stream import LATENCY_SECONDS, WIRE, SimStream, Tap, joined

EPHEMERAL_PORTS = (32768, 60999)


def _no_tap(source: Endpoint, to: Endpoint, data: bytes) -> None:
    return


class Internet:
    """What the machines share. tap: sees every piece that arrives over TCP, and its ends.

    connected, served: the connecting end of each connection over TCP there was -> the name of the
    net that connected, and of the one that listened.
    """

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.faults: list[Fault] = []
        self.tap: Tap = _no_tap
        self.ports_given: set[tuple[str, int]] = set()
        self.connected: dict[Endpoint, str] = {}
        self.served: dict[Endpoint, str] = {}
        self._nets: dict[str, list[SimNet]] = {}

    def inject(self, fault: Fault) -> Fault:
        """Lets a fault wait for what fits it; gives it back so that its hits can be read."""
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """No fault meets anything new; those that met a stream stay with it."""
        self.faults.clear()

    def attach(self, net: SimNet) -> None:
        """From now on the addresses of `net` lead to it, and no longer to those that are down."""
        for address in net.addresses:
            self._nets[address] = [*(each for each in self.at(address) if each.up), net]

    def at(self, address: str) -> Sequence[SimNet]:
        """Those that have the address, up or down; none: it is nobody's."""
        return self._nets.get(address, ())

    def listening(self, to: Endpoint) -> Sequence[SimNet]:
        return [net for net in self.at(to.host) if net.listener(to) is not None]

    def meeting(self, source: str, to: Endpoint) -> Iterator[Fault]:
        """The faults that fit; the caller counts a hit on those it lets happen."""
        for fault in self.faults:
            if fault.fits(source, to.host, to.port):
                yield fault

    def latency(self) -> float:
        return self.dice.uniform(*LATENCY_SECONDS)


class SimNet:
    """Implements `seams.Net` for one process. addresses: its machine's, IPv4 and IPv6."""

    def __init__(self, internet: Internet, addresses: Sequence[str], name: str = "") -> None:
        self.internet = internet
        self.name = name
        self.addresses = tuple(addresses)
        self.up = True
        self.dark = False
        self._listeners: dict[Endpoint, SimListener] = {}
        self._sockets: dict[Endpoint, SimDatagrams] = {}
        self._streams: dict[SimStream, SimStream] = {}
        internet.attach(self)

    # --- seams.Net -----------------------------------------------------------------------------

    async def connect(self, to: Endpoint, *, source: str = "") -> Stream:
        loop = asyncio.get_running_loop()
        local = self._source(to.host, source)
        met = list(self.internet.meeting(local, to))
        for fault in met:
            if fault.at_connect:
                fault.hits += 1
                await self._fail(fault.kind, to)
        await asyncio.sleep(self.internet.latency())
        nets = self.internet.at(to.host)
        if not nets:
            await self._fail("unreachable", to)
        if any(net.dark for net in nets):
            await self._fail("black-hole", to)
        willing = self.internet.listening(to)
        if not willing:
            await self._fail("refuse", to)
        there = willing[0] if len(willing) == 1 else self.internet.dice.choice(willing)
        listener = there.listener(to)
        assert listener is not None
        self._must_be_up()
        in_stream = [fault for fault in met if fault.in_stream]
        for fault in in_stream:
            fault.hits += 1
        ends = (Endpoint(local, self._free_port(local)), to)
        self.internet.connected[ends[0]] = self.name
        self.internet.served[ends[0]] = there.name
        client, server = joined(
            loop, self.internet.dice, ends, in_stream, lambda *piece: self.internet.tap(*piece)
        )
        self._remember(client, server)
        there._remember(server, client)
        listener.take(server)
        return client

    async def listen(self, at: Endpoint, handler: Handler) -> SimListener:
        self._must_be_up()
        if at.host not in (*self.addresses, "0.0.0.0", "::"):  # noqa: S104 (simulated)
            raise OSError(99, f"cannot assign requested address: {at}")
        at = Endpoint(at.host, at.port or self._free_port(at.host))
        if at in self._listeners:
            raise OSError(98, f"address already in use: {at}")
        listener = self._listeners[at] = SimListener(self, at, handler)
        return listener

    async def listen_unix(self, path: str, handler: Handler) -> SimListener:
        self._must_be_up()
        at = Endpoint(path, 0)  # no address has a slash, so no connection from outside meets it
        if at in self._listeners:
            raise OSError(98, f"address already in use: {path}")
        listener = self._listeners[at] = SimListener(self, at, handler)
        return listener

    async def connect_unix(self, path: str) -> Stream:
        """As a program of this machine. Raises FileNotFoundError where nobody listens."""
        await asyncio.sleep(0)
        listener = self._listeners.get(Endpoint(path, 0))
        if listener is None:
            raise FileNotFoundError(2, f"no such file or directory: {path}")
        client, server = joined(
            asyncio.get_running_loop(),
            self.internet.dice,
            (THIS_MACHINE, THIS_MACHINE),
            [],
            lambda *piece: self.internet.tap(*piece),
        )
        self._remember(client, server)
        self._remember(server, client)
        listener.take(server)
        return client

    async def datagrams(self, at: Endpoint) -> SimDatagrams:
        self._must_be_up()
        host = at.host
        if host in ("0.0.0.0", "::"):  # noqa: S104 (simulated)
            host = self._source(host, "")
        if host not in self.addresses:
            raise OSError(99, f"cannot assign requested address: {at}")
        at = Endpoint(host, at.port or self._free_port(at.host))
        if at in self._sockets:
            raise OSError(98, f"address already in use: {at}")
        bound = self._sockets[at] = SimDatagrams(self, at)
        return bound

    # --- life and death ------------------------------------------------------------------------

    def crash(self, *, dark: bool) -> None:
        """Everything here ends at once. The peers hear a reset, or, if `dark` (no power), nothing
        until `Internet.attach` has this machine's next life and `forget` was called."""
        self.up = False
        self.dark = dark
        for listener in list(self._listeners.values()):
            listener.drop()
        for bound in list(self._sockets.values()):
            bound.close()
        for stream in list(self._streams):
            stream.die()
        if not dark:
            self.forget()

    def forget(self) -> None:
        """The connections of this life are unknown here: their other ends are reset."""
        self.dark = False
        streams, self._streams = self._streams, {}
        for other in streams.values():
            other.hear_reset()

    # --- inside --------------------------------------------------------------------------------

    def listener(self, at: Endpoint) -> SimListener | None:
        wildcard = "::" if ":" in at.host else "0.0.0.0"  # noqa: S104 (simulated)
        return self._listeners.get(at) or self._listeners.get(Endpoint(wildcard, at.port))

    def bound(self, at: Endpoint) -> SimDatagrams | None:
        return self._sockets.get(at)

    def gone(self, at: Endpoint) -> None:
        self._listeners.pop(at, None)

    def closed(self, at: Endpoint) -> None:
        self._sockets.pop(at, None)

    def _remember(self, mine: SimStream, other: SimStream) -> None:
        self._streams = {stream: end for stream, end in self._streams.items() if not stream.over}
        self._streams[mine] = other

    async def _fail(self, kind: str, to: Endpoint) -> None:
        if kind == "black-hole":
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self.internet.latency())
        if kind == "refuse":
            raise ConnectionRefusedError(111, f"connection refused: {to}")
        raise OSError(113, f"no route to host: {to}")

    def _source(self, to: str, source: str) -> str:
        """The address we connect from. Raises OSError where we have none of the family."""
        if source:
            if source not in self.addresses:
                raise OSError(99, f"cannot assign requested address: {source!r}")
            return source
        try:
            version = ipaddress.ip_address(to).version
        except ValueError:
            raise OSError(f"not an IP address: {to!r}") from None
        for address in self.addresses:
            if ipaddress.ip_address(address).version == version:
                return address
        raise OSError(101, f"network is unreachable: {to}")

    def _free_port(self, address: str) -> int:
        """One that `address` never had: a port says which connection is meant."""
        given = self.internet.ports_given
        while True:
            port = self.internet.dice.randint(*EPHEMERAL_PORTS)
            if (address, port) not in given:
                given.add((address, port))
                return port

    def _must_be_up(self) -> None:
        if not self.up:
            raise OSError(100, "the machine is gone")


class SimListener:
    """Implements `seams.Listener`."""

    def __init__(self, net: SimNet, at: Endpoint, handler: Handler) -> None:
        self._net = net
        self._at = at
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        # Whoever connects, the session is this machine's and runs in the context of its listener.
        self._context = contextvars.copy_context()

    @property
    def endpoint(self) -> Endpoint:
        return self._at

    async def close(self) -> None:
        self.drop()

    def drop(self) -> None:
        self._net.gone(self._at)

    def take(self, stream: SimStream) -> None:
        task = self._loop.create_task(self._run(stream), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, stream: SimStream) -> None:
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


class SimDatagrams:
    """Implements `seams.Datagrams`."""

    def __init__(self, net: SimNet, at: Endpoint) -> None:
        self._net = net
        self._at = at
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._loop)

    @property
    def local(self) -> Endpoint:
        return self._at

    def send(self, data: bytes, to: Endpoint) -> None:
        if self._inbox.closed:
            return
        internet = self._net.internet
        delay = internet.latency()
        for fault in internet.meeting(self._at.host, to):
            if fault.kind == "lose" and internet.dice.random() < fault.chance:
                fault.hits += 1
                return
            if fault.kind == "delay" and internet.dice.random() < fault.chance:
                fault.hits += 1
                delay += fault.seconds
        self._loop.call_later(delay, self._deliver, bytes(data), to, context=WIRE)

    def _deliver(self, data: bytes, to: Endpoint) -> None:
        nets = self._net.internet.at(to.host)
        if not nets or any(net.dark for net in nets):
            return
        target = next((found for net in nets if (found := net.bound(to))), None)
        if target is not None:
            target.arrived(data, self._at)
        else:
            self._inbox.refuse(to)

    def arrived(self, data: bytes, source: Endpoint) -> None:
        self._inbox.put(data, source)

    async def receive(self) -> tuple[bytes, Endpoint]:
        return await self._inbox.receive()

    def close(self) -> None:
        self._net.closed(self._at)
        self._inbox.close()
