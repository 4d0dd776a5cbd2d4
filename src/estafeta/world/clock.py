"""Clock: time of day, from the system."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `seams.Clock`."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()
