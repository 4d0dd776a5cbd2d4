"""postgres: a PostgreSQL server for the tests of one run, whatever the number of their workers.

The programs are those of the system, else Debian's, fetched and unpacked. The first worker that
needs the server starts it, the last one to end stops it; a server that a killed run left behind is
ended by the next run. Every test gets a database of its own, copied from one that has the schema.
It does not sync to disk: what asserts durability starts a `PostgresServer` of its own.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import itertools
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psycopg
from tests.support.peers.packages import Unavailable, fetch
from tests.support.require import require

from estafeta.sim.postgres import NoPostgres, PostgresServer, find_programs
from estafeta.store.open import shown_url
from estafeta.store.postgres import open_postgres
from estafeta.world.clock import SystemClock
from estafeta.world.seams import World

VERSIONS = ("15", "16", "17", "14", "18")
TEMPLATE = "estafeta_template"
FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=64MB", "autovacuum=off")


def new_server(*settings: str) -> PostgresServer:
    """Not started. Raises Unavailable."""
    with suppress(NoPostgres):
        return PostgresServer(find_programs(), settings=settings)
    missing = "no version was asked for"
    for version in VERSIONS:
        try:
            peers = fetch(f"postgresql-{version}", f"postgresql-client-{version}")
        except Unavailable as error:
            missing = str(error)
            continue
        programs = peers.root / f"usr/lib/postgresql/{version}/bin"
        return PostgresServer(
            programs, settings=settings, environment=peers.environment(tempfile.gettempdir())
        )
    raise Unavailable(missing)


def required_server(*settings: str) -> PostgresServer:
    """Started; where there is none the test is skipped, or fails under ESTAFETA_REQUIRE=peers."""
    try:
        server = new_server(*settings)
        server.start()
    except (Unavailable, NoPostgres) as error:
        require("peers", str(error))
    return server


def fresh_database() -> str:
    """URL of a new database with the schema, on the server of this run; or ends the test."""
    try:
        return _shared().database()
    except (Unavailable, NoPostgres) as error:
        require("peers", str(error))


def drop_database(url: str) -> None:
    _shared().drop(url)


@contextmanager
def database() -> Iterator[str]:
    """A `fresh_database` that is dropped afterwards."""
    url = fresh_database()
    try:
        yield url
    finally:
        drop_database(url)


@functools.cache
def _shared() -> _Shared:
    return _Shared()


class _Shared:
    """The server of this run. Its folder: `lock` is held while somebody starts or stops it, `users`
    is locked by every worker that uses it, `server` says where it is."""

    def __init__(self) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"pid{os.getpid()}"
        base = Path(tempfile.gettempdir())
        prefix = f"estafeta-tests-{os.getuid()}-"
        self._folder = base / f"{prefix}{run}"
        for left in base.glob(f"{prefix}*"):
            if left != self._folder:
                _clear(left)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._numbers = itertools.count(1)
        self._users = (self._folder / "users").open("a")
        with _locked(self._folder):
            where = self._folder / "server"
            if not where.exists():
                server = new_server(*FAST)
                try:
                    server.start()
                    _make_template(server.create(TEMPLATE))
                except BaseException:
                    server.stop()
                    raise
                where.write_text(f"{server.pid}\n{server.folder}\n{server.url('{}')}\n")
            self._url = where.read_text().splitlines()[2]
            fcntl.flock(self._users, fcntl.LOCK_SH)
        atexit.register(self._leave)
        self._admin = psycopg.connect(self._named("postgres"), autocommit=True)

    def database(self) -> str:
        name = f"t{os.getpid()}_{next(self._numbers)}"
        self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"'.encode())
        return self._named(name)

    def drop(self, url: str) -> None:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def _named(self, name: str) -> str:
        return self._url.replace("%7B%7D", name)

    def _leave(self) -> None:
        self._admin.close()
        self._users.close()
        _clear(self._folder)


def _make_template(url: str) -> None:
    world = World(SystemClock(), random.Random(1), None, None, None)  # type: ignore[arg-type]
    open_postgres(url, shown_url(url), world)


def _locked(folder: Path) -> IO[str]:
    file = (folder / "lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _clear(folder: Path) -> None:
    """Ends the server that nobody uses any more."""
    with suppress(OSError), _locked(folder), (folder / "users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        where = folder / "server"
        if where.exists():
            pid, files, _ = where.read_text().splitlines()
            if _is_postgres(int(pid)):
                os.kill(int(pid), signal.SIGQUIT)
            shutil.rmtree(files, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _is_postgres(pid: int) -> bool:
    with suppress(OSError):
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
