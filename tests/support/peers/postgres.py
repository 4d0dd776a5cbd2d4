"""postgres: a PostgreSQL server for the tests of one run, whatever the number of their workers.

The programs are those of the system, else Debian's, fetched and unpacked. The first worker that
needs the server starts it, the last one to end stops it; a server that a killed run left behind is
ended by the next run. Every test gets a database that is as new: copied from one that has the
schema, or emptied after another test. It does not sync to disk: what asserts durability starts a
`PostgresServer` of its own.
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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psycopg
from tests.support.peers import emptied
from tests.support.peers.packages import Unavailable, fetch
from tests.support.require import require

from estafeta.sim.postgres import NoPostgres, PostgresServer, find_programs
from estafeta.store.open import shown_url
from estafeta.store.postgres import open_postgres
from estafeta.world.clock import SystemClock
from estafeta.world.seams import World

VERSIONS = ("15", "16", "17", "14", "18")
TEMPLATE = "estafeta_template"
EMPTIER = "emptier"
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
    """URL of a database with the schema and nothing else, which nobody else has, on the server of
    this run; or ends the test."""
    try:
        return _shared().database()
    except (Unavailable, NoPostgres) as error:
        require("peers", str(error))


def drop_database(url: str) -> None:
    """Whoever is still connected to it is cut."""
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
                    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
                        admin.execute(f"CREATE ROLE {EMPTIER} LOGIN SUPERUSER".encode())
                except BaseException:
                    server.stop()
                    raise
                where.write_text(f"{server.pid}\n{server.folder}\n{server.url('{}')}\n")
            self._url = where.read_text().splitlines()[2]
            fcntl.flock(self._users, fcntl.LOCK_SH)
        atexit.register(self._leave)
        self._admin = self._connect("postgres")
        self._used: dict[str, emptied.Used] = {}
        self._free: list[str] = []

    def database(self) -> str:
        if self._free:
            return self._named(self._free.pop())
        name = f"t{os.getpid()}_{next(self._numbers)}"
        self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"'.encode())
        self._used[name] = emptied.Used(self._connect(name))
        return self._named(name)

    def drop(self, url: str) -> None:
        name = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
        used = self._used[name]
        with suppress(psycopg.Error):
            self._cut(name, used.connection.info.backend_pid)
            if used.empty():
                self._free.append(name)
                return
        del self._used[name]
        used.connection.close()
        self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def _cut(self, name: str, but: int) -> None:
        """Returns when no session is left in it. PostgreSQL's own wait looks each 100 ms only."""
        left = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        while self._admin.execute(f"{left} AND pid <> %s", (name, but)).fetchall():
            time.sleep(0.001)

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        """As somebody else than the stores: `store move` counts those of its own user."""
        return psycopg.connect(self._named(name), user=EMPTIER, autocommit=True)

    def _named(self, name: str) -> str:
        return self._url.replace("%7B%7D", name)

    def _leave(self) -> None:
        for connection in (self._admin, *(used.connection for used in self._used.values())):
            connection.close()
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
