"""Slips: how far what was typed is from what may have been meant, in slips of hand and eye.

Damerau and Levenshtein's distance in the form that swaps neighbours (optimal string alignment),
with a price for each kind of slip: a key beside the right one, a letter doubled, swapped, left out
or added, letters that look or sound alike. An ordinary mistake costs less than 1; what people do
not mistake, such as one digit for another, costs more than any mistake may. Pure.
"""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache
from itertools import accumulate

LOOKS_ALIKE = 0.25
"""An accent, or a letter of another script that looks the same."""

SEPARATOR = 0.5
"""A hyphen, dot or underscore added, left out, or another of them."""

DOUBLED = 0.5
"""A letter typed twice, or once where there are two."""

NEIGHBOUR = 0.6
"""A key that touches the right one, in its place or beside it."""

SWAPPED = 0.6
"""Two letters in the other order."""

READ_AS = 0.6
"""Misread: rn for m, 0 for o."""

SOUNDS_ALIKE = 0.7
"""A letter that is said the same, or nearly."""

OMITTED = 0.8
"""A letter left out, or one added."""

OTHER = 1.0
"""Any other letter."""

BEGINNING = 0.4
"""More, where it is the first letter: people look at that one."""

DIGIT = 1.2
"""A digit added or left out: names are numbered."""

NEVER = 9.0
"""One digit for another."""

CHEAPEST = min(DOUBLED, SEPARATOR, NEIGHBOUR, OMITTED, DIGIT)
"""A letter too many or too few costs so much at least."""

_KEYBOARDS = (
    ("`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"),  # US
    ("º1234567890'¡", "qwertyuiop`+", "asdfghjklñ´", "zxcvbnm,.-"),  # Spanish
)
_OFFSETS = (0.0, 0.5, 0.75, 1.25)  # of the rows to the right, in keys
_TOUCH = 1.26  # from middle to middle, in keys

_SEPARATORS = frozenset("-._")
_DIGITS = frozenset("0123456789")
_SOUNDS_PAIRS = ("ei", "ou", "ao", "ae", "bv", "sz", "cs", "cz", "ck", "kq", "iy", "gj", "jx")
_SOUNDS = frozenset(
    pair for group in (*_SOUNDS_PAIRS, "mn", "dt", "fp") for pair in (group, group[::-1])
)
_READ = frozenset(
    pair for group in ("0o", "1l", "1i", "il", "5s", "uv") for pair in (group, group[::-1])
)
_TWO_FOR_ONE = frozenset(("rnm", "vvw", "cld", "nnñ", "phf"))
# Letters that NFKD does not lead back to the Latin one they look like.
_HOMOGRAPHS = str.maketrans(
    "авеёікмнорсԁтухѕјһոαεικνορτυχγøłđħı",
    "abeeikmhopcdtyxsjhnaeikvoptuxyoldhi",
)


def distance(typed: str, meant: str, budget: float) -> float:
    """Price of the slips that make `typed` of `meant`; infinite as soon as it is above `budget`.

    Both in lower case.
    """
    if typed == meant:
        return 0.0
    band = int(budget / CHEAPEST) + 1  # letters that may be too many or too few
    if abs(len(typed) - len(meant)) > band:
        return math.inf
    added = _singly(typed, meant)
    left_out = _singly(meant)
    before_last: list[float] = []
    last = [0.0, *accumulate(left_out)]
    for i, key in enumerate(typed, 1):
        price = added[i - 1]
        row = [math.inf] * (len(meant) + 1)
        row[0] = last[0] + price
        least = row[0]
        for j in range(max(1, i - band), min(len(meant), i + band) + 1):
            letter = meant[j - 1]
            cost = last[j - 1]
            if key != letter:
                cost += replaced(key, letter)
                if i == j == 1:
                    cost += BEGINNING
                cost = min(cost, last[j] + price, row[j - 1] + left_out[j - 1])
                if i > 1 and j > 1:
                    if key == meant[j - 2] and typed[i - 2] == letter:
                        cost = min(cost, before_last[j - 2] + SWAPPED)
                    if meant[j - 2] + letter + key in _TWO_FOR_ONE:
                        cost = min(cost, last[j - 2] + READ_AS)
                    if typed[i - 2] + key + letter in _TWO_FOR_ONE:
                        cost = min(cost, before_last[j - 1] + READ_AS)
            row[j] = cost
            least = min(least, cost)
        if least > budget and min(last) > budget:
            return math.inf
        before_last, last = last, row
    return last[-1] if last[-1] <= budget else math.inf


@lru_cache(maxsize=8192)
def replaced(typed: str, meant: str) -> float:
    """Price of one character in the place of another."""
    if folded(typed) == folded(meant):
        return LOOKS_ALIKE
    if typed in _SEPARATORS and meant in _SEPARATORS:
        return SEPARATOR
    if typed + meant in _READ:
        return READ_AS
    if typed in _DIGITS and meant in _DIGITS:
        return NEVER
    if meant in _touching(typed):
        return NEIGHBOUR
    if typed in _DIGITS or meant in _DIGITS:
        return DIGIT + OTHER
    return SOUNDS_ALIKE if typed + meant in _SOUNDS else OTHER


def folded(text: str) -> str:
    """As it looks at a glance: without accents, in Latin letters."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text).translate(_HOMOGRAPHS)
    return "".join(c for c in plain if not unicodedata.combining(c))


def _singly(text: str, meant: str = "") -> list[float]:
    """Price of each character of `text`, where it alone was left out; with `meant`, where it was
    added to that."""
    prices = []
    for at, character in enumerate(text):
        beside = text[max(0, at - 1) : at] + text[at + 1 : at + 2]
        if character in beside:
            price = DOUBLED
        elif character in _SEPARATORS:
            price = SEPARATOR
        elif meant and any(key in meant and key in _touching(character) for key in beside):
            price = NEIGHBOUR
        else:
            price = DIGIT if character in _DIGITS else OMITTED
        prices.append(price if at else price + BEGINNING)
    return prices


@lru_cache(maxsize=256)
def _touching(key: str) -> frozenset[str]:
    """Keys beside it, on any of the keyboards."""
    found: set[str] = set()
    for keyboard in _KEYBOARDS:
        places = {
            character: (number + offset, float(row))
            for row, (keys, offset) in enumerate(zip(keyboard, _OFFSETS, strict=True))
            for number, character in enumerate(keys)
        }
        if key not in places:
            continue
        x, y = places[key]
        found.update(
            other
            for other, (u, v) in places.items()
            if other != key and (x - u) ** 2 + (y - v) ** 2 <= _TOUCH**2
        )
    return frozenset(found)
