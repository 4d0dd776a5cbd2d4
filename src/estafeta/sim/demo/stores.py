"""Stores: where the demo's installations keep their mail: files of SQLite, or PostgreSQL.

With `--store postgresql` alone a private server is started, from the programs found on the machine;
with the URL of a database, each installation gets a database of its own on that server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from estafeta.sim.demo.places import Place
from estafeta.sim.postgres import NoPostgres, PostgresServer, create_database, find_programs
from estafeta.store.open import is_postgres


class Wish(msgspec.Struct, frozen=True):
    """store: "sqlite", "postgresql" or a URL of PostgreSQL. programs: those of PostgreSQL, where
    they are not found by themselves. keep: the demo's folder will be used again."""

    store: str
    programs: Path | None
    keep: bool


class Stores(Protocol):
    async def url(self, place: Place, data: Path) -> str:
        """Of the store of one installation; data: its folder. Raises NoPostgres."""
        ...


class Files:
    async def url(self, place: Place, data: Path) -> str:
        return f"sqlite://{quote(str(data / 'estafeta.db'))}"


class Databases:
    """server: URL of a database on it, whose user may make others."""

    def __init__(self, server: str) -> None:
        self._server = server

    async def url(self, place: Place, data: Path) -> str:
        name = f"estafeta-demo-{place.domain}"
        await asyncio.to_thread(create_database, self._server, name)
        return urlunsplit(urlsplit(self._server)._replace(path=f"/{name}"))


@asynccontextmanager
async def opened(wish: Wish, folder: Path) -> AsyncIterator[Stores]:
    """folder: the demo's. Raises NoPostgres."""
    if wish.store == "sqlite":
        yield Files()
    elif wish.store == "postgresql":
        data = folder / "postgresql" if wish.keep else None
        server = PostgresServer(find_programs(wish.programs), data=data)
        try:
            await asyncio.to_thread(server.start)
            yield Databases(server.url("postgres"))
        finally:
            await asyncio.to_thread(server.stop)
    elif is_postgres(wish.store):
        yield Databases(wish.store)
    else:
        raise NoPostgres(
            f"the demo does not know the store {wish.store!r}: sqlite, postgresql or a URL such as"
            " postgresql://user@host/database expected"
        )
