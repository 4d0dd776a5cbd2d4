"""Installation: a whole estafeta on a simulated machine, through crashes, on the same files.

The program is the one that `office.assemble` puts together for a real machine; only its world is
simulated. `main` is one life: it opens the store, makes its people if they are not there yet, opens
its doors and runs until the life ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import apsw
from argon2 import PasswordHasher

from estafeta.mail.protocols import NoMeter
from estafeta.office.assemble import Installation, Outside
from estafeta.office.config import Config, Dns, Listener, Queue, Relay, Server, Smtp
from estafeta.office.doors import Latch
from estafeta.office.service import Component
from estafeta.office.upkeep import Upkeep
from estafeta.store import accounts
from estafeta.store.credentials import Password
from estafeta.store.engine import StoreError, Tx
from estafeta.store.open import open_store
from estafeta.store.sqlite import SqliteStore
from estafeta.wire.sasl import scram_keys
from estafeta.world.seams import Endpoint

from .tls import SimClientTls, sim_server_tls
from .world import SimMachine

PASSWORD = "correct horse"  # noqa: S105 (of everybody in the simulated world)
NETWORKS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
"""Documentation networks (RFC 5737, RFC 3849): the simulated internet lies in them."""

RETRY = (60.0, 120.0, 240.0, 480.0)
REPEAT = 600.0
GIVE_UP_SECONDS = 2400.0
"""The preset intervals of the simulated installations: short, so that a run ends."""


STOP_SECONDS = 30.0
"""A clean stop waits so long for what has begun."""

PAUSE_SECONDS = 3.0
"""From a clean stop to the next start."""

_DOORS: tuple[tuple[Literal["mx", "submission", "imap"], int], ...] = (
    ("mx", 25),
    ("submission", 587),
    ("imap", 143),
)


@dataclass(frozen=True, slots=True)
class Domain:
    """Who lives at an installation. aliases: (address, target)."""

    name: str
    people: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()

    @property
    def host(self) -> str:
        return f"mx.{self.name}"


@lru_cache(maxsize=1)
def cheap_password() -> Password:
    """Of PASSWORD, with parameters that cost nothing: logins are not what is simulated."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return Password(
        hasher.hash(PASSWORD, salt=b"0123456789abcdef"), scram_keys(PASSWORD, b"salt", 1)
    )


class SimInstallation:
    """One installation on one machine. dns: resolvers it asks. synchronous: FULL, but where a
    test shows what NORMAL loses."""

    def __init__(
        self,
        domain: Domain,
        machine: SimMachine,
        addresses: Sequence[str],
        dns: Sequence[Endpoint],
        *,
        synchronous: str = "FULL",
    ) -> None:
        self.domain = domain
        self.machine = machine
        self.addresses = tuple(addresses)
        self.store: SqliteStore | None = None
        self.installation: Installation | None = None
        self.serving = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._dns = tuple(dns)
        self._synchronous = synchronous

    async def main(self) -> None:
        """One life. To be started on the machine."""
        world = self.machine.world
        store = await open_store(
            f"sqlite://{self.machine.root}/estafeta.db",
            world,
            inline=True,
            synchronous=self._synchronous,
        )
        self.store = store
        await store.run(self._people)
        installation = Installation(self._config(), world, store, self._outside(), NoMeter())
        self.installation = installation
        upkeep = Upkeep(store, installation.bodies, world.clock)
        components: list[Component] = [
            upkeep,
            Latch(installation.doors),
            installation.sender,
            installation.doors,
        ]
        for component in components:
            await component.start()
        self.serving.set()
        await self._stop_asked.wait()
        await self._stop(components)

    async def _stop(self, components: Sequence[Component]) -> None:
        """As `office.service` stops them."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_SECONDS
        for component in components:
            await component.drain()
        for component in reversed(components):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(max(deadline, loop.time() + 1)):
                    await component.stop()

    def stop(self) -> None:
        """A clean stop, as of SIGTERM; after it `run` begins the next life on the same files.

        `serving` is set again when that serves.
        """
        self.serving.clear()
        self._stop_asked.set()

    def bury(self) -> None:
        """After the end of a life: what it may still hold open is closed without a word."""
        self.serving.clear()
        if self.store is not None:
            self.store.abandon()
        self.store = self.installation = None

    async def run(self) -> None:
        """Lives, one after another, until cancelled. Deaths come from outside; `restart` too."""
        while True:
            self._stop_asked.clear()
            life = self.machine.start(self.main())
            death = asyncio.ensure_future(self.machine.died())
            await asyncio.wait((life, death), return_when=asyncio.FIRST_COMPLETED)
            if not death.done():
                death.cancel()
                # A full disk may keep it from starting or from closing its files in order; who
                # watches over it starts it again. Anything else is raised.
                with contextlib.suppress(StoreError, apsw.FullError, apsw.IOError):
                    await life
                self.bury()
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.bury()
            await self.machine.revived()

    def _config(self) -> Config:
        host = self.domain.host
        return Config(
            server=Server(
                hostname=host,
                data_dir=str(self.machine.root),
                postmaster=f"postmaster@{self.domain.name}",
            ),
            listener=[
                Listener(role=role, address=address, port=port, tls="starttls")
                for role, port in _DOORS
                for address in self.addresses
            ],
            smtp=Smtp(plaintext_auth_networks=list(NETWORKS)),
            dns=Dns(servers=[str(server) for server in self._dns], timeout=3.0),
            relay=Relay(hello_name=host, allow_networks=list(NETWORKS)),
            queue=Queue(
                retry=list(RETRY), repeat=REPEAT, give_up_after=GIVE_UP_SECONDS, concurrency=20
            ),
        )

    def _outside(self) -> Outside:
        return Outside(
            dns_servers=self._dns,
            tls_server=sim_server_tls(self.domain.host),
            tls_client=SimClientTls(verify=False),
            tls_verifying=SimClientTls(verify=True),
        )

    def _people(self, tx: Tx) -> None:
        domain = self.domain
        if accounts.domain(tx, domain.name) is not None:
            return
        accounts.add_domain(tx, domain.name, 0)
        for person in domain.people:
            accounts.add_account(tx, f"{person}@{domain.name}", 0, password=cheap_password())
        for address, target in domain.aliases:
            accounts.add_alias(tx, address, target)
