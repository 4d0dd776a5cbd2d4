"""The container file, as far as it can be tried without a builder: what it copies is there, what it
installs works from the wheel alone, and the program behaves as the first process of a container.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shlex
import shutil
import signal
import smtplib
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.packaging.conftest import PACKAGING, PROJECT, SETUP_SECONDS_MAX, Sample
from tests.support.peers.process import Running, wait_for

pytestmark = pytest.mark.timeout(SETUP_SECONDS_MAX + 120)

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """(name, the rest) of each, continued lines joined."""
    text = (PACKAGING / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, _, rest in (x.partition(" ") for x in lines)]


def of(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for rest in of("ENV") for word in shlex.split(rest))


def ignored(path: str) -> bool:
    """By .dockerignore: the last rule that fits decides."""
    decided = False
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        rule = line.removeprefix("!").removeprefix("**/")
        if line and line[0] != "#" and (path == rule or fnmatch.fnmatch(path.split("/")[0], rule)):
            decided = not line.startswith("!")
        elif line.startswith("!") and path.startswith(f"{rule}/"):
            decided = False
    return decided


def test_every_instruction_is_one() -> None:
    known = "FROM WORKDIR COPY RUN ENV USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD"
    assert {name for name, _ in instructions()} <= set(known.split())
    bases = [rest.split()[0] for rest in of("FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1  # what was compiled for one would not run on the other
    assert of("USER") == ["estafeta"]
    assert "/var/lib/estafeta" in of("VOLUME")


def test_what_is_copied_is_there_and_sent_to_the_builder() -> None:
    sources = [
        word for rest in of("COPY") if "--from" not in rest for word in shlex.split(rest)[:-1]
    ]
    assert "src" in sources
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert not ignored(source), source
    assert ignored(".git")
    assert ignored("tests")
    assert ignored(".venv")


def test_it_installs_every_extra_that_a_server_may_want() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (install,) = [rest for rest in of("RUN") if "pip install" in rest]
    named = install.partition('".[')[2].partition("]")[0].split(",")
    assert set(named) >= set(extras) - {"dev"}


def test_it_exposes_the_doors_of_the_sample() -> None:
    doors = tomllib.loads((PACKAGING / "estafeta.toml").read_text())["listener"]
    outside = {str(door["port"]) for door in doors if door["role"] != "http"}
    assert set(of("EXPOSE")[0].split()) == outside


def test_the_wheel_holds_everything_that_is_read_at_run_time(wheel: Path) -> None:
    source = PROJECT / "src"
    wanted = {
        file.relative_to(source).as_posix()
        for file in (source / "estafeta").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    assert any(name.endswith(".sql") for name in wanted)
    assert any("locales" in name for name in wanted)
    assert not wanted - names


@contextmanager
def started(installed: Path, config: Path, *before: str) -> Iterator[Running]:
    """ENTRYPOINT and CMD, with ENV, in the fresh environment."""
    command = [*json.loads(of("ENTRYPOINT")[0]), *json.loads(of("CMD")[0])]
    command[0] = str(installed / "bin" / command[0])
    env = environment() | {"PATH": f"{installed}/bin:/usr/bin:/bin", "HOME": str(config.parent)}
    env["ESTAFETA_CONFIG"] = str(config)
    running = Running([*before, *command], config.parent / "log", env)
    try:
        yield running
    finally:
        running.stop()


def health(installed: Path, config: Path) -> int:
    (check,) = of("HEALTHCHECK")
    words = json.loads(check.partition("CMD ")[2])
    env = {"PATH": "/usr/bin:/bin", "ESTAFETA_CONFIG": str(config)}
    command = [installed / "bin" / words[0], *words[1:]]
    return subprocess.run(command, env=env, capture_output=True, timeout=30).returncode


def test_it_serves_from_the_wheel_alone(installed: Path, sample: Sample, tmp_path: Path) -> None:
    config, ports = sample(tmp_path)
    assert health(installed, config) == 1
    with started(installed, config) as running:
        wait_for("a healthy server", lambda: health(installed, config) == 0)
        with (
            smtplib.SMTP("127.0.0.1", ports["25"], timeout=30) as client,
            pytest.raises(smtplib.SMTPRecipientsRefused),
        ):
            client.sendmail("b@y.example", ["no@x.example"], "Subject: x\r\n\r\nhello\r\n")
        assert running.stop() == 0


def test_as_the_first_process_it_minds_signals(
    installed: Path, sample: Sample, tmp_path: Path
) -> None:
    """The kernel keeps from process 1 every signal that it has no handler for."""
    unshare = shutil.which("unshare")
    before = [str(unshare), "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if unshare is None or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of our own here")
    config, _ = sample(tmp_path)
    with started(installed, config, *before) as running:
        wait_for("a healthy server", lambda: health(installed, config) == 0)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        first = int(children[0])
        status = Path(f"/proc/{first}/status").read_text()
        (inner,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
        assert inner.split()[-1] == "1"
        os.kill(first, signal.SIGHUP)
        log = config.parent / "log"
        wait_for("a reload", lambda: "reloaded" in log.read_text())
        os.kill(first, signal.SIGTERM)
        assert running.process.wait(30) == 0
    assert "stopped" in log.read_text()
