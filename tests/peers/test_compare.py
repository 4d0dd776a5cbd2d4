"""The comparison itself: each kind of damage is seen."""

from __future__ import annotations

import pytest
from tests.support.peers.compare import SUBMISSION_ADDS, SUBMISSION_REMOVES, assert_same
from tests.support.peers.letters import letter

SENT = letter("ana@a.example", "luis@b.example", "x")
TRACE = b"Return-Path: <ana@a.example>\r\nReceived: from a by b;\r\n\tnow\r\n"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_trace_fields_and_line_ends_are_no_change(line_end: bytes) -> None:
    assert_same(SENT, (TRACE + SENT).replace(b"\r\n", line_end))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\n.\r\n", b"\r\n..\r\n"),
        (b"\t \r\n", b"\r\n"),
        (b"\xc3\xb1", b"n"),
        (b"Comments:   three", b"Comments: three"),
        (b"x-LOWER-and-UPPER", b"X-Lower-And-Upper"),
        (b"\t  undisclosed", b" undisclosed"),
        (b"X-First: 1\r\n", b""),
        (b"X-First: 1\r\n", b"X-First: 1\r\nX-Spam: no\r\n"),
        (b"Comments: again", b"Comments: again\r\nComments: again"),
        (b"X-First: 1\r\n", b"X-First: 1\r\nReceived: below the top\r\n"),
    ],
)
def test_every_change_is_seen(old: bytes, new: bytes) -> None:
    assert old in SENT
    with pytest.raises(AssertionError):
        assert_same(SENT, TRACE + SENT.replace(old, new, 1), may_add=SUBMISSION_ADDS)


def test_fields_may_not_change_places() -> None:
    lines = SENT.replace(b"Comments:   three spaces\r\n", b"", 1)
    moved = lines.replace(b"MIME-Version", b"Comments:   three spaces\r\nMIME-Version", 1)
    with pytest.raises(AssertionError):
        assert_same(SENT, moved)


def test_named_changes_are_allowed() -> None:
    sent = b"Bcc: a@b.example\r\n" + letter("a@a.example", "b@b.example", "y", drop="Date")
    added = b"Date: now\r\n" + sent.partition(b"\r\n")[2]
    with pytest.raises(AssertionError):
        assert_same(sent, added)
    assert_same(sent, added, may_add=SUBMISSION_ADDS, may_remove=SUBMISSION_REMOVES)
