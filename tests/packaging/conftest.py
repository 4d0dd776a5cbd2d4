"""Fixtures of the tests of what is packaged: the tools, and the wheel installed somewhere fresh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.peers.packages import Peers, Unavailable, fetch
from tests.support.require import require

PROJECT = Path(__file__).parents[2]
PACKAGING = PROJECT / "packaging"

Analyze = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def analyze(tmp_path_factory: pytest.TempPathFactory) -> Analyze:
    """Runs `systemd-analyze`: the system's, or Debian's unpacked beside us."""
    environment = dict(os.environ)
    program = shutil.which("systemd-analyze")
    if program is None:
        try:
            peers = fetch("systemd")
        except Unavailable as error:
            require("peers", str(error))
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
    try:
        return fetch()
    except Unavailable as error:
        require("peers", str(error))
