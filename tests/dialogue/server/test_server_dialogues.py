"""Every script of this folder, against a whole installation, line by line and pipelined.

After each the ledger is what the script says, and the audit has nothing to say.
"""

from itertools import dropwhile
from pathlib import Path

import pytest
from tests.dialogue.script import Directive, Script, load, play
from tests.dialogue.server.adapter import ServerAdapter

from estafeta.sim.quiet import quiet

pytestmark = pytest.mark.usefixtures("each_engine")

SCRIPTS = load(Path(__file__).parent)


def has_turns(script: Script) -> bool:
    """Something happens between two lines of the client, so that it cannot be pipelined."""
    dialogue = dropwhile(lambda step: isinstance(step, Directive), script.steps)
    return any(isinstance(s, Directive) and s.word not in ("tls", "closed") for s in dialogue)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_dialogue(script: Script) -> None:
    for split in ("lines",) if has_turns(script) else ("lines", "whole"):
        with quiet() as errors:
            adapter = ServerAdapter(script)
            try:
                play(script, adapter, split=split)
                assert adapter.told() == script.told, split
            finally:
                adapter.close()
        assert not errors.lines, split
