"""Stores of simulated installations: everything on the loop, on either engine.

psycopg is imported only where a run asks for PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from estafeta.store.engine import Store
from estafeta.store.open import shown_url
from estafeta.world.seams import World

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
