"""What a test needs from outside: skip without it, or fail where ESTAFETA_REQUIRE names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest
from tests.support.peers.packages import Peers, Unavailable, fetch


def require(kind: str, reason: str) -> NoReturn:
    """Ends the test: skipped with `reason`, failed when `kind` is listed in ESTAFETA_REQUIRE.

    kind: "suites", "peers" or "browser".
    """
    if kind in os.environ.get("ESTAFETA_REQUIRE", "").split(","):
        pytest.fail(f"{kind} required by ESTAFETA_REQUIRE: {reason}")
    pytest.skip(f"{kind}: {reason}")


def required(*packages: str) -> Peers:
    """Debian's programs, as `packages.fetch` gives them; ends the test where they cannot be had."""
    try:
        return fetch(*packages)
    except Unavailable as error:
        require("peers", str(error))


def suite(name: str) -> Path:
    """The folder of one third-party suite below ESTAFETA_SUITES."""
    root = os.environ.get("ESTAFETA_SUITES")
    if not root:
        require("suites", "ESTAFETA_SUITES does not say where the suites are")
    folder = Path(root) / name
    if not folder.is_dir():
        require("suites", f"{folder} is not there")
    return folder
