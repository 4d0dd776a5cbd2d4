"""Installation: a whole estafeta on a simulated machine, through crashes, on the same files.

The program is the one that `office.assemble` puts together for a real machine; only its world is
simulated. Each worker's `main` is one life: it opens the store, makes the people if they are not
there yet, opens its doors and runs until the life ends. What `estafeta serve` does as supervisor of
its workers is done here from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import apsw
from argon2 import PasswordHasher

from estafeta.mail.protocols import NoMeter
from estafeta.office.assemble import Installation, Outside
from estafeta.office.config import Bodies as BodiesSetting
from estafeta.office.config import Config, Dns, Listener, Relay, Server, Smtp
from estafeta.office.config import Queue as QueueSetting
from estafeta.office.doors import Latch
from estafeta.office.self_check import SelfCheck
from estafeta.office.service import Component
from estafeta.office.stopped import StoppedSenders
from estafeta.office.upkeep import Upkeep
from estafeta.queue.holders import Life
from estafeta.queue.runner import Queue
from estafeta.store import accounts
from estafeta.store.bodies import Bodies
from estafeta.store.credentials import Password
from estafeta.store.engine import StoreClosed, StoreError, Tx
from estafeta.store.limits import FOREIGN_COMMIT_POLL_SECONDS
from estafeta.store.sqlite import SqliteStore, open_sqlite
from estafeta.wire.sasl import scram_keys
from estafeta.world.seams import Endpoint

from .process import SimProcess, life_at_work
from .stores import SimStore, Topics, open_database
from .tls import SimClientTls, sim_server_tls
from .world import SimMachine

PASSWORD = "correct horse"  # noqa: S105 (of everybody in the simulated world)
CACHE_OCTETS = 700_000  # holds two large letters
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

NOTIFY_SECONDS = (0.0005, 0.02)
"""From a COMMIT in PostgreSQL to the other workers' hearing of it."""

LOOKS = 3
"""After a commit another worker looks so often, each 20 ms: it cannot in the middle of its own."""

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
    """Of `domain`, on `machine`, a worker in each of its processes. addresses: it listens there.

    dice: of what several workers have besides; not used where there is one. database: URL of one in
    PostgreSQL, with its schema; "": the store is a file of the machine.
    """

    def __init__(
        self,
        domain: Domain,
        machine: SimMachine,
        addresses: Sequence[str],
        dns: Sequence[Endpoint],
        dice: random.Random,
        *,
        synchronous: str = "FULL",
        database: str = "",
    ) -> None:
        self.domain = domain
        self.machine = machine
        self.addresses = tuple(addresses)
        self.dns = tuple(dns)
        self.dice = dice
        self.synchronous = synchronous
        self.database = database
        self.serving = asyncio.Event()
        self.stopping = False
        self._starts = 0
        self._lives = 0
        self._dead: list[int] = []  # lives of workers that nobody has buried yet
        self.workers = [SimWorker(self, process) for process in machine.processes]

    @property
    def there(self) -> SimWorker | None:
        """A worker whose store is open."""
        return next((each for each in self.workers if each.store is not None), None)

    @property
    def store(self) -> SimStore | None:
        return self.there.store if self.there is not None else None

    @property
    def bodies(self) -> Bodies:
        assert self.there is not None
        assert self.there.installation is not None
        return self.there.installation.bodies

    def stop(self) -> None:
        """A clean stop, as of SIGTERM; after it `run` begins the next life on the same files.

        `serving` is set again when that serves.
        """
        self.stopping = True
        self.serving.clear()
        for worker in self.workers:
            worker.stop()

    async def run(self) -> None:
        """Lives, one after another, until cancelled. Deaths come from outside; `restart` too."""
        while True:
            self.stopping = False
            self._starts += 1
            self._dead.clear()  # a new start takes back what former ones held
            await asyncio.gather(*(worker.run() for worker in self.workers))
            if self.machine.up:
                await asyncio.sleep(PAUSE_SECONDS)
            if not self.machine.up:
                await self.machine.revived()

    def new_life(self) -> Life:
        """Of a worker that is about to begin."""
        self._lives += 1
        return Life(node=self.machine.name, run=self._starts, life=self._lives)

    def ended(self, life: Life) -> None:
        """So has a worker, however."""
        self.tell_serving()
        self._dead.append(life.life)
        self._bury_dead()

    def tell_serving(self) -> None:
        """A worker has begun to serve, or has ended."""
        if not self.stopping and all(worker.serving.is_set() for worker in self.workers):
            self.serving.set()
        else:
            self.serving.clear()
        self._bury_dead()

    def _bury_dead(self) -> None:
        """As `office.crew.supervisor` does: one that lives gives back what they held."""
        living = next((worker for worker in self.workers if worker.serving.is_set()), None)
        if living is not None and self._dead:
            living.bury(list(self._dead))

    def buried(self, lives: Sequence[int]) -> None:
        self._dead = [life for life in self._dead if life not in lives]

    def open(self, worker: SimWorker) -> SimStore:
        """At the start of a worker's life. What one writes, the others hear of a little later."""
        world, power = worker.process.world, self.machine.power
        if self.database:
            store = open_database(
                self.database,
                world,
                strike=lambda: power.before("write", "postgresql"),
                on_hints=lambda topics: self._rang(worker, topics),
            )
            worker.hear = store.hear
            return store
        if len(self.workers) > 1:
            power.on_sync = self._synced
        path = self.machine.root / "estafeta.db"
        return open_sqlite(path, clock=world.clock, inline=True, synchronous=self.synchronous)

    def _rang(self, by: SimWorker, topics: Topics) -> None:
        """In place of NOTIFY."""
        for worker in self.workers:
            if worker is not by:
                worker.hear_soon(topics, self.dice.uniform(*NOTIFY_SECONDS))

    def _synced(self, name: str) -> None:
        """A COMMIT ends by a sync of the log."""
        if name.endswith("-wal"):
            life = life_at_work()
            for worker in self.workers:
                if worker.process.life is not life:
                    worker.look_soon(self.dice.uniform(0, FOREIGN_COMMIT_POLL_SECONDS))

    def config(self) -> Config:
        host = self.domain.host
        return Config(
            server=Server(
                hostname=host,
                workers=len(self.workers),
                data_dir=str(self.machine.root),
                postmaster=f"postmaster@{self.domain.name}",
            ),
            listener=[
                Listener(role=role, address=address, port=port, tls="starttls")
                for role, port in _DOORS
                for address in self.addresses
            ],
            smtp=Smtp(plaintext_auth_networks=list(NETWORKS)),
            bodies=BodiesSetting(
                large="files" if self.machine.bucket is None else "s3", cache_max=CACHE_OCTETS
            ),
            dns=Dns(servers=[str(server) for server in self.dns], timeout=3.0),
            relay=Relay(hello_name=host, allow_networks=list(NETWORKS)),
            queue=QueueSetting(
                retry=list(RETRY), repeat=REPEAT, give_up_after=GIVE_UP_SECONDS, concurrency=20
            ),
        )

    def outside(self) -> Outside:
        return Outside(
            dns_servers=self.dns,
            tls_server=sim_server_tls(self.domain.host),
            tls_client=SimClientTls(verify=False),
            tls_verifying=SimClientTls(verify=True),
        )

    def people(self, tx: Tx) -> None:
        domain = self.domain
        if accounts.domain(tx, domain.name) is not None:
            return
        accounts.add_domain(tx, domain.name, 0)
        for n, person in enumerate(domain.people):
            address = f"{person}@{domain.name}"
            made = accounts.add_account(tx, address, 0, password=cheap_password())
            # Of every other one the audits see what becomes of each letter's copy.
            accounts.set_account(tx, made.id, save_sent=n % 2 == 0)
        for address, target in domain.aliases:
            accounts.add_alias(tx, address, target)


class SimWorker:
    """One worker: a process that serves, through its deaths."""

    def __init__(self, of: SimInstallation, process: SimProcess) -> None:
        self._of = of
        self.process = process
        self.store: SimStore | None = None
        self.hear: Callable[[Topics], None] | None = None  # where the store does not look itself
        self.installation: Installation | None = None
        self.serving = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._life: Life | None = None  # so it stays where it works alone
        self._burials: set[asyncio.Task[None]] = set()
        self._looks = 0
        self._context = contextvars.copy_context()

    async def run(self) -> None:
        """Until the installation is stopped or its machine dies. Dead, it waits for its `restart`;
        one that ended by itself begins again."""
        self._stop_asked.clear()
        machine = self.process.machine
        deaths = machine.deaths
        if not self.process.up:
            self.process.restart()
        while True:
            begun = self.process.life
            life = self.process.start(self.main())
            await _first(life, self.process.died())
            if not begun.up:
                life.add_done_callback(_ignore)
            else:
                # A full disk may keep it from starting or from closing its files in order; who
                # watches over it starts it again. Anything else is raised.
                with contextlib.suppress(StoreError, apsw.FullError, apsw.IOError):
                    await life
            self._bury()
            if begun.up:
                self.process.exit()
                if not self._of.stopping:
                    await asyncio.sleep(PAUSE_SECONDS)
            if not self.process.up and machine.up:
                await _first(self.process.revived(), machine.died(), self._stop_asked.wait())
            if self._of.stopping or machine.deaths != deaths:
                return

    async def main(self) -> None:
        """One life. To be started in its process."""
        of, world = self._of, self.process.world
        self._context = contextvars.copy_context()
        self._life = of.new_life() if len(of.workers) > 1 else None
        store = self.store = of.open(self)
        await store.run(of.people)
        installation = Installation(
            of.config(), world, store, of.outside(), NoMeter(), life=self._life
        )
        self.installation = installation
        upkeep = Upkeep(store, installation.bodies, world.clock)
        components: list[Component] = [
            upkeep,
            installation.receiving,
            Latch(installation.doors),
            installation.sender,
            installation.doors,
            SelfCheck(installation, NoMeter()),
            StoppedSenders(installation),
        ]
        for component in components:
            await component.start()
        self.serving.set()
        of.tell_serving()
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
        self._stop_asked.set()

    def bury(self, lives: Sequence[int]) -> None:
        """These workers are dead: gives back what they held."""
        assert self.installation is not None
        work = self._give_back(self.installation.queue, lives)
        loop = asyncio.get_running_loop()
        task = loop.create_task(work, context=self._context.copy())
        # Of a worker that dies meanwhile it never ends; what is lost while it waits is an error.
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def _give_back(self, queue: Queue, lives: Sequence[int]) -> None:
        with contextlib.suppress(StoreClosed):
            await queue.bury(lives)
            self._of.buried(lives)

    def look_soon(self, seconds: float) -> None:
        """In place of a look each 20 ms: those that may see what was just committed."""
        if not isinstance(self.store, SqliteStore):
            return
        if not self._looks:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._look, self.store, context=self._context)
        self._looks = LOOKS

    def hear_soon(self, topics: Topics, seconds: float) -> None:
        if self.hear is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self.hear, topics, context=self._context)

    def _look(self, store: SqliteStore) -> None:
        store.look()
        self._looks -= 1
        if self._looks and store is self.store:
            asyncio.get_running_loop().call_later(FOREIGN_COMMIT_POLL_SECONDS, self._look, store)
        else:
            self._looks = 0

    def _bury(self) -> None:
        """After the end of a life: what it may still hold open is closed without a word."""
        self.serving.clear()
        if self._life is not None:
            self._of.ended(self._life)
        else:
            self._of.tell_serving()
        if self.store is not None:
            self.store.abandon()
        self.store = self.installation = self.hear = None
        self._looks = 0


def _ignore(ended: asyncio.Task[None]) -> None:
    """What a process raised that is dead is nobody's matter."""
    if not ended.cancelled():
        ended.exception()


async def _first(*works: Awaitable[object]) -> None:
    """Returns when one of them is done; the others are left, but for those that only waited."""
    futures = [asyncio.ensure_future(work) for work in works]
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    for future, work in zip(futures, works, strict=True):
        if future is not work:
            future.cancel()
