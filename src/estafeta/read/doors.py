"""doors: how many are in: connections, all and by account, so that none takes the place of all."""

from __future__ import annotations

import asyncio
from collections import Counter

from estafeta.read.settings import ReadSettings
from estafeta.world.seams import Stream


class Doors:
    """Counts the sessions of one server and asks them to leave when it closes."""

    def __init__(self, settings: ReadSettings) -> None:
        self.settings = settings
        self._accounts: Counter[int] = Counter()
        self._open: set[Guest] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.closing = asyncio.Event()

    def enter(self) -> Guest | None:
        """None when the house is full."""
        if len(self._open) >= self.settings.sessions_max:
            return None
        guest = Guest(self)
        self._open.add(guest)
        self._empty.clear()
        return guest

    @property
    def count(self) -> int:
        return len(self._open)

    def _admit(self, account: int) -> bool:
        if self._accounts[account] >= self.settings.sessions_max_per_account:
            return False
        self._accounts[account] += 1
        return True

    def _leave(self, guest: Guest) -> None:
        self._open.discard(guest)
        if guest.account:
            self._accounts[guest.account] -= 1
            if not self._accounts[guest.account]:
                del self._accounts[guest.account]
        if not self._open:
            self._empty.set()

    async def close(self, seconds: float) -> None:
        """Asks every session to say goodbye; returns when they have, or after `seconds`."""
        self.closing.set()
        for guest in tuple(self._open):
            guest.disturb()
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return


class Guest:
    """One session. While it waits for its client, `disturb` ends the waiting by TimeoutError."""

    __slots__ = ("_doors", "_waiting", "account")

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._waiting: asyncio.Timeout | None = None
        self.account = 0

    def admit(self, account: int) -> bool:
        """Counts it for its account; False where that has too many."""
        if not self._doors._admit(account):
            return False
        self.account = account
        return True

    def leave(self) -> None:
        self._doors._leave(self)

    async def read(self, stream: Stream, seconds: float) -> bytes:
        """What the client sends next. Raises TimeoutError after `seconds` or when disturbed."""
        if self._doors.closing.is_set():
            raise TimeoutError
        try:
            async with asyncio.timeout(seconds) as self._waiting:
                return await stream.read()
        finally:
            self._waiting = None

    def disturb(self) -> None:
        if self._waiting is not None:
            self._waiting.reschedule(0)
