"""Lately: what is kept is as it was accepted, and bounded."""

from __future__ import annotations

import msgspec

from estafeta.mail.envelope import Recipient
from estafeta.mail.protocols import Bytes
from estafeta.queue.lately import Lately
from estafeta.queue.limits import LATELY_MAX, LATELY_OCTETS_MAX, LATELY_SECONDS_MAX
from estafeta.store.rows import Acceptance

ROW = Acceptance(
    id=1, at=0, origin="submission", reverse_path="ana@mx.example", body=1, size=3, recipients=1
)
BOB = (Recipient("bob@remote.example"),)


def test_it_is_found_as_it_was_until_it_is_worked_on() -> None:
    lately = Lately(lambda: 0.0)
    content = Bytes(b"abc")
    lately.keep(ROW, BOB, content)
    found = lately.find(1)
    assert found is not None
    assert (found.acceptance, found.recipients, found.content) == (ROW, BOB, content)
    lately.drop(1)
    assert lately.find(1) is None
    lately.drop(1)


def test_age_number_and_size_are_bounded() -> None:
    now = [0.0]
    lately = Lately(lambda: now[0])
    for id in range(LATELY_MAX + 1):
        lately.keep(msgspec.structs.replace(ROW, id=id), BOB, Bytes(b"abc"))
    assert lately.find(0) is not None  # it is the next to be leased
    assert lately.find(LATELY_MAX) is None
    now[0] = LATELY_SECONDS_MAX + 0.1
    assert lately.find(0) is None
    lately.keep(msgspec.structs.replace(ROW, id=LATELY_MAX), BOB, Bytes(b"abc"))
    assert lately.find(LATELY_MAX) is not None  # those too old have left
    lately.keep(msgspec.structs.replace(ROW, id=7), BOB, Bytes(bytes(LATELY_OCTETS_MAX + 1)))
    assert lately.find(7) is None
