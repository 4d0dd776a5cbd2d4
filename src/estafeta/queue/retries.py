"""Retries: what an attempt means for the next: when this message, this host, this domain.

One of a worker. It brings together the plan, what greylists want, which hosts have no time, and how
many deliveries at once a domain takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from estafeta.mail.outcome import Deferred, Delivered, Outcome
from estafeta.mail.protocols import Meter
from estafeta.queue import backoff
from estafeta.queue.contract import HostSeen
from estafeta.queue.flow import Flow
from estafeta.queue.greylist import CAUSE, Greylists
from estafeta.queue.hosts import Hosts, waited
from estafeta.queue.limits import BACKOFF_INTERVAL_SHARE, WISH_SECONDS_MAX
from estafeta.queue.plan import JITTER, RetryPlan, Rules
from estafeta.queue.rows import Leased
from estafeta.store.rows import Acceptance
from estafeta.world.seams import World

RATE_CAUSE = "rate-limited"

log = structlog.get_logger("queue")


class BackoffSettings(msgspec.Struct, frozen=True):
    """Seconds. first: after one failure; it doubles with each. most: at the longest."""

    first: float = 60.0
    most: float = 3600.0


class Retries:
    """rules, settings: may be replaced at any time."""

    def __init__(
        self,
        *,
        world: World,
        hosts: Hosts,
        flow: Flow,
        meter: Meter,
        rules: Rules,
        settings: BackoffSettings,
    ) -> None:
        self._world = world
        self._meter = meter
        self._greylists = Greylists()
        self.hosts = hosts
        self.flow = flow
        self.rules = rules
        self.settings = settings

    def plan(self, destination: str) -> RetryPlan:
        return self.rules.of(destination).plan

    # -- the message ---------------------------------------------------------------------------

    def next_tries(
        self, leased: Leased, acceptance: Acceptance, outcomes: Sequence[Outcome], now: int
    ) -> list[int | None]:
        """When each recipient is tried next, in milliseconds since 1970; None to give up, or where
        there is nothing to try again."""
        plan = self.plan(leased.destination)
        return [
            self._next_try(plan, leased, acceptance, outcome, attempts + 1, now)
            if isinstance(outcome, Deferred)
            else None
            for outcome, attempts in zip(outcomes, leased.attempts, strict=True)
        ]

    def _next_try(
        self,
        plan: RetryPlan,
        leased: Leased,
        acceptance: Acceptance,
        outcome: Deferred,
        attempts: int,
        now: int,
    ) -> int | None:
        wish = self._greylists.wish(
            leased.destination, outcome, attempts=attempts, age=(now - acceptance.at) / 1000
        )
        return plan.next_try(
            attempts=attempts,
            accepted=acceptance.at,
            now=now,
            dice=self._world.dice,
            wish=wish,
            greylisted=outcome.cause == CAUSE,
        )

    def is_over(self, leased: Leased, acceptance: Acceptance, now: int) -> bool:
        """Whether a message that could not be tried, because its host has no time, has waited for
        so long that by the plan it would have been given up."""
        span = self.plan(leased.destination).span
        return span is not None and now >= acceptance.at + int(span * 1000)

    # -- its host, its domain ------------------------------------------------------------------

    def seen(
        self,
        leased: Leased,
        outcomes: Sequence[Outcome],
        hosts: Sequence[HostSeen],
        blocked: Sequence[str],
        began: int,
    ) -> tuple[list[backoff.Seen], tuple[str, ...]]:
        """What is to be noted, and what the destination waits for from now on: nothing, hosts, or
        itself, where it says that we are too fast."""
        found = [self._seen(leased, each.host, each.failure, began) for each in hosts]
        itself = backoff.of_domain(leased.destination)
        slow = next(
            (o for o in outcomes if isinstance(o, Deferred) and o.cause == RATE_CAUSE), None
        )
        if slow is not None and not blocked:
            found.append(self._seen(leased, itself, slow, began))
            return found, (itself,)
        if leased.probe == itself and not blocked:
            found.append(self._seen(leased, itself, None, began))
        return found, tuple(blocked)

    def just_failed(self, leased: Leased, names: Sequence[str], began: int) -> list[backoff.Seen]:
        """Of these hosts, those that failed so lately that the store may not know."""
        failures = {name: self.hosts.failure(name) for name in names}
        return [
            self._seen(leased, name, failure, began)
            for name, failure in failures.items()
            if failure is not None
        ]

    def _seen(
        self, leased: Leased, name: str, failure: Deferred | None, began: int
    ) -> backoff.Seen:
        plan = self.plan(leased.destination)
        wish = None if failure is None else failure.retry_after

        def interval(failures: int) -> float:
            planned = plan.interval(failures)
            return self.settings.most if planned is None else planned * BACKOFF_INTERVAL_SHARE

        wait = waited(
            interval,
            first=self.settings.first,
            most=self.settings.most,
            jitter=1 + self._world.dice.uniform(-JITTER, JITTER),
            wish=None if wish is None else min(wish, WISH_SECONDS_MAX),
        )
        return backoff.Seen(name, failure, wait, began)

    # -- once the store has it -----------------------------------------------------------------

    def waits(self, destination: str, waits: tuple[str, int] | None) -> None:
        """Nothing is taken on for `destination` before the time that `backoff.after` told."""
        if waits is not None:
            self.hosts.hold(destination, *waits)

    def learn(
        self,
        leased: Leased,
        acceptance: Acceptance,
        outcomes: Sequence[Outcome],
        seen: Sequence[backoff.Seen],
        now: int,
    ) -> None:
        """For deliveries to come."""
        destination = leased.destination
        if any(each.failure is not None for each in seen):
            self.flow.gave_way(destination)
        elif any(outcome.host for outcome in outcomes):
            self.flow.answered(destination)
        for n, outcome in zip(leased.numbers, outcomes, strict=True):
            if n in leased.greylisted and isinstance(outcome, Delivered):
                self._greylists.passed(destination, (now - acceptance.at) / 1000)
                self._meter.count("queue_greylist_passes")
        for each in seen:
            if each.failure is None:
                self.hosts.release(each.name)
                log.info("has time again", host=each.name)
            else:
                self.hosts.noted(each.name)
                log.info("has no time", host=each.name, reply=str(each.failure.reply))
