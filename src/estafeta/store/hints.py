"""Hints: who waits for which change, within this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Listener:
    """One ear. See `engine.Listening`."""

    __slots__ = ("_event", "_hints", "_topic")

    def __init__(self, hints: Hints, topic: tuple[str, int]) -> None:
        self._hints = hints
        self._topic = topic
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()

    def close(self) -> None:
        self._hints.remove(self._topic, self)


class Hints:
    def __init__(self) -> None:
        # Listeners in the order in which they came: so they are woken.
        self._by_topic: dict[tuple[str, int], dict[Listener, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_topic)

    def add(self, topic: tuple[str, int]) -> Listener:
        listener = Listener(self, topic)
        self._by_topic.setdefault(topic, {})[listener] = None
        return listener

    def remove(self, topic: tuple[str, int], listener: Listener) -> None:
        """Does nothing when it is not there."""
        listeners = self._by_topic.get(topic)
        if listeners is not None:
            listeners.pop(listener, None)
            if not listeners:
                del self._by_topic[topic]

    def wake(self, topics: Iterable[tuple[str, int]]) -> None:
        for topic in topics:
            for listener in self._by_topic.get(topic, ()):
                listener.wake()

    def ids_of(self, kind: str) -> list[int]:
        """Of the topics of that kind that somebody listens to, ascending."""
        return sorted(id for each, id in self._by_topic if each == kind)

    def wake_others(self, kind: str) -> None:
        """All who listen to topics of another kind."""
        self.wake([topic for topic in self._by_topic if topic[0] != kind])

    def wake_all(self) -> None:
        for listeners in self._by_topic.values():
            for listener in listeners:
                listener.wake()
