"""Retry plan: when a deferred recipient is tried again or given up (RFC 5321 §4.5.4.1).

Promises: the same attempts always give the same interval but for jitter; no try after the give-up
time, and one last try just at it.
"""

from __future__ import annotations

import random

import msgspec

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

    def next_try(
        self,
        *,
        attempts: int,
        accepted: int,
        now: int,
        dice: random.Random,
        wish: float | None = None,
    ) -> int | None:
        """When to try next, in milliseconds, or None to give up.

        attempts: made so far, this one included. accepted, now: milliseconds since 1970.
        wish: seconds the other side asked to wait; 0 means it stopped for a reason of its own (too
        many recipients at once) and may be asked again immediately.
        """
        if wish == 0 and attempts < ASK_AGAIN_MAX:
            return now
        if self.retries_max and attempts > self.retries_max:
            return None
        if attempts <= len(self.intervals):
            interval = self.intervals[attempts - 1]
        elif self.repeat:
            interval = self.repeat
        else:
            return None
        if wish is not None:
            interval = max(interval, wish) if wish else interval
        interval *= 1 + dice.uniform(-JITTER, JITTER)
        due = now + int(interval * 1000)
        if not self.give_up_after:
            return due
        end = accepted + int(self.give_up_after * 1000)
        if now >= end:
            return None
        return min(due, end)


# A peer that takes fewer recipients than we give is asked again at once, this often at most.
ASK_AGAIN_MAX = 50
