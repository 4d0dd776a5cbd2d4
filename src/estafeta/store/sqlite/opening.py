"""Opening: connections with the pragmas every one of them must have, and the store over them."""

from __future__ import annotations

from pathlib import Path

import apsw

from estafeta.store.engine import StoreError
from estafeta.store.hints import Hints
from estafeta.store.limits import (
    LOCK_WAIT_MS_MAX,
    PAGE_OCTETS,
    READER_CACHE_KIB,
    STATEMENTS_CACHED,
    WAL_OCTETS_MAX,
    WRITER_CACHE_KIB,
)
from estafeta.store.migrate import migrate
from estafeta.store.sqlite.checkpoint import Checkpointer
from estafeta.store.sqlite.errors import translated
from estafeta.store.sqlite.store import SqliteStore
from estafeta.store.sqlite.transaction import SqliteTx
from estafeta.store.sqlite.turn import Turn
from estafeta.store.sqlite.writer import Writer
from estafeta.store.statistics import Statistics
from estafeta.store.worker import Worker
from estafeta.world.seams import Clock

COMMIT_LATENCY_SECONDS = 0.001  # of the inline engine, on the loop's clock


def open_sqlite(
    path: Path,
    *,
    clock: Clock,
    inline: bool = False,
    vfs: str | None = None,
    synchronous: str = "FULL",
    page_octets: int = PAGE_OCTETS,
    commit_latency: float = COMMIT_LATENCY_SECONDS,
) -> SqliteStore:
    """Opens the store in `path`, makes it if there is none, brings its schema up to date.

    inline: no threads, no other process; for the simulation. vfs: name of a registered VFS.
    synchronous: FULL, always; a parameter only so that a test can show what NORMAL loses.
    page_octets: of a new file. Raises StoreError, among them StoreTooNew, StoreReadOnly.
    """
    try:
        connection = _connect(path, vfs, synchronous, page_octets)
        try:
            tx = SqliteTx(connection)
            tx.control("BEGIN IMMEDIATE")
            migrate(tx, now=int(clock.now() * 1000), name=str(path))
            tx.control("COMMIT")
            page_octets = int(connection.pragma("page_size"))
        except BaseException:
            connection.close(True)
            raise
    except apsw.Error as error:
        raise _sentence(path, error) from error

    def connect_writer() -> apsw.Connection:
        writer = _connect(path, vfs, synchronous, page_octets)
        writer.set_busy_timeout(0)  # waiting happens at the turn, off the loop
        return writer

    hints = Hints()
    statistics = Statistics()
    workers = () if inline else (Worker("store-commit"), Worker("store-checkpoint"))
    turn = None if inline else Turn(path.with_name(path.name + "-turn"))
    try:
        checkpoints = _connect(path, vfs, synchronous, page_octets)
        checkpointer = Checkpointer(
            checkpoints, page_octets, statistics, workers[1] if workers else None, turn
        )
        reader = _connect(path, vfs, synchronous, page_octets)
        reader.pragma("query_only", True)
        reader.pragma("cache_size", -READER_CACHE_KIB)
        writer = Writer(
            connect_writer,
            hints,
            statistics,
            checkpointer=checkpointer,
            worker=workers[0] if workers else None,
            turn=turn,
            commit_latency=commit_latency,
        )
    except apsw.Error as error:
        raise _sentence(path, error) from error
    connection.close()  # only now: the last one to close would move the WAL
    return SqliteStore(path, writer, reader, checkpointer, hints, workers, turn)


def _connect(path: Path, vfs: str | None, synchronous: str, page_octets: int) -> apsw.Connection:
    connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=STATEMENTS_CACHED)
    connection.set_busy_timeout(LOCK_WAIT_MS_MAX)
    # Without it a statement whose plan might depend on its parameters is prepared at each use.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    if connection.pragma("page_count") == 0:  # both must come before the first page
        connection.pragma("page_size", page_octets)
        connection.pragma("auto_vacuum", "INCREMENTAL")
    if connection.pragma("journal_mode", "WAL") != "wal":
        raise apsw.CantOpenError("write-ahead logging is not possible there")
    connection.pragma("synchronous", synchronous)
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("journal_size_limit", WAL_OCTETS_MAX)
    connection.pragma("cache_size", -WRITER_CACHE_KIB)
    connection.pragma("temp_store", "MEMORY")
    return connection


def _sentence(path: Path, error: apsw.Error) -> StoreError:
    known = translated(error)
    return type(known)(f"the store {path} cannot be opened: {known}")
