"""Flow: how many deliveries at once go to a domain, and how many a minute.

A domain of which nothing is known begins with a few. Each delivery that is answered lets one more
in, until something gives way: then half as many, and from there on one more only when all of those
at work were answered. Bounded by the settings above and by one below. What is remembered is bounded
too, and is each worker's own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from estafeta.queue.limits import WINDOW_BEGIN, WINDOWS_MAX
from estafeta.queue.plan import DomainRules

RATE_BURST_SECONDS = 10.0
"""Of a rate, what may be sent at once after a rest."""

_WAIT_SECONDS_LEAST = 0.001
_EPSILON = 1e-6  # tokens that are lost by reckoning with fractions


class _Domain(msgspec.Struct):
    """window: deliveries at once. steady: it has given way before. tokens: messages that the rate
    still allows, as of `at` (seconds of the loop)."""

    window: float
    active: int = 0
    steady: bool = False
    tokens: float = 0.0
    at: float = 0.0


class Flow:
    """rules: of a domain. time: seconds, rising."""

    def __init__(self, rules: Callable[[str], DomainRules], time: Callable[[], float]) -> None:
        self._rules = rules
        self._time = time
        self._domains: OrderedDict[str, _Domain] = OrderedDict()
        self._busy: set[str] = set()  # with something under way, or held up by a rate
        self._active = 0

    @property
    def active(self) -> int:
        """Deliveries under way, to all domains."""
        return self._active

    @property
    def allowed(self) -> int:
        """As many as those domains take at once that have any."""
        return sum(int(each.window) for name in self._busy if (each := self._domains[name]).active)

    def places(self, destination: str) -> int:
        """How many deliveries may begin now. May be asked within a unit, in a thread."""
        rules = self._rules(destination)
        known = self._domains.get(destination)
        if known is None:
            at_once = min(WINDOW_BEGIN, rules.concurrency)
            return min(at_once, int(_burst(rules.rate))) if rules.rate else at_once
        free = max(1, min(int(known.window), rules.concurrency)) - known.active
        if rules.rate:
            self._refill(known, rules.rate)
            free = min(free, int(known.tokens + _EPSILON))
        return max(0, free)

    def full(self) -> set[str]:
        """Domains without a place now."""
        return {name for name in self._busy if not self.places(name)}

    def wait(self) -> float | None:
        """Seconds until a rate lets somebody in; None where none keeps anybody out."""
        found: list[float] = []
        for name in list(self._busy):
            known, rate = self._domains[name], self._rules(name).rate
            if not known.active and (not rate or known.tokens >= 1):
                self._busy.discard(name)
            elif rate and known.tokens < 1:
                self._refill(known, rate)
                found.append(max(_WAIT_SECONDS_LEAST, (1 - known.tokens) * 60 / rate))
        return min(found, default=None)

    def begin(self, destination: str) -> None:
        known = self._known(destination)
        known.active += 1
        self._active += 1
        self._busy.add(destination)
        if self._rules(destination).rate:
            known.tokens -= 1

    def end(self, destination: str) -> None:
        known = self._known(destination)
        known.active -= 1
        self._active -= 1
        if not known.active and not self._rules(destination).rate:
            self._busy.discard(destination)
        if len(self._domains) > WINDOWS_MAX:
            self._forget()

    def spare(self, destination: str) -> None:
        """One that had begun was no delivery after all."""
        if self._rules(destination).rate:
            self._known(destination).tokens += 1

    def answered(self, destination: str) -> None:
        """By a host that has time for us, whatever it said."""
        known = self._known(destination)
        known.window = min(
            known.window + (1 / known.window if known.steady else 1.0),
            float(self._rules(destination).concurrency),
        )

    def gave_way(self, destination: str) -> None:
        """A host had no time, or said that we are too fast."""
        known = self._known(destination)
        known.window = max(1.0, known.window / 2)
        known.steady = True

    def window(self, destination: str) -> int:
        """Deliveries at once that are allowed now. For tests and metrics."""
        known = self._domains.get(destination)
        return int(known.window) if known else WINDOW_BEGIN

    def _known(self, destination: str) -> _Domain:
        known = self._domains.get(destination)
        if known is None:
            rules = self._rules(destination)
            known = self._domains[destination] = _Domain(
                float(min(WINDOW_BEGIN, rules.concurrency)), at=self._time()
            )
            known.tokens = _burst(rules.rate)
        else:
            self._domains.move_to_end(destination)
        return known

    def _refill(self, known: _Domain, rate: float) -> None:
        now = self._time()
        known.tokens = min(_burst(rate), known.tokens + (now - known.at) * rate / 60)
        known.at = now

    def _forget(self) -> None:
        """The one used longest ago, of those with nothing under way."""
        name = next((name for name in self._domains if name not in self._busy), None)
        if name is not None:
            del self._domains[name]


def _burst(rate: float) -> float:
    return max(1.0, rate * RATE_BURST_SECONDS / 60)
