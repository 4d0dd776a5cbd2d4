"""What keeps the real program from starting: one clear sentence, and the exit code."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from estafeta.store.open import open_store
from estafeta.world.real import real_world

COMMAND = [sys.executable, "-m", "estafeta", "serve", "--config"]


def serve(folder: Path, text: str) -> tuple[int, str]:
    """Exit code and all that was said, of a start that fails."""
    config = folder / "estafeta.toml"
    config.write_text(
        f'[server]\nhostname = "h.example"\ndata_dir = "{folder}/data"\n'
        f'[log]\nformat = "json"\nlevel = "warning"\n{text}'
    )
    done = subprocess.run([*COMMAND, str(config)], capture_output=True, text=True, timeout=60)
    return done.returncode, (done.stdout + done.stderr).strip()


def listener(port: int, tls: str = "none") -> str:
    return f'[[listener]]\nrole = "mx"\naddress = "127.0.0.1"\nport = {port}\ntls = "{tls}"\n'


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, said = serve(tmp_path, listener(port))
    assert code == 1
    assert said == (
        f"estafeta: mx on 127.0.0.1 port {port}: the port is in use by another program; "
        "stop that one or choose another port"
    )


def test_a_missing_certificate(tmp_path: Path) -> None:
    tls = '[tls]\ncertificates = [{certificate = "no.pem", key = "no.key"}]\n'
    code, said = serve(tmp_path, tls + listener(0, "starttls"))
    assert code == 1
    assert said.startswith("estafeta: ")
    assert "no.pem does not exist" in said
    assert "\n" not in said


def test_a_store_of_a_newer_version(tmp_path: Path) -> None:
    async def make() -> None:
        store = await open_store(f"sqlite://{data}/estafeta.db", real_world(data))
        await store.run(lambda tx: tx.run("INSERT INTO migration VALUES (9999, 'later', 'x', 0)"))
        await store.close()

    data = tmp_path / "data"
    asyncio.run(make())
    code, said = serve(tmp_path, listener(0))
    assert code == 1
    assert "made by a newer estafeta" in said
    assert "9999" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[smtp]\nsize_maxx = "1MiB"\n', ("smtp.size_maxx", "size_max")),
        ('[smtp]\nrecipients_max = "many"\n', ("smtp.recipients_max", "expected")),
        ("[smpt]\n", ("smpt", "smtp")),
        ('[queue]\nretry = ["soon"]\n', ("queue.retry[0]", "expected")),
    ],
)
def test_a_wrong_configuration(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """File, line, key, what was expected or the nearest valid key; exit 2."""
    code, said = serve(tmp_path, text)
    assert code == 2
    first = said.split("\n")[0]
    line = 8 if text.count("\n") > 1 else 7
    assert first.startswith(f"{tmp_path}/estafeta.toml:{line}: "), first
    for word in words:
        assert word in said
