"""Stores for tests: every engine there is, a clock that stands still, ready rows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.peers import postgres

from estafeta.mail.envelope import Recipient
from estafeta.store import accounts, bodies, ledger, mailboxes, messages
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids
from estafeta.store.open import open_store, shown_url
from estafeta.store.postgres import open_postgres
from estafeta.store.postgres.inline import InlinePostgresStore
from estafeta.store.postgres.opening import open_inline
from estafeta.store.rows import Acceptance, Fate, Stored
from estafeta.store.sqlite import open_sqlite
from estafeta.world.disk import RealDisk
from estafeta.world.seams import World

FILES = ("sqlite", "sqlite-inline")
ENGINES = (*FILES, "postgresql")
usual_engine = "sqlite-inline"
"""Of a Stand that is not told which; tests/store and others run with each in turn."""
NOON = 1_795_000_000_000  # ms; 2026-11-18 10:26:40 UTC


@asynccontextmanager
async def usual_store(folder: Path, world: World) -> AsyncIterator[Any]:
    """An open store of the usual engine with everything on the loop; closed at the end."""
    url = postgres.fresh_database() if usual_engine == "postgresql" else ""
    if url:
        store: Any = open_inline(url, shown_url(url), world)
    else:
        store = await open_store(f"sqlite://{folder}/estafeta.db", world, inline=True)
    try:
        yield store
    finally:
        await store.close()
        if url:
            postgres.drop_database(url)


async def drained(store: Any) -> None:
    """Returns once no unit of a `usual_store` is on its way."""
    await (store if isinstance(store, InlinePostgresStore) else store._writer).drained()


class StandingClock:
    """Time of day that moves only when told."""

    def __init__(self, ms: int = NOON) -> None:
        self.ms = ms

    def now(self) -> float:
        return self.ms / 1000


TEXT = messages.Text(
    envelope=b"(envelope)",
    structure=b"(structure)",
    basic=b"(basic)",
    parts=b"parts",
    message_id="<one@x.example>",
    subject="A subject",
    preview="The beginning",
)


class Stand:
    """A store in a folder with what it takes to fill it."""

    def __init__(self, folder: Path, engine: str = "", **options: Any) -> None:
        self.folder = folder
        self.engine = engine or usual_engine
        self.url = postgres.fresh_database() if self.engine == "postgresql" else ""
        self.options = options
        self.clock = StandingClock()
        self.dice = random.Random(7)
        self.disk = RealDisk(folder / "files")
        self.world = World(self.clock, self.dice, None, self.disk, None)  # type: ignore[arg-type]
        self.ids = Ids(self.clock, self.dice)
        self.bodies = bodies.Bodies(self.disk, self.ids)
        self.store = self.open()

    @property
    def path(self) -> Path:
        return self.folder / "estafeta.db"

    def open(self) -> Any:
        """One more store over the same file or database."""
        if self.url:
            return open_postgres(self.url, shown_url(self.url), self.world)
        inline = self.engine == "sqlite-inline"
        return open_sqlite(self.path, clock=self.clock, inline=inline, **self.options)

    def clear(self) -> None:
        """When every store over it is closed."""
        if self.url:
            postgres.drop_database(self.url)

    async def run(self, unit: Callable[[Tx], Any], accounts: Sequence[int] = ()) -> Any:
        return await self.store.run(unit, accounts=accounts)

    async def read(self, unit: Callable[[Tx], Any]) -> Any:
        return await self.store.read(unit)

    async def account(self, address: str = "ana@a.example", **given: Any) -> int:
        def unit(tx: Tx) -> int:
            domain = address.rpartition("@")[2]
            if accounts.domain(tx, domain) is None:
                accounts.add_domain(tx, domain, self.clock.ms)
            return accounts.add_account(tx, address, self.clock.ms, **given).id

        return int(await self.run(unit))

    async def inbox(self, account: int) -> int:
        found = await self.read(lambda tx: mailboxes.mailbox_by_name(tx, account, "INBOX"))
        return int(found.id)

    async def append(
        self, account: int, mailbox: int, data: bytes = b"Subject: x\r\n\r\nhello\r\n", **given: Any
    ) -> messages.Placed:
        body = await self.bodies.from_bytes(data)

        def unit(tx: Tx) -> messages.Placed:
            bodies.put(tx, body)
            prefix = given.pop("prefix", b"")
            return messages.append(
                tx,
                account,
                mailbox,
                body=body,
                size=len(prefix) + len(data),
                prefix=prefix,
                text=TEXT,
                received=self.clock.ms,
                **given,
            )

        placed: messages.Placed = await self.run(unit)
        return placed

    async def deliver(
        self,
        account: int,
        mailbox: int,
        *,
        data: bytes = b"Subject: x\r\n\r\nhello\r\n",
        message_id: str = "<one@x.example>",
        path: str = "me@x.example",
        address: str = "ana@a.example",
    ) -> tuple[Acceptance, messages.Placed]:
        """As an inbound message for one local recipient."""
        body = await self.bodies.from_bytes(data)
        row = Acceptance(
            self.ids.next(),
            self.clock.ms,
            "smtp",
            path,
            body.id,
            len(data),
            1,
            message_id=message_id,
        )

        def unit(tx: Tx) -> messages.Placed:
            bodies.put(tx, body)
            placed = messages.append(
                tx,
                account,
                mailbox,
                body=body,
                size=len(data),
                prefix=b"",
                text=TEXT,
                received=self.clock.ms,
            )
            fate = Stored(account, mailbox, placed.uid)
            ledger.open_acceptance(tx, row, [Recipient(address)], [fate])
            return placed

        return row, await self.run(unit)

    async def accept(
        self, *recipients: tuple[str, Fate | None], queued: bool = True, **given: Any
    ) -> Acceptance:
        """As a submitted message; recipients without a fate get a queue row."""
        body = await self.bodies.from_bytes(b"Subject: out\r\n\r\nbye\r\n")
        given = {"origin": "submission", "reverse_path": "ana@a.example", "body": body.id} | given
        row = Acceptance(
            id=self.ids.next(),
            at=self.clock.ms,
            size=body.size,
            recipients=len(recipients),
            **given,
        )

        def unit(tx: Tx) -> None:
            bodies.put(tx, body)
            ledger.open_acceptance(
                tx, row, [Recipient(a) for a, _ in recipients], [fate for _, fate in recipients]
            )
            for n, (address, fate) in enumerate(recipients):
                if fate is None and queued:
                    domain = address.rpartition("@")[2]
                    tx.run(
                        "INSERT INTO queue (acceptance, n, destination, due) VALUES (?, ?, ?, ?)",
                        (row.id, n, domain, row.at),
                    )
                    tx.run(
                        "INSERT INTO destination (name, due) VALUES (?, ?) ON CONFLICT DO NOTHING",
                        (domain, row.at),
                    )

        await self.run(unit)
        return row


def with_stand(
    folder: Path,
    work: Callable[[Stand], Awaitable[None]],
    engine: str = "",
    **options: Any,
) -> None:
    """Runs `work` on a fresh store and closes it. engine: "" for the usual one."""

    async def whole() -> None:
        stand = Stand(folder, engine, **options)
        try:
            await work(stand)
        finally:
            await stand.store.close()
            stand.clear()

    asyncio.run(whole())
