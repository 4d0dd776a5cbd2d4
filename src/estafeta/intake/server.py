"""Server: takes connections for one listener's desk and runs a session for each.

Promises: no more sessions than the limits allow, over the limit a client reads 421; a stop says 421
to those who come and to those who are idle, and waits for transactions that are open.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from estafeta.intake.limits import (
    SESSIONS_MAX,
    SESSIONS_PER_CLIENT_MAX,
    SESSIONS_PER_NETWORK_MAX,
)
from estafeta.intake.networks import Network, network_of, within
from estafeta.intake.role import Client
from estafeta.intake.session import Desk, Session
from estafeta.mail.outcome import Reply
from estafeta.wire import replies
from estafeta.world.seams import Stream


class Places:
    """Who is in at one listener, over all its services: a reload gives nobody a second place."""

    def __init__(self) -> None:
        self.taken = 0
        self.by_client: Counter[str] = Counter()
        self.by_network: Counter[str] = Counter()

    def take(self, host: str) -> None:
        self.taken += 1
        self.by_client[host] += 1
        self.by_network[network_of(host)] += 1

    def leave(self, host: str) -> None:
        self.taken -= 1
        for places, key in ((self.by_client, host), (self.by_network, network_of(host))):
            places[key] -= 1
            if not places[key]:
                del places[key]

    def taken_everywhere(self) -> int:
        """By the clients of all processes that share the listener."""
        return self.taken

    def of_client_everywhere(self, host: str) -> int:
        return self.by_client[host]

    def of_network_everywhere(self, network: str) -> int:
        return self.by_network[network]


class SmtpService:
    """Handles the streams of a listener. Networks: see the settings of the same names. Those that
    are exempt take as many places as their addresses may."""

    def __init__(
        self,
        desk: Desk,
        *,
        places: Places | None = None,
        relay_networks: Sequence[Network] = (),
        plaintext_auth_networks: Sequence[Network] = (),
        exempt_networks: Sequence[Network] = (),
        sessions_max: int = SESSIONS_MAX,
        per_client_max: int = SESSIONS_PER_CLIENT_MAX,
        per_network_max: int = SESSIONS_PER_NETWORK_MAX,
    ) -> None:
        self._desk = desk
        self._relay_networks = tuple(relay_networks)
        self._plaintext_auth_networks = tuple(plaintext_auth_networks)
        self._exempt_networks = tuple(exempt_networks)
        self._sessions_max = sessions_max
        self._per_client_max = per_client_max
        self._per_network_max = per_network_max
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._places = places or Places()
        self._stopping = False

    async def serve(self, stream: Stream) -> None:
        """The handler for `world.net.listen`."""
        host = stream.peer.host
        exempt = within(host, self._exempt_networks)
        refusal = self._refusal(host, exempt)
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
            exempt=exempt,
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

    def _refusal(self, host: str, exempt: bool) -> Reply | None:
        name, load, places = self._desk.profile.host_name, self._desk.load, self._places
        if self._stopping:
            return replies.SHUTTING_DOWN(host=name)
        if load is not None and load.busy:
            return replies.OVERLOADED(host=name)
        if places.taken_everywhere() >= self._sessions_max:
            return replies.TOO_BUSY(host=name)
        if places.of_client_everywhere(host) >= self._per_client_max:
            return replies.TOO_MANY_CONNECTIONS(client=host)
        if exempt:
            return None
        network = network_of(host)
        if places.of_network_everywhere(network) >= self._per_network_max:
            return replies.TOO_MANY_CONNECTIONS(client=network)
        return None
