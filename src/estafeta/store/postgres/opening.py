"""Opening: connections as every one of them must be, and the store over them.

Promises: one process at a time brings the schema up to date, whoever comes first; a commit is
answered once it is on the disk: every connection of ours has `synchronous_commit` on, whatever the
server's default.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import NumericBinaryLoader

from estafeta.store.engine import StoreError, StoreTooNew
from estafeta.store.hints import Hints
from estafeta.store.limits import (
    CONNECT_SECONDS_MAX,
    SERVER_VERSION_MIN,
    SILENCE_MS_MAX,
    STATEMENT_MS_MAX,
)
from estafeta.store.migrate import migrate
from estafeta.store.open import why_unreachable
from estafeta.store.postgres import dialect
from estafeta.store.postgres.bell import Bell
from estafeta.store.postgres.inline import InlinePostgresStore
from estafeta.store.postgres.line import Line
from estafeta.store.postgres.store import PostgresStore
from estafeta.store.postgres.transaction import PostgresTx
from estafeta.world.seams import World

APPLICATION = "estafeta"
MIGRATING = 0x657374616665  # key of the advisory lock under which the schema is brought up to date
_DURABLE = (("on",), ("remote_apply",))
_DEFAULTS = {
    "application_name": APPLICATION,
    "connect_timeout": str(CONNECT_SECONDS_MAX),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": str(SILENCE_MS_MAX),
}
"""libpq's parameters, where the URL does not say otherwise."""


class _WholeNumber(NumericBinaryLoader):
    """sum() of whole numbers, which PostgreSQL gives as numeric."""

    def load(self, data: Any) -> Any:
        return int(super().load(data))


def open_postgres(url: str, shown: str, world: World) -> PostgresStore:
    """Blocks. Opens the store in an existing database, brings its schema up to date.

    url: as libpq takes it; password, certificates and the like also from where libpq looks for
    them. shown: the same without a password, for messages. Raises StoreError, among them
    StoreTooNew, StoreReadOnly.
    """
    connect = partial(_connect, url, shown)
    remarks = _prepare(connect, shown, int(world.clock.now() * 1000))
    hints = Hints()
    bell = Bell(connect, f"{world.dice.getrandbits(64):016x}", hints)
    return PostgresStore(partial(_line, connect, shown, Line), bell, hints, remarks)


def open_inline(
    url: str,
    shown: str,
    world: World,
    *,
    line: Callable[[psycopg.Connection[Any]], Line] = Line,
) -> InlinePostgresStore:
    """The same without threads, for the simulation. line: of each connection that it opens."""
    connect = partial(_connect, url, shown)
    _prepare(connect, shown, int(world.clock.now() * 1000))
    return InlinePostgresStore(partial(_line, connect, shown, line), Hints())


def _connect(url: str, shown: str) -> psycopg.Connection[Any]:
    try:
        whole = make_conninfo("", **(_DEFAULTS | conninfo_to_dict(url)))
        connection = psycopg.connect(whole, autocommit=True)
    except psycopg.Error as error:
        raise _cannot(shown, error) from error
    connection.adapters.register_loader("numeric", _WholeNumber)
    return connection


def _line(
    connect: Callable[[], psycopg.Connection[Any]],
    shown: str,
    line: Callable[[psycopg.Connection[Any]], Line],
) -> Line:
    connection = connect()
    try:
        if connection.execute("SHOW synchronous_commit").fetchone() not in _DURABLE:
            connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET statement_timeout = {STATEMENT_MS_MAX}")
        return line(connection)
    except psycopg.Error as error:
        connection.close()
        raise _cannot(shown, error) from error


def _prepare(connect: Callable[[], psycopg.Connection[Any]], shown: str, now: int) -> list[str]:
    """Looks whether that server will do, and migrates. Returns what should be otherwise there."""
    with closing(connect()) as connection:
        if connection.info.server_version < SERVER_VERSION_MIN * 10000:
            raise StoreError(
                f"the store {shown} is PostgreSQL {connection.info.server_version // 10000}:"
                f" {SERVER_VERSION_MIN} or newer is needed"
            )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreError(
                f"the database of the store {shown} holds {encoding}: make it with ENCODING 'UTF8'"
            )
        line = Line(connection)
        try:
            line.ask("BEGIN")
            line.ask("SELECT pg_advisory_xact_lock(?)", (MIGRATING,))
            migrate(PostgresTx(line), now=now, name=shown, translate=dialect.migration)
            line.ask("COMMIT")
        except StoreTooNew:
            raise
        except StoreError as error:
            raise type(error)(f"the store {shown} cannot be opened: {error}") from error
        return remarks_of(connection)


def remarks_of(connection: psycopg.Connection[Any]) -> list[str]:
    """Sentences."""
    if connection.pgconn.pipeline_status:
        connection.pgconn.exit_pipeline_mode()
    if connection.execute("SHOW fsync").fetchone() == ("off",):
        return ["PostgreSQL has fsync off: what was accepted is lost when the power fails"]
    return []


def _cannot(shown: str, error: psycopg.Error) -> StoreError:
    return StoreError(f"the store {shown} cannot be reached: {why_unreachable(error)}")
