"""The journey of a message that waits for a host without time says so, and until when."""

from __future__ import annotations

import msgspec
import pytest
from tests.office.test_journey import AT, entry, story

from estafeta.office.journey import tell
from estafeta.store.journey import QueueRow, Waits

HOST = Waits("mx.b.example", AT, AT + 600_000, 3, probed=False)
CASES = [
    (HOST, "en", "waits for the host mx.b.example, which has had no time since "),
    (HOST, "es", "espera al servidor mx.b.example, que no da abasto desde "),
    (msgspec.structs.replace(HOST, probed=True), "en", "one message is finding out now"),
    (msgspec.structs.replace(HOST, probed=True), "es", "un mensaje está comprobando ahora"),
    (msgspec.structs.replace(HOST, name="@b.example"), "en", "waits: b.example said at "),
    (msgspec.structs.replace(HOST, name="@b.example"), "es", "espera: b.example dijo en "),
]


@pytest.mark.parametrize(("waits", "language", "text"), CASES)
def test_what_it_waits_for(waits: Waits, language: str, text: str) -> None:
    row = QueueRow(0, "b.example", AT + 60_000, 1, leased=False, held="", last=None, waits=waits)
    lines = "\n".join(
        line
        for way in tell(story(entry(None), queue=[row]), language).recipients
        for step in way.steps
        for line in step.lines
    )
    assert text in lines


def test_who_is_being_tried_waits_for_nobody() -> None:
    row = QueueRow(0, "b.example", AT, 1, leased=True, held="", last=None, waits=HOST)
    told = tell(story(entry(None), queue=[row]), "en")
    assert "waits for the host" not in str(told)
