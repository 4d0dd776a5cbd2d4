"""Stores of simulated installations: everything on the loop, on either engine.

psycopg is imported only where a run asks for PostgreSQL.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from estafeta.store.engine import Store
from estafeta.store.open import shown_url
from estafeta.world.seams import World

from .postgres import PostgresServer, find_programs

if TYPE_CHECKING:
    from estafeta.store.postgres.inline import InlinePostgresStore

Topics = Iterable[tuple[str, int]]


class SimStore(Store, Protocol):
    def abandon(self) -> None:
        """As the death of its process: no unit is answered any more, nothing is written."""
        ...


def open_database(
    url: str,
    world: World,
    *,
    strike: Callable[[], None],
    on_hints: Callable[[Topics], None],
) -> InlinePostgresStore:
    """strike: see `MortalLine`; on_hints: see `InlinePostgresStore`. Raises StoreError."""
    from estafeta.store.postgres.opening import open_inline

    from .mortal import MortalLine

    store = open_inline(url, shown_url(url), world, line=partial(MortalLine, strike))
    store.on_hints = on_hints
    return store


DATABASES = 2
"""A run has two installations; the next one's databases take their places."""

_FAST = ("fsync=off", "full_page_writes=off", "autovacuum=off")


@contextmanager
def databases(store: str, programs: Path | None = None) -> Iterator[Callable[[], str] | None]:
    """Gives the URL of an empty database at each call, None where `store` is "sqlite".

    They are on a private server, which does not sync: what is simulated loses no power there.
    programs: see `find_programs`. Raises NoPostgres.
    """
    if store == "sqlite":
        yield None
        return
    server = PostgresServer(find_programs(programs), settings=_FAST)
    try:
        server.start()
        names = itertools.cycle(f"installation{number}" for number in range(DATABASES))
        yield lambda: _emptied(server, next(names))
    finally:
        server.stop()


def _emptied(server: PostgresServer, name: str) -> str:
    import psycopg

    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    return server.create(name)
