"""Greylists: waited for as long as they say, or as a message had to wait before."""

from __future__ import annotations

import msgspec
import pytest

from estafeta.mail.outcome import Deferred, Reply
from estafeta.queue import greylist as module
from estafeta.queue.greylist import GREYLISTED, Greylists
from estafeta.queue.limits import WISH_SECONDS_MAX

REPLY = Reply(451, "4.7.1", "greylisted")
SILENT = Deferred(REPLY, "greylisted")
SAYS = Deferred(REPLY, "greylisted", retry_after=300.0)
A = "a.example"


def wish(
    lists: Greylists, outcome: Deferred = SILENT, attempts: int = 1, age: float = 0.5
) -> float | None:
    return lists.wish(A, outcome, attempts=attempts, age=age)


def test_nothing_is_known_at_first() -> None:
    assert wish(Greylists()) is None


def test_what_it_says_counts_before_what_was_learnt() -> None:
    lists = Greylists()
    lists.passed(A, 900)
    assert wish(lists, SAYS) == 300


def test_what_passed_last_is_waited_for_from_the_first_try_on() -> None:
    lists = Greylists()
    lists.passed(A, 900)
    lists.passed(A, 600)
    assert wish(lists) == 599.5
    assert wish(lists, attempts=2, age=100) is None  # by the plan: somebody hurried it
    assert lists.wish("b.example", SILENT, attempts=1, age=0) is None


def test_what_was_not_enough_is_forgotten() -> None:
    lists = Greylists()
    lists.passed(A, 600)
    assert wish(lists, attempts=2, age=610) is None
    assert wish(lists) is None


def test_another_deferral_is_no_greylist() -> None:
    lists = Greylists()
    lists.passed(A, 600)
    assert wish(lists, Deferred(REPLY, "server-busy")) is None
    assert wish(lists, Deferred(REPLY, "server-busy", retry_after=60)) == 60


def test_what_is_learnt_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAYS_LEARNT_MAX", 10)
    lists = Greylists()
    lists.passed(A, 1e9)
    assert wish(lists, age=0) == WISH_SECONDS_MAX
    for n in range(100):
        lists.passed(f"d{n}.example", 600)
    assert len(lists._learnt) == 10
    assert wish(lists) is None


def test_the_queue_finds_it_in_what_it_keeps() -> None:
    assert GREYLISTED in msgspec.json.encode(SILENT).decode()
    other = Deferred(Reply(451, "", 'he said "cause":"greylisted"'), "server-busy")
    assert GREYLISTED not in msgspec.json.encode(other).decode()
