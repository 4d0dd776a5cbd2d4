"""Retry plan: when a deferred recipient is tried again or given up (RFC 5321 §4.5.4.1).

Promises: the same attempts always give the same interval but for jitter; no try after the give-up
time, and one last try just at it; the rules of a domain are those nearest to its name.
"""

from __future__ import annotations

import random

import msgspec

from estafeta.queue.limits import GREYLIST_EARLY_MAX, WISH_SECONDS_MAX

JITTER = 0.1  # of the interval, to either side


class RetryPlan(msgspec.Struct, frozen=True):
    """Durations in seconds.

    intervals: before the second, third … try. repeat: after the last of them; 0 ends the list.
    give_up_after: since acceptance; 0 means that only the list ends it. retries_max: given up after
    so many even when younger; 0 sets no number.
    """

    intervals: tuple[float, ...] = (300, 600, 1200, 2400, 3600, 7200, 14400)
    repeat: float = 21600
    give_up_after: float = 432000
    retries_max: int = 0

    def interval(self, attempts: int) -> float | None:
        """Seconds between attempt number `attempts` and the next; None where the list has ended."""
        if attempts <= len(self.intervals):
            return self.intervals[attempts - 1]
        return self.repeat or None

    def end(self, accepted: int) -> int | None:
        """When a message accepted then is given up, in milliseconds; None: age does not count."""
        return accepted + int(self.give_up_after * 1000) if self.give_up_after else None

    @property
    def span(self) -> float | None:
        """Seconds after acceptance in which all tries would have been made; None: no end is set.

        So long a message waits that cannot be tried at all, because its host has no time.
        """
        spans = [self.give_up_after] if self.give_up_after else []
        if self.retries_max or not self.repeat:
            known = len(self.intervals)
            count = min(self.retries_max or known, known)
            more = self.repeat * (self.retries_max - known) if self.repeat else 0.0
            listed = sum(self.intervals[:count]) + max(0.0, more)
            spans.append(listed * (1 + JITTER))
        return min(spans, default=None)

    def next_try(
        self,
        *,
        attempts: int,
        accepted: int,
        now: int,
        dice: random.Random,
        wish: float | None = None,
        greylisted: bool = False,
    ) -> int | None:
        """When to try next, in milliseconds, or None to give up.

        attempts: made so far, this one included. accepted, now: milliseconds since 1970.
        wish: seconds the other side asked to wait; 0 means it stopped for a reason of its own (too
        many recipients at once) and may be asked again immediately. greylisted: then the wish is
        kept even where the plan would wait longer; else it only makes the wait longer.
        """
        if wish == 0 and attempts < ASK_AGAIN_MAX:
            return now
        if self.retries_max and attempts > self.retries_max:
            return None
        interval = self.interval(attempts)
        if interval is None:
            return None
        low, high = -JITTER, JITTER
        if wish:
            wish = min(wish, WISH_SECONDS_MAX)
            if greylisted and attempts <= GREYLIST_EARLY_MAX:
                interval, low = wish, 0.0  # a moment too early would be in vain
            elif wish > interval:
                interval, low = wish, 0.0
        due = now + int(interval * (1 + dice.uniform(low, high)) * 1000)
        end = self.end(accepted)
        if end is None:
            return due
        if now >= end:
            return None
        return min(due, end)


# A peer that takes fewer recipients than we give is asked again at once, this often at most.
ASK_AGAIN_MAX = 50


class DomainRules(msgspec.Struct, frozen=True):
    """What holds for a domain. concurrency: deliveries at once at most. rate: messages a minute at
    most, 0 sets none."""

    plan: RetryPlan = RetryPlan()
    concurrency: int = 20
    rate: float = 0.0


class Rules:
    """A table: "example.org" is that domain, ".example.org" all below it, "*" all others.

    The exact entry wins, then the longest suffix, then "*", then `usual`.
    """

    __slots__ = ("_table", "_usual")

    def __init__(self, usual: DomainRules, table: dict[str, DomainRules] | None = None) -> None:
        self._usual = usual
        self._table = {pattern.lower(): rules for pattern, rules in (table or {}).items()}

    def of(self, domain: str) -> DomainRules:
        """domain: canonical (lower case, A-labels), or an address literal."""
        table = self._table
        if not table:
            return self._usual
        exact = table.get(domain)
        if exact is not None:
            return exact
        at = domain.find(".")
        while at != -1:
            below = table.get(domain[at:])
            if below is not None:
                return below
            at = domain.find(".", at + 1)
        return table.get("*", self._usual)

    def span_least(self) -> float | None:
        """The shortest `span` of their plans."""
        spans = [rules.plan.span for rules in (self._usual, *self._table.values())]
        return min((span for span in spans if span is not None), default=None)
