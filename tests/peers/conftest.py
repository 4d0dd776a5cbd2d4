"""Fixtures of the tests that run other people's programs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.authority import Authority
from tests.support.peers.clients import Account, Clients
from tests.support.peers.packages import Peers
from tests.support.require import required

DOMAIN = "estafeta.example"


@pytest.fixture(scope="session")
def peers() -> Peers:
    """The unpacked programs; skipped or failed (ESTAFETA_REQUIRE) where they cannot be had."""
    return required()


def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for Unix sockets, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="est-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def peer_folder(peers: Peers) -> Iterator[Path]:
    """A folder for one test's instances of the foreign programs."""
    yield from short_folder()


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    yield from short_folder()


@pytest.fixture(scope="session")
def authority(session_folder: Path) -> Authority:
    """The CA that every client here trusts."""
    return Authority(session_folder / "ca")


@pytest.fixture
def clients(peers: Peers, peer_folder: Path) -> Clients:
    """The clients, in an empty HOME."""
    return Clients(peers, peer_folder / "home")


@pytest.fixture(scope="session")
def estafeta_server(session_folder: Path, authority: Authority) -> Iterator[Estafeta]:
    """A running estafeta with TLS: ana sends, luis receives, eva reads IMAP, noa POP3."""
    server = Estafeta(
        session_folder / "estafeta",
        hostname=f"mx.{DOMAIN}",
        accounts=[f"{name}@{DOMAIN}" for name in ("ana", "luis", "eva", "noa")],
        certificate=authority.issue("localhost"),
        ca=authority.ca,
    )
    with server:
        yield server
        server.command("audit", "--full")  # after all that the others did, the ledger balances


@pytest.fixture
def ana(authority: Authority) -> Account:
    """The sender's login."""
    return Account("localhost", f"ana@{DOMAIN}", PASSWORD, authority.ca)
