"""Flow: concurrency follows the answers, a rate is kept, and what is remembered is bounded."""

from __future__ import annotations

import pytest

from estafeta.queue import flow as module
from estafeta.queue.flow import Flow
from estafeta.queue.limits import WINDOW_BEGIN
from estafeta.queue.plan import DomainRules, Rules

A, B = "a.example", "b.example"


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(rules: DomainRules | None = None, **of: DomainRules) -> tuple[Flow, Time]:
    time = Time()
    table = Rules(rules or DomainRules(), {f"{name}.example": each for name, each in of.items()})
    return Flow(table.of, time), time


def fill(flow: Flow, name: str = A) -> int:
    """Begins as many as there are places for; how many."""
    count = 0
    while flow.places(name):
        flow.begin(name)
        count += 1
    return count


def test_it_begins_with_a_few_and_grows_by_one_with_each_that_is_answered() -> None:
    flow, _ = made()
    assert fill(flow) == WINDOW_BEGIN
    for n in range(1, 10):
        flow.end(A)
        flow.answered(A)
        assert fill(flow) == 2, n  # its own place, and one more
    assert flow.active == WINDOW_BEGIN + 9


def test_it_never_passes_what_is_set() -> None:
    flow, _ = made(DomainRules(concurrency=7))
    for _ in range(50):
        flow.answered(A)
    assert fill(flow) == 7
    few, _ = made(DomainRules(concurrency=2))
    assert fill(few) == 2


def test_it_halves_when_something_gives_way_and_grows_slowly_from_there() -> None:
    flow, _ = made(DomainRules(concurrency=20))
    for _ in range(50):
        flow.answered(A)
    flow.gave_way(A)
    assert flow.window(A) == 10
    for _ in range(10):
        flow.answered(A)
    assert flow.window(A) == 10
    flow.answered(A)
    assert flow.window(A) == 11
    for _ in range(20):
        flow.gave_way(A)
    assert fill(flow) == 1


def test_domains_do_not_touch_each_other() -> None:
    flow, _ = made(b=DomainRules(concurrency=1))
    flow.gave_way(A)
    assert (fill(flow, A), fill(flow, B), fill(flow, "c.example")) == (2, 1, WINDOW_BEGIN)
    assert flow.full() == {A, B, "c.example"}
    assert flow.allowed == 2 + 1 + WINDOW_BEGIN
    flow.end(B)
    assert flow.full() == {A, "c.example"}


def test_a_rate_is_kept() -> None:
    flow, time = made(DomainRules(rate=60, concurrency=100))
    for _ in range(95):
        flow.answered(A)
    sent = fill(flow)
    assert sent == 10  # what may be sent at once after a rest
    for _ in range(sent):
        flow.end(A)
    assert flow.places(A) == 0
    assert flow.full() == {A}
    assert flow.wait() == pytest.approx(1.0)
    for _ in range(600):
        time.now += 0.1
        sent += fill(flow)
        for _ in range(flow.active):
            flow.end(A)
    assert sent in (69, 70)
    time.now += 60
    assert flow.places(A) == 10
    assert flow.wait() is None
    assert flow.full() == set()


def test_a_slow_rate_lets_one_in_at_a_time() -> None:
    flow, time = made(DomainRules(rate=0.5))
    assert fill(flow) == 1
    flow.end(A)
    assert flow.wait() == pytest.approx(120)
    time.now += 119
    assert flow.places(A) == 0
    time.now += 1.1
    assert flow.places(A) == 1


def test_what_was_no_delivery_costs_no_rate() -> None:
    flow, _ = made(DomainRules(rate=6))
    flow.begin(A)
    flow.spare(A)
    flow.end(A)
    assert flow.places(A) == 1


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOWS_MAX", 10)
    flow, _ = made()
    flow.begin("busy.example")
    for n in range(100):
        flow.gave_way(f"d{n}.example")
        flow.begin(f"d{n}.example")
        flow.end(f"d{n}.example")
    assert len(flow._domains) == 10
    assert flow.window("d99.example") == 2
    assert flow.window("d0.example") == WINDOW_BEGIN  # forgotten
    flow.end("busy.example")
    assert flow.active == 0
