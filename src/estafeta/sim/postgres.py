"""Postgres: a PostgreSQL server of one's own, private to a folder: for the demo, tests and benches.

Promises: it listens on a socket in its folder and nowhere else; only the user that runs it (and
root) may open that; it ends with `stop`. PostgreSQL refuses to run as root: then it runs as nobody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

USER = "estafeta"
UNPRIVILEGED = "nobody"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
POLL_SECONDS = 0.01
DEBIAN = Path("/usr/lib/postgresql")
SOCKET = ".s.PGSQL.5432"
_QUIET = ("listen_addresses=", "jit=off", "logging_collector=off", "max_connections=200")


class NoPostgres(Exception):
    """There is no PostgreSQL here, or it does not start; the text says why, in one sentence."""


def find_programs(given: Path | None = None) -> Path:
    """The folder with `initdb` and `postgres`: `given`, or the newest of those installed.

    Raises NoPostgres.
    """
    if given is not None:
        if _has_programs(given):
            return given
        raise NoPostgres(f"{given} does not have the programs initdb and postgres of PostgreSQL")
    installed = sorted(DEBIAN.glob("*/bin"), key=lambda path: _number(path.parent.name))
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(":") if folder]
    for folder in [*reversed(installed), *on_path]:
        if _has_programs(folder):
            return folder
    raise NoPostgres(
        "no PostgreSQL server is installed here: install one (Debian: postgresql), or name the"
        " folder of its programs with --postgres-bin"
    )


def _has_programs(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres"))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class PostgresServer:
    """programs: see `find_programs`. environment: of its processes, where the programs lie outside
    their place. settings: "name=value" for postgresql.conf. data: where its files are kept; None
    for a temporary folder, where its socket and its log are in any case."""

    def __init__(
        self,
        programs: Path,
        *,
        data: Path | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.programs = programs
        self.environment = dict(os.environ if environment is None else environment)
        self.environment |= {"LC_ALL": "C", "TZ": "UTC"}
        self._settings = settings
        # Not below a folder of root's alone, where nobody could not go; and a short path, for the
        # socket.
        self.folder = Path(tempfile.mkdtemp(prefix="estafeta-pg-"))
        self.data = data or self.folder / "data"
        self._owner: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            self._owner = pwd.getpwnam(UNPRIVILEGED)
        for made in (self.folder, self.data):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._owner is not None:
                os.chown(made, self._owner.pw_uid, self._owner.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str) -> str:
        """For `[server] store` and libpq."""
        return f"postgresql://{USER}@/{quote(database)}?host={quote(str(self.folder), safe='')}"

    def start(self) -> None:
        """Returns when it takes connections; after `kill9` too, recovered. Raises NoPostgres."""
        if not (self.data / "PG_VERSION").exists():
            self._make()
        command = [self.programs / "postgres", "-D", self.data]
        for setting in (*_QUIET, f"unix_socket_directories={self.folder}", *self._settings):
            command += ["-c", setting]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - programs that were looked for
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,  # a Ctrl-C is ours to pass on
                **self._identity(),
            )
        end = time.monotonic() + START_SECONDS_MAX
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise NoPostgres(f"PostgreSQL did not start: {self._last_words()}")
            time.sleep(POLL_SECONDS)

    def create(self, database: str) -> str:
        """Its URL; made where it is not there. Raises NoPostgres."""
        create_database(self.url("postgres"), database)
        return self.url(database)

    def kill9(self) -> None:
        """The postmaster and every process of it, as a power cut would end them."""
        children = _children(self.pid)
        for pid in (self.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        while any(_lives(pid) for pid in children):
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ends it; what is temporary goes."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # fast: clients are cut
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill9()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- parts ---------------------------------------------------------------------------------

    def _make(self) -> None:
        command = [
            *(self.programs / "initdb", "--pgdata", self.data, "--username", USER),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        ]
        made = subprocess.run(  # noqa: S603 - as above
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=self.environment,
            cwd=self.folder,
            **self._identity(),
        )
        if made.returncode:
            words = made.stderr.decode("utf-8", "replace").split("\n")
            raise NoPostgres(f"initdb failed: {' '.join(word.strip() for word in words if word)}")

    def _identity(self) -> dict[str, Any]:
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}

    def _is_ready(self) -> bool:
        """The last line of its pid file says so (PostgreSQL §19.3)."""
        with suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


def create_database(url: str, database: str) -> None:
    """Where it is not there. url: of any database of the server. Raises NoPostgres."""
    try:
        import psycopg
    except ImportError:
        raise NoPostgres("PostgreSQL needs psycopg: pip install 'estafeta[postgres]'") from None
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (database,)
            ).fetchone()
            if found is None:
                connection.execute(
                    f"CREATE DATABASE \"{database}\" ENCODING 'UTF8' TEMPLATE template0".encode()
                )
    except psycopg.Error as error:
        why = " ".join(str(error).split())
        raise NoPostgres(f"the database {database} cannot be made: {why}") from error


def _children(parent: int) -> list[int]:
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    return [pid for pid in pids if _status(pid)[1:2] == [str(parent)]]


def _lives(pid: int) -> bool:
    return _status(pid)[:1] not in ([], ["Z"])


def _status(pid: int) -> list[str]:
    """State and parent first (proc(5)); [] where there is none such."""
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat[stat.rindex(")") + 2 :].split()
    return []
