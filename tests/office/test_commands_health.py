"""estafeta health: what a container's and a monitor's check is told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.peers.process import free_port

Run = Callable[..., Any]


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Not into the test's output."""

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def configured(folder: Path, port: int, role: str = "http") -> None:
    (folder / "estafeta.toml").write_text(
        '[server]\nhostname = "h.example"\ndata_dir = "data"\n'
        f'[[listener]]\nrole = "{role}"\nport = {port}\ntls = "none"\n'
    )


def test_well_and_not_well(estafeta: Run, tmp_path: Path) -> None:
    with answering(200, b'{"ok": true, "checks": {"store": "ok"}}') as port:
        configured(tmp_path, port)
        done = estafeta("health")
        assert (done.code, done.out.split()) == (0, ["part", "state", "store", "ok"])
        assert json.loads(estafeta("health", "--json").out)["ok"] is True
    with answering(503, b'{"ok": false, "checks": {"store": "no answer within 2 s"}}') as port:
        configured(tmp_path, port)
        done = estafeta("health")
        assert done.code == 1
        assert "no answer within 2 s" in done.out
        assert not (tmp_path / "data").exists()


def test_each_worker_is_shown(estafeta: Run, tmp_path: Path) -> None:
    page = b'{"ok": false, "workers": {"1": {"store": "ok"}, "2": {"worker": "does not answer"}}}'
    with answering(503, page) as port:
        configured(tmp_path, port)
        done = estafeta("health")
        assert done.code == 1
        assert "worker 1: store" in done.out
        assert "worker 2: worker" in done.out
        assert set(json.loads(estafeta("health", "--json").out)["workers"]) == {"1", "2"}


def test_remarks_are_shown_and_change_nothing(estafeta: Run, tmp_path: Path) -> None:
    page = b'{"ok": true, "checks": {"store": "ok"}, "remarks": {"own-faults": "2 held: why"}}'
    with answering(200, page) as port:
        configured(tmp_path, port)
        done = estafeta("health")
        assert done.code == 0
        assert "own-faults" in done.out
        assert "2 held: why" in done.out


STRANGE = [
    b"",
    b"<html>",
    b"[1]",
    b'{"checks": 3}',
    b'{"workers": [1]}',
    b"\xff",
    b'{"checks": {}, "remarks": 3}',
]


@pytest.mark.parametrize("body", STRANGE)
def test_somebody_else_answers(estafeta: Run, tmp_path: Path, body: bytes) -> None:
    with answering(200, body) as port:
        configured(tmp_path, port)
        done = estafeta("health")
    assert done.code == 1
    assert "is not estafeta" in done.err


def test_nobody_answers(estafeta: Run, tmp_path: Path) -> None:
    configured(tmp_path, free_port("127.0.0.1"))
    done = estafeta("health")
    assert (done.code, done.out) == (1, "")
    assert "connection refused" in done.err


def test_no_page_is_configured(estafeta: Run, tmp_path: Path) -> None:
    configured(tmp_path, 2525, role="mx")
    done = estafeta("health")
    assert done.code == 1
    assert 'no [[listener]] with role = "http"' in done.err
