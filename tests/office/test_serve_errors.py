"""What keeps the server from starting is told in one clear sentence, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from estafeta.office.tenure import StoreInUse, Tenure
from estafeta.world.certificates import Authority

Run = Callable[..., Any]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def configured(tmp_path: Path, text: str = "", *, server: str = 'data_dir = "data"') -> None:
    (tmp_path / "estafeta.toml").write_text(
        f'[server]\nhostname = "h.example"\n{server}\n[log]\nlevel = "error"\n{text}'
    )


def mx(port: int, tls: str = "none") -> str:
    return f'[[listener]]\nrole = "mx"\naddress = "127.0.0.1"\nport = {port}\ntls = "{tls}"\n'


def told(done: Any, *words: str) -> None:
    assert done.code == 1
    lines = done.err.strip().split("\n")
    assert len(lines) == 1, done.err
    assert lines[0].startswith("estafeta: ")
    for word in words:
        assert word in lines[0]


def test_a_port_in_use(estafeta: Run, tmp_path: Path, taken: int) -> None:
    configured(tmp_path, mx(taken))
    told(estafeta("serve"), "mx on 127.0.0.1 port", str(taken), "in use by another program")


def test_a_port_in_use_of_the_pages(estafeta: Run, tmp_path: Path, taken: int) -> None:
    configured(tmp_path, mx(0) + f'[[listener]]\nrole = "http"\nport = {taken}\n')
    told(estafeta("serve"), "http", str(taken), "in use by another program")


def test_an_address_that_is_not_ours(estafeta: Run, tmp_path: Path) -> None:
    configured(tmp_path, mx(0).replace("127.0.0.1", "192.0.2.77"))
    told(estafeta("serve"), "192.0.2.77", "does not have that address")


def test_a_certificate_that_is_missing_or_none(estafeta: Run, tmp_path: Path) -> None:
    tls = '[tls]\ncertificates = [{certificate = "c.pem", key = "c.key"}]\n'
    configured(tmp_path, tls + mx(0, "starttls"))
    told(estafeta("serve"), "c.pem", "does not exist")
    (tmp_path / "c.pem").write_text("nothing")
    (tmp_path / "c.key").write_text("nothing")
    told(estafeta("serve"), "it is not a PEM file", "c.pem")
    authority = Authority("test", time.time())
    chain, _ = authority.issue(["a.example"], tmp_path)
    _, key = authority.issue(["b.example"], tmp_path)
    chain.rename(tmp_path / "c.pem")
    key.rename(tmp_path / "c.key")
    told(estafeta("serve"), "the key does not belong to the certificate", "c.key")


def test_config_check_tells_what_would_keep_it_from_starting(estafeta: Run, tmp_path: Path) -> None:
    tls = '[tls]\ncertificates = [{certificate = "c.pem", key = "c.key"}]\n'
    configured(tmp_path, tls)
    done = estafeta("config", "check")
    assert done.code == 2
    assert "c.pem does not exist" in done.out
    configured(tmp_path, "[tls]\nself_signed = true\n", server='user = "nobody-of-that-name"')
    done = estafeta("config", "check")
    assert done.code == 2
    assert "there is no such user" in done.out


def test_a_store_of_a_newer_version(estafeta: Run, tmp_path: Path) -> None:
    configured(tmp_path, mx(0))
    assert estafeta("domain", "list").code == 0
    with contextlib.closing(apsw.Connection(str(tmp_path / "data" / "estafeta.db"))) as store:
        store.execute("INSERT INTO migration VALUES (9999, 'later', 'x', 0)")
    told(estafeta("serve"), "made by a newer estafeta", "9999")
    told(estafeta("domain", "list"), "made by a newer estafeta")


def test_a_data_folder_that_is_none(estafeta: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    configured(tmp_path, mx(0), server='data_dir = "file/data"')
    told(estafeta("serve"), "the data folder", "not a directory")


def test_a_user_that_is_none(estafeta: Run, tmp_path: Path) -> None:
    configured(tmp_path, mx(0), server='data_dir = "data"\nuser = "nobody-of-that-name"')
    told(estafeta("serve"), "no such user")


def test_a_store_that_another_service_has(estafeta: Run, tmp_path: Path) -> None:
    configured(tmp_path, mx(0))
    store = tmp_path / "data" / "estafeta.db"
    with Tenure(store):
        told(estafeta("serve"), f"{store} is in use by another estafeta serve, pid {os.getpid()}")
        assert not store.exists()
        assert estafeta("domain", "add", "b.example").code == 0  # commands go on beside it
    with Tenure(store), pytest.raises(StoreInUse):
        Tenure(store)
    with Tenure(store):  # neither refusal nor end left anything held
        pass


def test_a_service_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    store = tmp_path / "estafeta.db"
    script = (
        "import os, pathlib, sys; from estafeta.office.tenure import Tenure;"
        "Tenure(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreInUse, match=f"pid {other.pid}"):
            Tenure(store)
        other.kill()
        other.wait()
    Tenure(store).end()


def test_something_that_is_no_store(estafeta: Run, tmp_path: Path) -> None:
    configured(tmp_path, mx(0))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "estafeta.db").write_bytes(b"not a database, but long enough" * 100)
    told(estafeta("serve"), "estafeta.db")
