"""The imaptest scripts: those whose capabilities we have pass; the others are named."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.read.imaptest import Player, load, mbox
from tests.read.rig import house
from tests.support.require import require

FOLDER = Path(os.environ.get("ESTAFETA_SUITES", "../shared/suites")) / "imaptest-scripts"
# Extensions of the complete IMAP, and scripts that need them.
LATER = {
    "BINARY", "CATENATE", "CONTEXT=SEARCH", "ESORT", "LIST-EXTENDED", "NOTIFY", "QRESYNC",
    "SORT", "SORT=DISPLAY", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "URLAUTH",
    "URLAUTH=BINARY",
}  # fmt: skip
NAMES = sorted(
    path.name
    for path in (FOLDER.iterdir() if FOLDER.is_dir() else ())
    if path.suffix not in (".mbox", ".txt") and path.name != "LICENSE"
)


def test_scripts_are_there() -> None:
    if not NAMES:
        require("suites", "imaptest-scripts")
    assert len(NAMES) >= 44


@pytest.mark.parametrize("name", NAMES)
def test_script(name: str, tmp_path: Path) -> None:
    test = load(FOLDER / name)
    if missing := test.capabilities & LATER:
        pytest.skip(f"a later issue: {' '.join(sorted(missing))}")
    own = FOLDER / f"{name}.mbox"
    messages = mbox(own if own.exists() else FOLDER / "default.mbox")

    async def run() -> None:
        async with house(tmp_path) as h:
            await Player(h, test, messages).play()

    asyncio.run(run())
