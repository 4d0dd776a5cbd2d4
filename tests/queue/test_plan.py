"""The retry plan: intervals, repetition, giving up, and what a peer may wish."""

from __future__ import annotations

import random

import pytest

from estafeta.queue.limits import GREYLIST_EARLY_MAX, WISH_SECONDS_MAX
from estafeta.queue.plan import ASK_AGAIN_MAX, JITTER, DomainRules, RetryPlan, Rules

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


def waits(plan: RetryPlan, wish: float, attempts: int = 1) -> list[float]:
    """Seconds until the next try after a greylist's wish, over many throws of the dice."""
    found = []
    for seed in range(40):
        due = plan.next_try(
            attempts=attempts,
            accepted=NOW,
            now=NOW,
            dice=random.Random(seed),
            wish=wish,
            greylisted=True,
        )
        assert due is not None
        found.append((due - NOW) / 1000)
    return found


def test_a_greylist_that_wants_shorter_gets_it_and_never_a_moment_too_early() -> None:
    found = waits(RetryPlan(intervals=(3600,)), 60)
    assert min(found) >= 60
    assert max(found) <= 60 * (1 + JITTER)


def test_a_greylist_does_not_hurry_us_for_ever() -> None:
    plan = RetryPlan(intervals=(3600,) * 9)
    assert max(waits(plan, 1, GREYLIST_EARLY_MAX)) < 2
    assert min(waits(plan, 1, GREYLIST_EARLY_MAX + 1)) >= 3600 * (1 - JITTER)


def test_no_wish_holds_a_message_until_it_is_given_up() -> None:
    plan = RetryPlan(intervals=(60,))
    assert max(waits(plan, 1e9)) <= WISH_SECONDS_MAX * (1 + JITTER)
    due = next_try(plan, 1, 1e9)
    assert due is not None
    assert due - NOW <= WISH_SECONDS_MAX * (1 + JITTER) * 1000


@pytest.mark.parametrize(
    ("plan", "span"),
    [
        (RetryPlan(), 432000),
        (RetryPlan(intervals=(60, 60), repeat=0, give_up_after=0), 120 * (1 + JITTER)),
        (RetryPlan(intervals=(60, 60), repeat=0, give_up_after=100), 100),
        (RetryPlan(intervals=(60,), repeat=10, give_up_after=0, retries_max=4), 90 * (1 + JITTER)),
        (RetryPlan(intervals=(60, 60, 60), give_up_after=0, retries_max=2), 120 * (1 + JITTER)),
        (RetryPlan(give_up_after=0), None),
    ],
)
def test_how_long_a_plan_lasts(plan: RetryPlan, span: float | None) -> None:
    assert plan.span == (None if span is None else pytest.approx(span))


def test_the_rules_nearest_to_the_name_count() -> None:
    usual, all_others, below, further, exact = (DomainRules(concurrency=n) for n in range(1, 6))
    rules = Rules(
        usual,
        {"*": all_others, ".example": below, ".b.Example": further, "mail.b.example": exact},
    )
    wanted = {
        "mail.b.example": exact,
        "other.b.example": further,
        "b.example": below,
        "a.example": below,
        "a.test": all_others,
        "[192.0.2.1]": all_others,
    }
    assert {name: rules.of(name) for name in wanted} == wanted
    assert Rules(usual).of("a.example") is usual
    assert Rules(usual, {".b.example": exact}).of("b.example") is usual


def test_the_shortest_of_all_plans() -> None:
    short, endless = RetryPlan(give_up_after=10), RetryPlan(give_up_after=0)
    rules = Rules(DomainRules(), {"b.example": DomainRules(short)})
    assert rules.span_least() == 10
    assert Rules(DomainRules(endless)).span_least() is None
