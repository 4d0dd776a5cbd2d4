"""Every script of this folder, in three splittings."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.dialogue.reading import adapter
from tests.dialogue.script import Script, load, play

from estafeta.read import ImapServer

pytestmark = pytest.mark.usefixtures("each_engine")

SCRIPTS = load(Path(__file__).parent)


@pytest.mark.parametrize("split", ["lines", "octets", "whole"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_dialogue(script: Script, split: str, tmp_path: Path) -> None:
    if split == "whole" and "deliver" in {getattr(step, "word", "") for step in script.steps}:
        split = "lines"
    with adapter(script, tmp_path, ImapServer) as server:
        play(script, server, split=split)
