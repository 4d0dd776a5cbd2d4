"""Every script of this folder, played line by line, octet by octet, and pipelined."""

from pathlib import Path

import pytest
from tests.dialogue.script import Script, load, parse, play
from tests.dialogue.smtp.adapter import SmtpAdapter
from tests.dialogue.smtp.seen import names_in

from estafeta.mail.outcome import Reply
from estafeta.wire import replies

SCRIPTS = load(Path(__file__).parent)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_dialogue(script: Script) -> None:
    first = SmtpAdapter(script)
    transcript = play(script, first)
    assert not first.unused(), "decisions that nothing asked for"
    for split in ("octets", "whole"):
        again = SmtpAdapter(script, replay=first.recorded)
        assert play(script, again, split=split) == transcript, split


def test_every_reply_of_the_catalogue_is_seen() -> None:
    seen: set[str] = set()
    for script in SCRIPTS:
        seen |= names_in(play(script, SmtpAdapter(script)))
    assert sorted(set(replies.CATALOGUE) - seen) == []


def test_replies_are_told_apart() -> None:
    """Else the test above could take one for another."""
    for name, entry in replies.CATALOGUE.items():
        reply = entry if isinstance(entry, Reply) else entry(**dict.fromkeys(entry.places, "7"))
        assert names_in(reply.encode()) == {name}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("S: 220 other", "expected"),
        ("S: 220 mx.example ESMTP estafeta\nC: NOOP\nS: 250 2.0.0 OK\nC: NOOP", "unexpected"),
        ("S: 220 mx.example ESMTP estafeta\nC: NOOP\nS*2: 250 2.0.0 OK", "expected"),
        ("S: 220 mx.example ESMTP estafeta\nC: NOOP\nS: 250 2.0.0 OK\nE: Reset", "events"),
        ("S: 220 mx.example ESMTP estafeta\n[closed]", "not closing"),
    ],
)
def test_a_wrong_script_fails(wrong: str, complaint: str) -> None:
    script = parse(wrong)
    for split in ("lines", "octets", "whole"):
        with pytest.raises(AssertionError, match=complaint):
            play(script, SmtpAdapter(script), split=split)
