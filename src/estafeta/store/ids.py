"""Ids: time-ordered 63-bit numbers for acceptances, bodies and events, and how people see them.

42 bits of milliseconds since 1970, 13 bits that start at random in each millisecond and count up,
8 bits of the process. Workers of one store are given different ones (`use`); others draw theirs.
Where two meet all the same, the primary key refuses the second: a temporary error of that unit and
no loss.
"""

from __future__ import annotations

import random

from estafeta.world.seams import Clock

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_VALUES = {c: n for n, c in enumerate(_ALPHABET)} | {c.lower(): n for n, c in enumerate(_ALPHABET)}
LOW_BITS = 21
TAG_BITS = 8
QUEUE_ID_LENGTH = 13
ID_MAX = (1 << 63) - 1


class Ids:
    """Gives out ids, each greater than the one before."""

    def __init__(self, clock: Clock, dice: random.Random) -> None:
        self._clock = clock
        # Ids need to differ, not to be secret: the system's dice cost a call into the kernel.
        self._dice = random.Random(dice.getrandbits(128))  # noqa: S311
        self._tag = self._dice.getrandbits(TAG_BITS)
        self._last = 0

    def use(self, tag: int) -> None:
        """From now on with a tag (below 256) that no other process has."""
        self._tag = tag
        self._last = 0 if not self._last else (self._last >> TAG_BITS) + 1 << TAG_BITS | tag

    def next(self) -> int:
        base = int(self._clock.now() * 1000) << LOW_BITS
        if self._last < base:
            # The upper half stays free for counting within the millisecond.
            random_part = self._dice.getrandbits(LOW_BITS - TAG_BITS - 1)
            self._last = base | random_part << TAG_BITS | self._tag
        else:
            self._last += 1 << TAG_BITS
        return self._last


def milliseconds(number: int) -> int:
    """When the id was made, in milliseconds since 1970 UTC."""
    return number >> LOW_BITS


def first_at(at_ms: int) -> int:
    """The least id that may be made at `at_ms` or later."""
    return at_ms << LOW_BITS


def queue_id(number: int) -> str:
    """13 characters of Crockford's base 32."""
    pairs = _PAIRS
    return (
        _ALPHABET[number >> 60 & 31]
        + pairs[number >> 50 & 1023]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def parse_queue_id(text: str) -> int:
    """Raises ValueError."""
    if len(text) != QUEUE_ID_LENGTH or any(c not in _VALUES for c in text):
        raise ValueError(f"{text!r} is not a queue id: 13 letters and digits were expected")
    number = 0
    for c in text:
        number = number << 5 | _VALUES[c]
    if number > ID_MAX:
        raise ValueError(f"{text!r} is not a queue id: it is larger than any")
    return number
