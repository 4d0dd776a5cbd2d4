"""Tarpit: who errs again and again waits for its answers, longer each time.

Errors are answers of 5xx since a message was accepted: who mistypes does not notice, who guesses
addresses does. What is only put off (4xx) is no error, and a server with many messages for people
who are gone loses seconds, not its place.
"""

from __future__ import annotations

from estafeta.intake.limits import TARPIT_ERRORS_FREE, TARPIT_SECONDS_MAX


def seconds_held(errors: int, first: float) -> float:
    """How long the answer to the last of so many errors is held back. first: the first wait."""
    further = errors - TARPIT_ERRORS_FREE - 1
    if further < 0 or first <= 0:
        return 0.0
    return min(first * 2.0 ** min(further, 30), TARPIT_SECONDS_MAX)
