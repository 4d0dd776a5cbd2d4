"""Fixtures of the tests that run other people's programs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.peers.packages import Peers, Unavailable, fetch
from tests.support.require import require


@pytest.fixture(scope="session")
def peers() -> Peers:
    """The unpacked programs; skipped or failed (ESTAFETA_REQUIRE) where they cannot be had."""
    try:
        return fetch()
    except Unavailable as error:
        require("peers", str(error))


@pytest.fixture
def peer_folder(peers: Peers) -> Iterator[Path]:
    """A folder for one test's instances, its path short enough for Unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="est-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
