"""cache: answers until their time is up; bounded, the least lately used go first."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from estafeta.resolve.answer import Answer

Key = tuple[str, str]


class AnswerCache:
    """Times are of the event loop's clock."""

    __slots__ = ("_entries", "_entries_max")

    def __init__(self, entries_max: int) -> None:
        self._entries: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()
        self._entries_max = entries_max

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Answer | None:
        """The answer with the TTL that is left of it."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, answer = entry
        if now >= until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return msgspec.structs.replace(answer, ttl=until - now)

    def put(self, key: Key, answer: Answer, now: float) -> None:
        """Kept for the answer's TTL; none at all where that is 0."""
        if answer.ttl <= 0:
            return
        self._entries[key] = (now + answer.ttl, answer)
        self._entries.move_to_end(key)
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()
