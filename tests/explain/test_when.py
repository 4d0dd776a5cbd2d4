"""How long a reply asks us to wait: said in many ways, and not read where nothing of it is said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from estafeta.explain.when import seconds_to_wait

NOW = datetime(2026, 11, 30, 17, 20, tzinfo=UTC).timestamp()

SAID = {
    "Greylisted, try again in 300 seconds": 300,
    "Recipient address rejected: Greylisted for 5 minutes": 300,
    "Greylisting in action, please come back in 00:04:59": 299,
    "Greylisting in action, please come back in 01:00:00 - see our page": 3600,
    "You have been greylisted. Please try again after 10 minutes.": 600,
    "temporarily deferred; retry in 5 min": 300,
    "Please wait 60s before the next try": 60,
    "Please wait at least 2 hours": 7200,
    "wait for another 90 seconds": 90,
    "greylisted (retry: 120 sec)": 120,
    "Greylisted for 59 more seconds": 59,
    "still greylisted, 45 seconds left": 45,
    "try again in 4m 59s": 299,
    "try again in 1 hour and 30 minutes": 5400,
    "Too many messages, retry after 1 h": 3600,
    "Inténtelo de nuevo en 5 minutos": 300,
    "Vuelva dentro de 1 hora": 3600,
    "Bitte in 10 Minuten erneut versuchen": 600,
    "try again after 2026-11-30T17:25:00Z": 300,
    "not before 2026-11-30 17:30:00 UTC": 600,
    "deferred until 2026-11-30T18:30:00+01:00": 600,
    "Deferred at least 2.5 minutes": 150,
}

SILENT = (
    "Greylisted, see http://greylist.example/help.html",
    "try again later",
    "You sent 100 messages in 60 minutes",
    "too many connections in the last 60 seconds",
    "more than 20 mails per 5 minutes",
    "100 recipients for 1 hour is the limit",
    "4.7.1 rate limit 30/h exceeded",
    "the time is 2026-11-30T17:25:00Z",
    "until 2026-13-45T17:25:00Z",
    "after 2026-11-30T17:00:00Z",  # has passed
    "try again in 0 seconds",
    "try again in 900 hours",
    "in 5 mailboxes",
    "message id 300 for 5 minuscule reasons",
    "",
)


@pytest.mark.parametrize("text", SAID)
def test_a_wait_that_is_said_is_read(text: str) -> None:
    assert seconds_to_wait(text, NOW) == SAID[text]


@pytest.mark.parametrize("text", SILENT)
def test_a_wait_that_is_not_said_is_not_read(text: str) -> None:
    assert seconds_to_wait(text, NOW) is None


def test_long_texts_cost_little() -> None:
    assert seconds_to_wait("in 5 " * 400 + "for 1" * 200, NOW) is None
    assert seconds_to_wait("wait " * 400 + " " * 1000, NOW) is None
