"""Fixtures of the matrix: each server with its stand, and the cells of the page."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import pytest
from tests.matrix import page
from tests.matrix.stand import Stand
from tests.support.peers.authority import Authority
from tests.support.peers.packages import Unavailable
from tests.support.peers.process import patience
from tests.support.peers.server import Direction, Feature, ForeignServer
from tests.support.require import require

# Module below tests.support.peers -> the name that it has in test ids.
SERVERS = {
    "postfix_server": "postfix",
    "exim": "exim",
    "opensmtpd": "opensmtpd",
    "sendmail": "sendmail",
    "haraka": "haraka",
}


class Known(Protocol):
    """What the page needs of a server; see `ForeignServer`."""

    @property
    def name(self) -> str: ...
    @property
    def cannot(self) -> Mapping[tuple[Direction, Feature], str]: ...
    def version(self) -> str: ...


# How long a case waits for what its server is declared not to do.
IMPOSSIBLE_S = 8.0

# What a case does with its cell: `with cell(feature) as remark:`; remark(text) stands in the page.
Remark = Callable[[str], None]
Cell = Callable[[Feature], AbstractContextManager[Remark]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every case with every server; one server's cases run in one worker."""
    if "server" in metafunc.fixturenames:
        servers = [
            pytest.param(module, id=name, marks=pytest.mark.xdist_group(name))
            for module, name in SERVERS.items()
        ]
        metafunc.parametrize("server", servers, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> ForeignServer:
    """One foreign server; skipped or failed (ESTAFETA_REQUIRE) where it cannot be had."""
    found: ForeignServer = importlib.import_module(f"tests.support.peers.{request.param}").SERVER
    try:
        found.version()
    except Unavailable as error:
        require("peers", f"{found.name}: {error}")
    return found


@pytest.fixture(scope="session")
def folder(server: ForeignServer) -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets, which other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="mtx-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def stand(server: ForeignServer, folder: Path) -> Iterator[Stand]:
    """The server's stand; after all its cases our ledger balances."""
    with Stand(server, folder, Authority(folder / "ca")) as built:
        try:
            built.base  # noqa: B018 (whether it runs here at all)
        except Unavailable as error:
            require("peers", f"{server.name}: {error}")
        yield built
        built.house.command("audit", "--full")


@pytest.fixture
def cell(request: pytest.FixtureRequest, stand: Stand) -> Cell:
    """The cells of this module's direction and this test's server."""
    direction: Direction = request.module.DIRECTION
    return lambda feature: fill(stand.server, direction, feature)


@contextmanager
def fill(server: Known, direction: Direction, feature: Feature) -> Iterator[Remark]:
    """Runs a case and keeps its row: what is declared impossible must fail, all else must not.

    Raises: what the case raises; AssertionError where it worked in spite of the declaration, or
    where docs/interop.md says something else.
    """
    remarks: list[str] = []
    why = server.cannot.get((direction, feature), "")
    result = "yes"
    try:
        with patience(IMPOSSIBLE_S) if why else nullcontext():
            yield remarks.append
    except (AssertionError, OSError):  # smtplib's errors are OSErrors
        if not why:
            raise
        result = "no"
    else:
        assert not why, f"{server.name} {direction} {feature}: it works, though it is said: {why}"
    told = why or " ".join(remarks)
    row = page.Row(server.name, server.version(), direction, feature, result, told)
    if path := page.written_to():
        page.append(path, row)
        return
    known = page.read(page.PAGE.read_text()).get(row.key)
    assert known is not None, f"docs/interop.md lacks {row}: make interop"
    assert row.same(known), f"docs/interop.md says {known}, this run {row}: make interop"
