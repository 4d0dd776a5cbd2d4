"""Runs: a set of uids as few statements.

Uids that follow each other become one range; lone ones go together, a fixed number to a statement
so that it is prepared once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_LONE = 64  # uids in one IN list
_IN = f"uid IN ({', '.join('?' * _LONE)})"
_BETWEEN = "uid BETWEEN ? AND ?"


def conditions(uids: Iterable[int]) -> Iterator[tuple[str, Sequence[Any]]]:
    """(SQL condition on `uid`, its parameters), which together select exactly `uids`."""
    lone: list[int] = []
    for low, high in runs(uids):
        if high - low < 3:
            lone.extend(range(low, high + 1))
        else:
            yield _BETWEEN, (low, high)
    for start in range(0, len(lone), _LONE):
        some = lone[start : start + _LONE]
        yield _IN, some + some[-1:] * (_LONE - len(some))


def runs(uids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of each run of consecutive numbers, ascending."""
    if isinstance(uids, range) and uids.step == 1:
        if uids:
            yield uids[0], uids[-1]
        return
    ordered = sorted(set(uids))
    if not ordered:
        return
    if ordered[-1] - ordered[0] == len(ordered) - 1:
        yield ordered[0], ordered[-1]
        return
    low = high = ordered[0]
    for uid in ordered:
        if uid > high + 1:
            yield low, high
            low = uid
        high = uid
    yield low, high
