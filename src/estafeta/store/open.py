"""Open: from the URL of the configuration to a store."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from estafeta.store.engine import Store, StoreError
from estafeta.store.move.mark import refuse_half_moved
from estafeta.store.sqlite import SqliteStore, open_sqlite
from estafeta.world.seams import World

POSTGRES_SCHEMES = ("postgresql", "postgres")
_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):[^/?#]*(?=@)|(?<=[?&]password=)[^&#]*")


async def open_store(
    url: str, world: World, *, inline: bool = False, moving: bool = False
) -> Store:
    """`sqlite:///absolute/path/estafeta.db`, whose folder is made, or
    `postgresql://user@host:port/database?…` as libpq takes it, whose database is there.

    inline: without threads, which SQLite alone can do. moving: also one that a move has only half
    filled, which nobody else may use. Raises StoreError, one sentence.
    """
    store = await _open(url, world, inline)
    if not moving:
        try:
            await refuse_half_moved(store, shown_url(url))
        except StoreError:
            await store.close()
            raise
    return store


async def _open(url: str, world: World, inline: bool) -> Store:
    if not is_postgres(url):
        return open_file(url, world, inline=inline)
    need_psycopg(url)
    from estafeta.store.postgres import open_postgres

    return await asyncio.to_thread(open_postgres, url, shown_url(url), world)


def need_psycopg(url: str) -> None:
    """Raises StoreError where PostgreSQL's extra is not installed."""
    try:
        importlib.import_module("psycopg")
    except ImportError as error:
        raise StoreError(
            f"the store {shown_url(url)} needs psycopg: pip install 'estafeta[postgres]'"
        ) from error


def open_file(
    url: str,
    world: World,
    *,
    inline: bool = False,
    vfs: str | None = None,
    synchronous: str = "FULL",
) -> SqliteStore:
    """A store of SQLite; for the options see `open_sqlite`. Raises StoreError."""
    path = store_path(url)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder of the store {path} cannot be made: {error}") from error
    if vfs is None:
        # Its owner's alone, whatever the umask; SQLite gives the WAL the same mode. What stands
        # in the way of it, SQLite meets too, and says better.
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    return open_sqlite(path, clock=world.clock, inline=inline, vfs=vfs, synchronous=synchronous)


def is_postgres(url: str) -> bool:
    """Whether it names a database that other machines may serve as well."""
    return urlsplit(url).scheme in POSTGRES_SCHEMES


def shown_url(url: str) -> str:
    """The URL without a password, for people to see."""
    return _PASSWORD.sub(lambda m: f"{m[1]}:***" if m[1] is not None else "***", url)


def why_unreachable(error: Exception) -> str:
    """One line of what libpq says in several, some for each address it tried."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    fatal = next((line for line in lines if "FATAL" in line), None)
    return fatal or (lines[0] if lines else "no reason given")


def store_path(url: str) -> Path:
    """The main file of a store of SQLite. Raises StoreError."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "sqlite" or parts.netloc or not path.is_absolute():
        raise StoreError(
            f"the store {shown_url(url)!r} is not understood: sqlite:///absolute/path or"
            " postgresql://user@host/database expected"
        )
    return path
