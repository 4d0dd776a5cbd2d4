"""Store: whether it is there, of a version this program knows, and who has it open.

It is looked at without a trace: no migration, no new file beside it, no lock on its tenure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import apsw

from estafeta.office.check.finding import Finding, error, ok
from estafeta.office.check.processes import lock_holder
from estafeta.office.tenure import SUFFIX
from estafeta.store.engine import StoreError
from estafeta.store.migrate import newest_migration
from estafeta.store.open import is_postgres, look_at_postgres, shown_url, store_path

ABOUT = "store"


def check_store(url: str) -> Iterator[Finding]:
    """The store that the configuration names."""
    if is_postgres(url):
        yield from _check_postgres(url)
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
        schema = _schema(path)
    except (apsw.Error, OSError) as trouble:
        yield error(ABOUT, f"{path} cannot be read: {str(trouble).lower()}")
        return
    known = newest_migration()
    if schema > known:
        yield error(
            ABOUT,
            f"{path} was made by a newer estafeta (schema {schema}, this one knows up to {known})",
        )
    elif schema < known:
        yield ok(ABOUT, f"{path}, schema {schema}; the next start brings it to {known}")
    else:
        yield ok(ABOUT, f"{path}, schema {schema}")
    if (holder := store_holder(url)) is not None:
        yield ok("server", f"it is running, as process {holder}")


def _check_postgres(url: str) -> Iterator[Finding]:
    shown, known = shown_url(url), newest_migration()
    try:
        schema = look_at_postgres(url)
    except StoreError as trouble:
        yield error(ABOUT, str(trouble))
        return
    if schema > known:
        yield error(
            ABOUT,
            f"{shown} was made by a newer estafeta (schema {schema}, this one knows up to {known})",
        )
    elif schema < known:
        yield ok(ABOUT, f"{shown}, schema {schema}; the next start brings it to {known}")
    else:
        yield ok(ABOUT, f"{shown}, schema {schema}")


def store_holder(url: str) -> int | None:
    """The process that serves this store."""
    try:
        path = store_path(url)
    except StoreError:
        return None
    return lock_holder(Path(f"{path}{SUFFIX}"))


def _schema(path: Path) -> int:
    """Number of the last migration; 0 where there is none. Raises apsw.Error."""
    # Reading beside a WAL takes its index; without one the file is read as it lies, so that none
    # is made.
    mode = "mode=ro" if Path(f"{path}-shm").exists() else "mode=ro&immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path))}?{mode}", flags=flags)
    try:
        tables = connection.execute(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'"
        ).fetchone()
        if tables is None:
            return 0
        return int(connection.execute("SELECT coalesce(max(number), 0) FROM migration").get)
    finally:
        connection.close()
