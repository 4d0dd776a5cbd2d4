"""Gathering: one question put to all workers, for the one that was asked for a page."""

from __future__ import annotations

from collections.abc import Iterable

from estafeta.office.crew.messages import Family, Gathered, Reply


class Gathering:
    """asker: the worker's number; id: of its question. until: monotonic."""

    def __init__(self, asker: int, id: int, asked: Iterable[int], until: float) -> None:
        self.asker = asker
        self.until = until
        self._id = id
        self._asked = frozenset(asked)
        self._waiting = set(self._asked)
        self._replies: dict[int, Reply] = {}

    def take(self, worker: int, reply: Reply) -> None:
        if worker in self._waiting:
            self._waiting.discard(worker)
            self._replies[worker] = reply

    def give_up(self, worker: int) -> None:
        """It is dead, or not there yet."""
        self._waiting.discard(worker)

    @property
    def complete(self) -> bool:
        return not self._waiting

    def result(self, besides: list[Family]) -> Gathered:
        silent = sorted(self._asked - self._replies.keys())
        return Gathered(self._id, self._replies, silent, besides)
