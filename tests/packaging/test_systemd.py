"""The unit of systemd: that it is one, how little it may, and that the program lives within it."""

from __future__ import annotations

import ctypes
import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.packaging.conftest import PACKAGING, Analyze
from tests.support.live import Estafeta
from tests.support.peers.packages import Peers

UNIT = PACKAGING / "systemd" / "estafeta.service"

EXPOSURE_MAX = 15
"""In tenths; systemd calls anything up to 20 good. A plain unit has 96."""

PLAIN = {"smtp": ['plaintext_auth_networks = ["127.0.0.0/8"]']}

PROGRAM = "/opt/estafeta/bin/estafeta"


def settings() -> list[tuple[str, str]]:
    lines = UNIT.read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#["]
    return [(name, value) for name, _, value in pairs]


def test_systemd_takes_every_line_of_it(analyze: Analyze, tmp_path: Path) -> None:
    unit = tmp_path / "estafeta.service"
    text = UNIT.read_text()
    assert PROGRAM in text
    unit.write_text(text.replace(PROGRAM, sys.executable))
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert "estafeta.service" not in done.stdout + done.stderr
    assert done.returncode == 0
    unit.write_text(unit.read_text().replace("NoNewPrivileges=", "NoNewPrivilegs="))
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert "NoNewPrivilegs" in done.stdout + done.stderr  # it would have said so


def test_it_may_little(analyze: Analyze) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", UNIT)
    assert done.returncode == 0, done.stdout


def test_the_one_capability_is_that_of_low_ports() -> None:
    found = dict(settings())
    assert found["AmbientCapabilities"] == found["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert found["User"] == "estafeta"
    assert found["KillMode"] == "mixed"  # workers are told by their supervisor


def test_the_user_of_the_unit_is_made_and_owns_its_folders() -> None:
    users = (PACKAGING / "systemd" / "estafeta.sysusers").read_text()
    assert "\nu estafeta - " in users
    folders = (PACKAGING / "systemd" / "estafeta.tmpfiles").read_text()
    assert "d /var/lib/estafeta 0700 estafeta estafeta -" in folders


class Manager:
    """What systemd would be told."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening

    def hears(self, name: str) -> dict[str, str]:
        """The next notice that has this name; others are passed over."""
        while True:
            lines = self._listening.recv(4096).decode().splitlines()
            notice = dict(line.split("=", 1) for line in lines)
            if name in notice:
                return notice


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        where = tmp_path / "n"
        listening.bind(str(where))
        listening.settimeout(30)
        notified = {"NOTIFY_SOCKET": str(where), "WATCHDOG_USEC": "200000"}
        plain = Estafeta._environment
        monkeypatch.setattr(Estafeta, "_environment", lambda self: {**plain(self), **notified})
        yield Manager(listening)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_manager_hears_of_start_life_reload_and_stop(
    tmp_path: Path, manager: Manager, workers: int
) -> None:
    settings = {"server": [f"workers = {workers}"]}
    live = Estafeta(tmp_path, settings=settings)
    live.start()
    try:
        assert manager.hears("READY")["READY"] == "1"
        for _ in range(3):
            manager.hears("WATCHDOG")
        os.kill(live.session, signal.SIGHUP)
        assert int(manager.hears("RELOADING")["MONOTONIC_USEC"]) > 0
        assert manager.hears("READY")["STATUS"] == "Serving"
        os.kill(live.session, signal.SIGTERM)
        assert manager.hears("STOPPING")["EXTEND_TIMEOUT_USEC"] == "40000000"
    finally:
        assert live.stop() == 0


def test_it_calls_the_kernel_only_as_the_filter_allows(
    analyze: Analyze, peers: Peers, tmp_path: Path
) -> None:
    """Start, a message with a large body, stop: every system call of each process, by strace."""
    counts = tmp_path / "calls"
    trace = [peers.program("strace"), "-f", "-c", "-U", "name", "-o", counts]
    settings = {**PLAIN, "server": ["workers = 2"]}
    with Estafeta(tmp_path / "e", accounts=["a@x.example"], settings=settings, trace=trace) as live:
        _send(live, b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 15_000)
        client = live.imap("a@x.example")
        live.wait_messages(client)
        client.logout()
    made = {line.split()[0] for line in counts.read_text().splitlines() if line[:1].isalpha()}
    # The first is how strace starts the program, the others are its summary's own words.
    made -= {"execve", "name", "syscall", "total"}
    assert "fdatasync" in made or "fsync" in made
    if os.geteuid() == 0:
        made.discard("fchown")  # SQLite's own, where it runs as root; under the unit it does not
    allowed = _calls(analyze, "@system-service") - _calls(analyze, "@privileged", "@resources")
    assert not made - allowed, sorted(made - allowed)


def _calls(analyze: Analyze, *sets: str) -> set[str]:
    """The system calls of these sets, all that they contain followed."""
    found: set[str] = set()
    for name in sets:
        for line in analyze("syscall-filter", name).stdout.splitlines()[1:]:
            word = line.strip()
            if word.startswith("@"):
                found |= _calls(analyze, word)
            elif word and not word.startswith("#"):
                found.add(word)
    return found


def test_it_needs_no_memory_that_is_both_written_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MemoryDenyWriteExecute=, by the kernel's own switch (prctl(2), PR_SET_MDWE)."""
    if _deny_write_execute_in_child():
        pytest.skip("this kernel has no PR_SET_MDWE")
    plain: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: plain(*a, **k, preexec_fn=_deny_write_execute)
    )
    with Estafeta(tmp_path, accounts=["a@x.example"], settings=PLAIN) as live:
        _send(live, b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 15_000)
        client = live.imap("a@x.example")
        assert len(live.wait_messages(client)) == 1
        client.logout()


_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1
_libc = ctypes.CDLL(None, use_errno=True)


def _deny_write_execute() -> None:
    if _libc.prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _deny_write_execute_in_child() -> int:
    """It cannot be undone, so it is tried elsewhere. 0 where the kernel does it."""
    pid = os.fork()
    if pid == 0:
        os._exit(1 if _libc.prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0) else 0)
    return os.waitpid(pid, 0)[1]


def _send(live: Estafeta, message: bytes) -> None:
    with smtplib.SMTP(live.host, live.ports["mx"], timeout=30) as client:
        client.sendmail("b@y.example", ["a@x.example"], message)
