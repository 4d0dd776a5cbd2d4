"""Store: whether it is there, of a version this program knows, whole, and who has it open.

It is looked at without a trace: no migration, no new file beside it, no lock on its tenure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import msgspec

from estafeta.office.check.finding import Finding, error, ok, warning
from estafeta.office.check.processes import lock_holder, servers, with_children
from estafeta.office.tenure import SUFFIX
from estafeta.store.engine import StoreError
from estafeta.store.limits import CONNECT_SECONDS_MAX, SERVER_VERSION_MIN
from estafeta.store.migrate import newest_migration
from estafeta.store.move.mark import MOVE
from estafeta.store.open import is_postgres, shown_url, store_path, why_unreachable

ABOUT = "store"

Ask = Callable[[str], Any]
"""A statement -> the first column of its first row, or None."""


class _Seen(msgspec.Struct, frozen=True):
    """schema: number of the last migration, 0 for none. half: a move into it has not ended."""

    schema: int
    half: bool


def check_store(url: str) -> Iterator[Finding]:
    """The store that the configuration names."""
    if is_postgres(url):
        yield from _check_database(url)
        return
    try:
        path = store_path(url)
    except StoreError as wrong:
        yield error(ABOUT, str(wrong))
        return
    if not path.exists():
        yield ok(ABOUT, f"{path} does not exist yet; the first start makes it")
        return
    try:
        seen = _look_at_file(path)
    except (apsw.Error, OSError) as trouble:
        yield error(ABOUT, f"{path} cannot be read: {str(trouble).lower()}")
        return
    yield _judged(str(path), seen)
    for holder in store_servers(url)[:1]:
        yield ok("server", f"it is running, as process {holder}")


def store_servers(url: str) -> list[int]:
    """The processes of this machine that serve this store, the first one before its workers.

    Of a database: all servers here, since it says nothing of who is connected from where.
    """
    if is_postgres(url):
        return servers()
    try:
        holder = lock_holder(Path(f"{store_path(url)}{SUFFIX}"))
    except StoreError:
        return []
    return [] if holder is None else with_children(holder)


def _judged(name: str, seen: _Seen) -> Finding:
    known = newest_migration()
    if seen.half:
        return error(ABOUT, f"{name} is only half of one: a move into it has not ended")
    if seen.schema > known:
        return error(
            ABOUT,
            f"{name} was made by a newer estafeta (schema {seen.schema}, this one knows up to "
            f"{known})",
        )
    if seen.schema < known:
        return ok(ABOUT, f"{name}, schema {seen.schema}; the next start brings it to {known}")
    return ok(ABOUT, f"{name}, schema {seen.schema}")


def _look_at_file(path: Path) -> _Seen:
    """Raises apsw.Error."""
    # Reading beside a WAL takes its index; without one the file is read as it lies, so that none
    # is made.
    mode = "mode=ro" if Path(f"{path}-shm").exists() else "mode=ro&immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path))}?{mode}", flags=flags)
    try:
        ask: Ask = lambda sql: connection.execute(sql).get  # noqa: E731
        made = ask("SELECT count(*) FROM sqlite_schema WHERE name = 'migration'")
        return _look(ask) if made else _Seen(0, False)
    finally:
        connection.close()


def _look(ask: Ask) -> _Seen:
    return _Seen(
        int(ask("SELECT coalesce(max(number), 0) FROM migration")),
        ask(f"SELECT value FROM meta WHERE name = '{MOVE}'") is not None,  # noqa: S608
    )


def _check_database(url: str) -> Iterator[Finding]:
    shown = shown_url(url)
    try:
        import psycopg
    except ImportError as missing:
        yield error(ABOUT, f"{shown} needs psycopg ({missing}): pip install 'estafeta[postgres]'")
        return
    try:
        with psycopg.connect(
            url, connect_timeout=CONNECT_SECONDS_MAX, options="-c default_transaction_read_only=on"
        ) as connection:

            def ask(sql: str) -> Any:
                row = connection.execute(sql.encode()).fetchone()
                return None if row is None else row[0]

            yield from _judge_server(shown, connection.info.server_version // 10000, ask)
            made = ask("SELECT to_regclass('migration')") is not None
            yield _judged(shown, _look(ask) if made else _Seen(0, False))
    except psycopg.Error as trouble:
        yield error(ABOUT, f"{shown} cannot be reached: {why_unreachable(trouble)}")


def _judge_server(shown: str, version: int, ask: Ask) -> Iterator[Finding]:
    about = "database"
    if version < SERVER_VERSION_MIN:
        yield error(about, f"PostgreSQL {version}: {SERVER_VERSION_MIN} or newer is needed")
    elif (encoding := ask("SHOW server_encoding")) != "UTF8":
        yield error(about, f"{shown} holds {encoding}: make it with ENCODING 'UTF8'")
    elif ask("SHOW fsync") == "off":
        yield warning(about, "fsync is off: mail is lost when the power fails")
    else:
        yield ok(about, f"PostgreSQL {version}, UTF8, fsync on")
