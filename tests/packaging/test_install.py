"""docs/INSTALL.md is right: every command that can run here is run, in order, as it stands there.

Each block of commands says in a comment above it how it is tested. Only folders are others: those
of the system become folders of the test, the program is the one installed from the wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.packaging.conftest import PROJECT, SETUP_SECONDS_MAX, Sample
from tests.support.peers.process import Running, wait_for

pytestmark = pytest.mark.timeout(SETUP_SECONDS_MAX + 120)

PAGE = (PROJECT / "docs" / "INSTALL.md").read_text("utf-8")

_BLOCK = re.compile(r"(?:<!-- test: (?P<how>[^>]*) -->\n)?```sh\n(?P<commands>.*?)```", re.DOTALL)


class Block(NamedTuple):
    """how: "run", "run, exit 1", "run while it serves" or "not here, " and why."""

    how: str
    commands: str


BLOCKS = [Block(found["how"] or "", found["commands"]) for found in _BLOCK.finditer(PAGE)]


def test_every_block_says_how_it_is_tested() -> None:
    assert len(BLOCKS) == PAGE.count("```sh") >= 12
    for block in BLOCKS:
        assert re.fullmatch(r"run(, exit \d)?|run while it serves|not here, .+", block.how), block


def test_what_it_names_is_there() -> None:
    for path in re.findall(r"(?:tests/)?(?:packaging|docs)/[\w./]+\w", PAGE):
        assert (PROJECT / path).exists(), path
    for path in re.findall(r"\]\(([\w.-]+\.md)\)", PAGE):
        assert (PROJECT / "docs" / path).exists(), path
    headings = {
        re.sub(r"[^a-z -]", "", line[3:].lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= headings


def test_what_it_changes_in_the_sample_is_there() -> None:
    text = (PROJECT / "packaging" / "estafeta.toml").read_text()
    for was, becomes in re.findall(r"sed -i 's/\^([^/]+)/([^/]+)/'", PAGE):
        assert re.search(f"^{was}", text, re.MULTILINE), was
        assert becomes.partition(" = ")[0] in text


def test_the_wheel_has_the_name_it_says(wheel: Path) -> None:
    assert wheel.name in PAGE


def test_its_commands_lead_to_a_server_that_works(
    installed: Path, sample: Sample, tmp_path: Path
) -> None:
    config, _ = sample(tmp_path)
    folders = {
        "/etc/estafeta": tmp_path / "etc",
        "/var/lib/estafeta": tmp_path / "data",
        "packaging/estafeta.toml": config,
    }
    (tmp_path / "etc").mkdir()
    told: list[str] = []
    environment: dict[str, str] = {}
    for block in BLOCKS:
        if block.how.startswith("not here"):
            continue
        commands = block.commands
        for name, folder in folders.items():
            commands = commands.replace(name, str(folder))
        if block.how == "run while it serves":
            with _serving(installed, tmp_path / "etc" / "estafeta.toml"):
                done = _run(commands, installed, environment)
        else:
            done = _run(commands, installed, environment)
        wanted = int(block.how.partition("exit ")[2] or 0)
        assert done.returncode == wanted, f"{commands}\n{done.stdout}{done.stderr}"
        environment |= _exported(commands)
        told.append(done.stdout + done.stderr)
    text = "".join(told)
    assert "account ana@example.org added" in text
    assert "rows are the same in both" in text
    assert "error " not in told[1]  # of `config check`


def _run(commands: str, installed: Path, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{installed / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=PROJECT,
        env={"PATH": path, "HOME": str(installed), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _exported(commands: str) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(\S+)$", commands, re.MULTILINE))


@contextmanager
def _serving(installed: Path, config: Path) -> Iterator[None]:
    """The server of the page, until the block ends."""
    command = [installed / "bin" / "estafeta", "serve", "--config", config]
    log = config.parent / "log"
    running = Running(command, log, {"PATH": "/usr/bin:/bin", "HOME": str(log.parent)})
    try:
        wait_for("a server that is ready", lambda: '"ready"' in log.read_text())
        yield
    finally:
        assert running.stop() == 0
