"""pool: open sessions between two messages.

A session waits here for the next message to the same address on the same terms, for 2 s at most;
then it is left with QUIT. The number kept is bounded; the longest idle goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable

from estafeta.relay.limits import IDLE_CONNECTIONS_MAX, LEAVE_SECONDS
from estafeta.relay.session import Session


class Pool:
    __slots__ = ("_idle", "_leaving", "_timer", "idle_seconds")

    def __init__(self, idle_seconds: float) -> None:
        self.idle_seconds = idle_seconds
        self._idle: dict[Session, Hashable] = {}  # in the order in which they came
        self._leaving: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, keys: Iterable[Hashable]) -> Session | None:
        """The session used last on one of these terms."""
        if not self._idle:
            return None
        wanted = set(keys)
        for session in reversed(self._idle):
            if self._idle[session] in wanted:
                del self._idle[session]
                return session
        return None

    def give(self, key: Hashable, session: Session) -> None:
        """A session that may be used again; one that may not is left at once."""
        if not session.reusable or self.idle_seconds <= 0:
            self.dismiss(session)
            return
        loop = asyncio.get_running_loop()
        session.idle_until = loop.time() + self.idle_seconds
        self._idle[session] = key
        if len(self._idle) > IDLE_CONNECTIONS_MAX:
            self.dismiss(self._oldest())
        if self._timer is None:
            self._timer = loop.call_later(self.idle_seconds, self._sweep)

    def dismiss(self, session: Session) -> None:
        """QUIT, without anybody waiting for it."""
        task = asyncio.ensure_future(session.leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def empty(self) -> None:
        """Leaves all that wait here."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            self.dismiss(self._oldest())

    async def close(self) -> None:
        """Leaves all sessions; returns when they are closed. Who does not answer QUIT is not
        waited for."""
        self.empty()
        leaving = list(self._leaving)
        if not leaving:
            return
        _, silent = await asyncio.wait(leaving, timeout=LEAVE_SECONDS)
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)

    def _oldest(self) -> Session:
        session = next(iter(self._idle))
        del self._idle[session]
        return session

    def _sweep(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._idle:
            first = next(iter(self._idle))
            if first.idle_until > now:
                self._timer = loop.call_at(first.idle_until, self._sweep)
                return
            self.dismiss(self._oldest())
