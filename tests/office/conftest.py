"""The command line, run within the test's process on a store of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from estafeta.office.commands import main


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


def _typed(given: str) -> io.TextIOWrapper:
    octets = io.BytesIO(given.encode("utf-8", "surrogateescape"))
    return io.TextIOWrapper(octets, "utf-8", "surrogateescape")


@pytest.fixture
def plain_logs() -> Iterator[None]:
    """Whatever the test does to logging is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def estafeta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_logs: None) -> Run:
    """Runs `estafeta` with these words; `given` is its standard input."""
    config = tmp_path / "estafeta.toml"
    config.write_text(
        '[server]\ndata_dir = "data"\nhostname = "h.example"\n[tls]\nself_signed = true\n'
    )
    monkeypatch.setenv("ESTAFETA_CONFIG", str(config))
    monkeypatch.setenv("LANG", "C")
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words: str, given: str = "") -> Done:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["estafeta", *words])
        monkeypatch.setattr(sys, "stdin", _typed(given))
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        return Done(code, out.getvalue(), err.getvalue())

    return run
