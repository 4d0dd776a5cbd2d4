"""process: a foreign program running for one test: started, waited for, stopped with its children.

Each runs in a session of its own, so that all it starts can be found (CPU, memory) and ended.
"""

from __future__ import annotations

import fcntl
import functools
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections.
PORTS = range(20_000, 32_000)

# So many ports that were given last are not given again: who asked may not listen on them yet.
PORTS_REMEMBERED = 2000

# So many of them other test processes leave alone too: more than one stand has.
PORTS_HELD = 300

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.01

T = TypeVar("T")


class DidNotHappen(AssertionError):
    """Something waited for did not come in time; the text says what and shows the log."""


_given: deque[int] = deque(maxlen=PORTS_REMEMBERED)
_held: deque[int] = deque()


def free_port(host: str = LOOPBACK) -> int:
    """A TCP port on which nobody listens now, from a range that outgoing connections do not use."""
    dice = random.SystemRandom()
    for _ in range(1000):
        port = dice.choice(PORTS)
        if port in _given:
            continue
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        if _hold(port):
            _given.append(port)
            return port
    raise DidNotHappen(f"no free port on {host}")


def _hold(port: int) -> bool:
    """Tells the other test processes of this machine that a port is given; False where one of them
    has it. The system forgets it with this process."""
    try:
        fcntl.lockf(_ledger(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _held.append(port)
    if len(_held) > PORTS_HELD:
        fcntl.lockf(_ledger(), fcntl.LOCK_UN, 1, _held.popleft())
    return True


@functools.cache
def _ledger() -> int:
    """A file of which nothing but the locks matters: octet n stands for port n."""
    path = Path(tempfile.gettempdir()) / f"estafeta-ports-{os.geteuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


_patience_s = ContextVar("patience", default=float("inf"))


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Inside, nothing is waited for longer than this: for what is not expected to happen."""
    before = _patience_s.set(seconds)
    try:
        yield
    finally:
        _patience_s.reset(before)


def wait_for(
    what: str,
    look: Callable[[], T | None],
    timeout_s: float = START_TIMEOUT_S,
    log: Callable[[], str] | None = None,
) -> T:
    """Looks again and again until `look` gives something true, which is returned.

    For what others' programs do not announce. Raises: DidNotHappen, with the end of `log`.
    """
    timeout_s = min(timeout_s, _patience_s.get())
    end = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            end_of_log = f"\n{log()[-4000:]}" if log else ""
            raise DidNotHappen(f"{what}: not within {timeout_s:g} s{end_of_log}")
        time.sleep(POLL_S)


def accepts(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Running:
    """A program in a session of its own, its output in a file.

    command: program and arguments. output: the file that takes stdout and stderr.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        output: Path,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        cwd: Path | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        self.output = output
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                pass_fds=tuple(pass_fds),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        """What it wrote so far."""
        return self.output.read_text(errors="replace")

    def wait_until(self, what: str, look: Callable[[], T | None]) -> T:
        """Like `wait_for`, but ends at once when the program ends. Raises: DidNotHappen."""

        def alive() -> T | None:
            if self.process.poll() is not None:
                raise DidNotHappen(
                    f"{self.name} ended with {self.process.returncode} before {what}:"
                    f"\n{self.text()[-4000:]}"
                )
            return look()

        return wait_for(f"{self.name}: {what}", alive, log=self.text)

    def wait_listening(self, host: str, ports: Iterable[int]) -> None:
        for port in ports:
            self.wait_until(f"listening on {host}:{port}", lambda p=port: accepts(host, p))  # type: ignore[misc]

    def stop(self, stop_signal: int = signal.SIGTERM) -> int:
        """Asks it to end, waits, then ends what is left of its session. Returns its exit code."""
        if self.process.poll() is None:
            for pid in self._traced() or [self.pid]:
                os.kill(pid, stop_signal)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        for pid in session_members(self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return code

    def _traced(self) -> list[int]:
        """What strace runs, where this is strace: it keeps signals to itself."""
        if self.name != "strace":
            return []
        members = session_members(self.pid)
        return [pid for pid in members if (_stat(pid) or ["", ""])[1] == str(self.pid)]


def session_members(session: int) -> list[int]:
    """The processes of one session and their children, which may have made their own, by /proc."""
    members: list[int] = []
    others: list[tuple[int, int]] = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[3]) == session:
                members.append(int(entry.name))
            elif fields:
                others.append((int(entry.name), int(fields[1])))
    known = set(members)
    return members + [pid for pid, parent in others if parent in known]


def parent_of(pid: int) -> int:
    """0 where it is gone."""
    return int((_stat(pid) or ["", "0"])[1])


def has_ended(pid: int) -> bool:
    """Also where nobody has asked yet how it ended."""
    return (_stat(pid) or ["X"])[0] in "XZ"


def cpu_seconds(session: int) -> float:
    """User and system seconds that a session's processes have used, ended children included."""
    ticks = 0
    for pid in session_members(session):
        if fields := _stat(pid):
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(session: int) -> int:
    """Memory of a session's processes, shared pages counted once each (PSS where readable)."""
    total = 0
    for pid in session_members(session):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state first, session fourth."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()
