"""Hold: a database of PostgreSQL that nobody serves, and that nobody changes while it is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from estafeta.store.engine import StoreError
from estafeta.store.move.mark import MoveRefused
from estafeta.store.move.tables import tables
from estafeta.store.open import need_psycopg, shown_url

APPLICATION = "estafeta store move"
"""How our own connections are told from those of servers and other commands."""

_OTHERS = (
    "SELECT count(*), string_agg(DISTINCT application_name, ', ') FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND application_name <> %s"
    # A node's URL may give it another name; what watches over a database is another user.
    " AND (usename = current_user OR starts_with(application_name, 'estafeta'))"
)


def named(url: str) -> str:
    """The URL under which a move opens a store of PostgreSQL."""
    return f"{url}{'&' if urlsplit(url).query else '?'}application_name={quote(APPLICATION)}"


@contextmanager
def nobody_else(url: str, *, locked: bool) -> Iterator[Callable[[], None]]:
    """Within it no server is connected. locked: and no table can be written; what it gives raises
    once that is no longer so. Raises StoreError."""
    need_psycopg(url)
    import psycopg

    shown = shown_url(url)
    try:
        connection = psycopg.connect(named(url), autocommit=True)
    except psycopg.Error as error:
        raise StoreError(f"the store {shown} cannot be reached: {_one_line(error)}") from error

    def check() -> None:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise StoreError(f"the store {shown} went away: {_one_line(error)}") from error

    try:
        row = connection.execute(_OTHERS, (APPLICATION,)).fetchone()
        if row is not None and row[0]:
            raise MoveRefused(
                f"the store {shown} is in service: connections open {row[0]} ({row[1]}); stop "
                "every node first"
            )
        if locked:
            names = ", ".join(table.name for table in tables())
            connection.execute("BEGIN")
            # Writers wait until this ends; readers do not.
            connection.execute(f"LOCK TABLE {names} IN SHARE MODE".encode())
        yield check
    except psycopg.Error as error:
        raise StoreError(f"the store {shown} went away: {_one_line(error)}") from error
    finally:
        connection.close()  # its transaction has written nothing


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
