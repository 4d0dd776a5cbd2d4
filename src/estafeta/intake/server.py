"""Server: takes connections for one listener's desk and runs a session for each.

Promises: no more sessions than the limits allow, over the limit a client reads 421; a stop says 421
to those who come and to those who are idle, and waits for transactions that are open.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Sequence

from estafeta.intake.limits import SESSIONS_MAX, SESSIONS_PER_CLIENT_MAX
from estafeta.intake.role import Client
from estafeta.intake.session import Desk, Session
from estafeta.mail.outcome import Reply
from estafeta.wire import replies
from estafeta.world.seams import Stream

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Places:
    """Who is in at one listener, over all its services: a reload gives nobody a second place."""

    def __init__(self) -> None:
        self.taken = 0
        self.by_client: Counter[str] = Counter()

    def take(self, host: str) -> None:
        self.taken += 1
        self.by_client[host] += 1

    def leave(self, host: str) -> None:
        self.taken -= 1
        self.by_client[host] -= 1
        if not self.by_client[host]:
            del self.by_client[host]

    def taken_everywhere(self) -> int:
        """By the clients of all processes that share the listener."""
        return self.taken

    def of_client_everywhere(self, host: str) -> int:
        return self.by_client[host]


class SmtpService:
    """Handles the streams of a listener. Networks: see the settings of the same names."""

    def __init__(
        self,
        desk: Desk,
        *,
        places: Places | None = None,
        relay_networks: Sequence[Network] = (),
        plaintext_auth_networks: Sequence[Network] = (),
        sessions_max: int = SESSIONS_MAX,
        per_client_max: int = SESSIONS_PER_CLIENT_MAX,
    ) -> None:
        self._desk = desk
        self._relay_networks = tuple(relay_networks)
        self._plaintext_auth_networks = tuple(plaintext_auth_networks)
        self._sessions_max = sessions_max
        self._per_client_max = per_client_max
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._places = places or Places()
        self._stopping = False

    async def serve(self, stream: Stream) -> None:
        """The handler for `world.net.listen`."""
        host = stream.peer.host
        refusal = self._refusal(host)
        if refusal is not None:
            self._desk.meter.count(
                "estafeta_smtp_sessions_total", role=self._desk.role.name, result="refused"
            )
            stream.write(refusal.encode())
            await stream.close()
            return
        client = Client(
            stream.peer,
            trusted=within(host, self._relay_networks),
            plaintext_auth=within(host, self._plaintext_auth_networks),
        )
        session = Session(self._desk, stream, client)
        task = asyncio.current_task()
        assert task is not None
        self._sessions[session] = task
        self._places.take(host)
        self._desk.meter.count(
            "estafeta_smtp_sessions_total", role=self._desk.role.name, result="served"
        )
        try:
            await session.run()
        finally:
            del self._sessions[session]
            self._places.leave(host)

    @property
    def empty(self) -> bool:
        return not self._sessions

    def drain(self) -> None:
        """No further transaction: 421 to who comes and to who is idle."""
        self._stopping = True
        for session in list(self._sessions):
            session.stop()

    async def stop(self) -> None:
        """Returns when all sessions have ended; cancelled, it cuts those that have not."""
        self.drain()
        tasks = list(self._sessions.values())
        if not tasks:
            return
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise

    def _refusal(self, host: str) -> Reply | None:
        name = self._desk.profile.host_name
        if self._stopping:
            return replies.SHUTTING_DOWN(host=name)
        if self._places.taken_everywhere() >= self._sessions_max:
            return replies.TOO_BUSY(host=name)
        if self._places.of_client_everywhere(host) >= self._per_client_max:
            return replies.TOO_MANY_CONNECTIONS(client=host)
        return None


def within(host: str, networks: Sequence[Network]) -> bool:
    """Whether an IP address lies in one of the networks; an IPv4 one in its IPv6 form too."""
    if not networks:
        return False
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
