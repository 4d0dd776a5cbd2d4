"""Fixtures of the tests of what is packaged: the tools, and the wheel installed somewhere fresh."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.peers.packages import Peers
from tests.support.peers.process import free_port
from tests.support.require import require, required

PROJECT = Path(__file__).parents[2]
PACKAGING = PROJECT / "packaging"

SETUP_SECONDS_MAX = 300
"""A dozen packages are installed, on a machine that may be busy."""

Analyze = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def analyze(tmp_path_factory: pytest.TempPathFactory) -> Analyze:
    """Runs `systemd-analyze`: the system's, or Debian's unpacked beside us."""
    environment = dict(os.environ)
    program = shutil.which("systemd-analyze")
    if program is None:
        peers = required("systemd")
        program = str(peers.program("systemd-analyze"))
        libraries = [str(folder / "systemd") for folder in peers.library_folders]
        environment = peers.environment(tmp_path_factory.mktemp("home"))
        environment["LD_LIBRARY_PATH"] += ":" + ":".join(libraries)

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [program, "--no-pager", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)

    if run("--version").returncode:
        require("peers", "systemd-analyze does not run here")
    return run


@pytest.fixture(scope="session")
def peers() -> Peers:
    """The unpacked programs; skipped or failed (ESTAFETA_REQUIRE) where they cannot be had."""
    return required()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """estafeta's wheel, built by hatchling from this checkout."""

    def build(folder: Path) -> None:
        quiet = ["--quiet", "--disable-pip-version-check"]
        _pip("wheel", *quiet, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, PROJECT)

    (made,) = _once(tmp_path_factory, "wheel", build).glob("*.whl")
    return made


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh environment with the wheel and what it depends on, and no more."""

    def install(folder: Path) -> None:
        venv = [sys.executable, "-m", "venv", "--without-pip", folder]
        subprocess.run(venv, check=True, timeout=SETUP_SECONDS_MAX)
        python = ["--python", folder / "bin" / "python"]
        quiet = ["--quiet", "--disable-pip-version-check", "--no-compile"]
        constraints = ["-c", PROJECT / "constraints.txt"]
        _pip(*python, "install", *quiet, *constraints, f"{wheel}[fast]")

    try:
        return _once(tmp_path_factory, "installed", install)
    except subprocess.CalledProcessError as error:
        require("peers", f"the dependencies cannot be installed: {error.stderr[-500:]}")


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills, made by one process of this run for all of them."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / f"{name}-of-all"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done := base / f"{name}.done").exists():
            make(folder)
            done.touch()
    return folder


def _pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=SETUP_SECONDS_MAX)


@pytest.fixture
def plain_dns() -> Iterator[str]:
    """A DNS server that answers every question with nothing, as "address:port"."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                question, peer = server.recvfrom(4096)
                if not question:
                    return
                server.sendto(question[:2] + b"\x81\x80" + question[4:], peer)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        host, port = server.getsockname()
        yield f"{host}:{port}"
        server.sendto(b"", (host, port))
        answering.join()


Sample = Callable[[Path], tuple[Path, dict[str, int]]]


@pytest.fixture
def sample(plain_dns: str) -> Sample:
    """Writes packaging/estafeta.toml for a folder: other ports, loopback, a DNS that is there."""

    def write(folder: Path) -> tuple[Path, dict[str, int]]:
        text = (PACKAGING / "estafeta.toml").read_text()
        ports: dict[str, int] = {}

        def replaced(found: re.Match[str]) -> str:
            usual = found[1]
            ports[usual] = free_port("127.0.0.1")
            # TLS goes by the port where nothing is said.
            tls = 'tls = "implicit"\n' if usual in ("465", "993", "995") else ""
            return f'port = {ports[usual]}\naddress = "127.0.0.1"\n{tls}\n'

        head, listeners = text.split("[[listener]]", 1)
        listeners = listeners.replace('address = "127.0.0.1"\n', "")
        listeners = re.sub(r"port = (\d+)\n\n", replaced, listeners)
        head = head.replace("servers = []", f'servers = ["{plain_dns}"]')
        head = head.replace('"/var/lib/estafeta"', f'"{folder / "data"}"')
        file = folder / "estafeta.toml"
        file.write_text(f"{head}[[listener]]{listeners}")
        return file, ports

    return write
