"""Greylist: how long a domain's greylist makes us wait, as it says or as it was last time.

A greylist refuses the first try of a stranger and takes one that comes later. Where its text says
when, that counts; else the delay with which a message passed last. Kept in memory, each worker's
own, a bounded number of domains: what is forgotten costs a try that comes too early.
"""

from __future__ import annotations

from collections import OrderedDict

from estafeta.mail.outcome import Deferred
from estafeta.queue.limits import DELAYS_LEARNT_MAX, WISH_SECONDS_MAX

CAUSE = "greylisted"

GREYLISTED = f'"cause":"{CAUSE}"'
"""How an outcome as the queue keeps it says so."""


class Greylists:
    """By the destination's name."""

    def __init__(self) -> None:
        self._learnt: OrderedDict[str, float] = OrderedDict()

    def wish(
        self, destination: str, outcome: Deferred, *, attempts: int, age: float
    ) -> float | None:
        """Seconds from now until the next try; None where nobody knows.

        attempts: made so far. age: seconds since the first of them.
        """
        if outcome.retry_after is not None or outcome.cause != CAUSE:
            return outcome.retry_after
        learnt = self._learnt.get(destination)
        if learnt is None:
            return None
        if age >= learnt:
            # It was not enough this time: by the plan, and what passes then is learnt anew.
            del self._learnt[destination]
            return None
        return learnt - age if attempts == 1 else None

    def passed(self, destination: str, age: float) -> None:
        """A message that had been greylisted was taken, so many seconds after its first try."""
        self._learnt[destination] = min(age, WISH_SECONDS_MAX)
        self._learnt.move_to_end(destination)
        if len(self._learnt) > DELAYS_LEARNT_MAX:
            self._learnt.popitem(last=False)
