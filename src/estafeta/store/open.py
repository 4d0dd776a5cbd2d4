"""Open: from the URL of the configuration to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from estafeta.store.engine import StoreError
from estafeta.store.sqlite import SqliteStore, open_sqlite
from estafeta.world.seams import World


async def open_store(
    url: str,
    world: World,
    *,
    inline: bool = False,
    vfs: str | None = None,
    synchronous: str = "FULL",
) -> SqliteStore:
    """`sqlite:///absolute/path/estafeta.db`; the folder is made. Raises StoreError."""
    path = store_path(url)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder of the store {path} cannot be made: {error}") from error
    return open_sqlite(path, clock=world.clock, inline=inline, vfs=vfs, synchronous=synchronous)


def store_path(url: str) -> Path:
    """The main file. Raises StoreError."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "sqlite" or parts.netloc or not path.is_absolute():
        raise StoreError(f"the store {url!r} is not understood: sqlite:///absolute/path expected")
    return path
