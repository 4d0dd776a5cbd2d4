"""Buckets: how often somebody may come: so many at once, and so many more each second."""

from __future__ import annotations

from collections import OrderedDict


class Buckets:
    """One for each key; full ones are forgotten as if they had never been."""

    def __init__(self, *, burst: int, per_second: float, keys_max: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._keys_max = keys_max
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (left, at)

    def wait(self, key: str, now: float) -> float:
        """Seconds until `key` may come; 0: now."""
        return max(0.0, (1.0 - self._left(key, now)) / self._per_second)

    def take(self, key: str, now: float) -> None:
        self._known[key] = (self._left(key, now) - 1.0, now)
        self._known.move_to_end(key)
        if len(self._known) > self._keys_max:
            self._known.popitem(last=False)

    def _left(self, key: str, now: float) -> float:
        left, at = self._known.get(key, (float(self._burst), now))
        return min(float(self._burst), left + (now - at) * self._per_second)
