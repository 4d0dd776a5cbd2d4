"""The retry plan: intervals, repetition, giving up, and what a peer may wish."""

from __future__ import annotations

import random

import pytest

from estafeta.queue.plan import ASK_AGAIN_MAX, JITTER, RetryPlan

NOW = 1_800_000_000_000
MINUTE = 60_000


def tries(plan: RetryPlan, seed: int = 1) -> list[int]:
    """Times of all tries in ms after acceptance, a deferral at each."""
    dice = random.Random(seed)
    times = [0]
    while True:
        due = plan.next_try(attempts=len(times), accepted=NOW, now=NOW + times[-1], dice=dice)
        if due is None:
            return times
        times.append(due - NOW)


def test_the_default_plan_is_the_documented_one() -> None:
    intervals = [b - a for a, b in zip(tries(RetryPlan()), tries(RetryPlan())[1:], strict=False)]
    wanted = [5, 10, 20, 40, 60, 120, 240] + [360] * (len(intervals) - 8)
    for interval, minutes in zip(intervals, wanted, strict=False):
        assert abs(interval - minutes * MINUTE) <= JITTER * minutes * MINUTE + 1


def test_the_last_try_is_at_the_give_up_time_and_none_after_it() -> None:
    plan = RetryPlan()
    assert tries(plan)[-1] == plan.give_up_after * 1000


def test_a_list_without_repetition_ends_after_its_number() -> None:
    plan = RetryPlan(intervals=(60, 60, 60), repeat=0, give_up_after=0)
    assert len(tries(plan)) == 4


def test_retries_max_counts_retries() -> None:
    plan = RetryPlan(intervals=(60,), repeat=60, give_up_after=0, retries_max=2)
    assert len(tries(plan)) == 3


def test_jitter_stays_within_its_bounds_and_is_not_always_the_same() -> None:
    plan = RetryPlan(intervals=(1000,), repeat=0, give_up_after=0)
    seen = {tries(plan, seed)[1] for seed in range(50)}
    assert len(seen) > 10
    assert min(seen) >= 1000_000 * (1 - JITTER)
    assert max(seen) <= 1000_000 * (1 + JITTER)


def next_try(plan: RetryPlan, attempts: int, wish: float | None) -> int | None:
    return plan.next_try(attempts=attempts, accepted=NOW, now=NOW, dice=random.Random(1), wish=wish)


def test_a_peer_that_wants_longer_gets_it() -> None:
    due = next_try(RetryPlan(intervals=(60,)), 1, 3600)
    assert due is not None
    assert due - NOW >= 3600_000 * (1 - JITTER)


def test_a_peer_that_wants_shorter_does_not() -> None:
    due = next_try(RetryPlan(intervals=(3600,)), 1, 60)
    assert due is not None
    assert due - NOW >= 3600_000 * (1 - JITTER)


def test_recipients_left_over_are_tried_at_once_but_not_for_ever() -> None:
    assert next_try(RetryPlan(), 1, 0) == NOW
    later = next_try(RetryPlan(), ASK_AGAIN_MAX, 0)
    assert later is not None
    assert later > NOW


@pytest.mark.parametrize("attempts", [1, 8, 100])
def test_give_up_after_holds_whatever_the_number_of_attempts(attempts: int) -> None:
    plan = RetryPlan(give_up_after=3600)
    end = NOW + 3600_000
    dice = random.Random(1)
    assert plan.next_try(attempts=attempts, accepted=NOW, now=end, dice=dice) is None
    due = plan.next_try(attempts=attempts, accepted=NOW, now=end - 1000, dice=dice)
    assert due == end
