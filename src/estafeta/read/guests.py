"""guests: who is in: counts by protocol and account, so that none takes the place of all, and the
asking to leave when a server closes.

Servers of several ports over one store count together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from weakref import WeakKeyDictionary

from estafeta.mail.protocols import Meter
from estafeta.read.limits import LOGIN_SECONDS_TOTAL
from estafeta.read.settings import ReadSettings
from estafeta.store.engine import Store
from estafeta.world.seams import Stream, TlsConfig


class Census:
    """Sessions of one protocol over one store: in all, by account, and before login by address."""

    def __init__(self) -> None:
        self.sessions = 0
        self.strangers: Counter[str] = Counter()
        self.accounts: Counter[int] = Counter()


_CENSUSES: WeakKeyDictionary[Store, dict[str, Census]] = WeakKeyDictionary()


class Guests:
    """The sessions of one server. protocol: "imap" or "pop3"."""

    def __init__(self, protocol: str, store: Store, settings: ReadSettings, meter: Meter) -> None:
        self._protocol = protocol
        self._settings = settings
        self._meter = meter
        self._census = _CENSUSES.setdefault(store, {}).setdefault(protocol, Census())
        self._here: dict[Guest, None] = {}  # in the order in which they came
        self._empty = asyncio.Event()
        self._empty.set()
        self.closing = asyncio.Event()

    def enter(self, stream: Stream) -> Guest | None:
        """None when the house is full or closing, or too many from there have not logged in."""
        census, host = self._census, stream.peer.host
        if self.closing.is_set() or census.sessions >= self._settings.sessions_max:
            return None
        if census.strangers[host] >= self._settings.strangers_max_per_address:
            return None
        census.strangers[host] += 1
        guest = Guest(self, stream)
        self._here[guest] = None
        self._empty.clear()
        self._meter.count(f"estafeta_{self._protocol}_sessions_total")
        self._counted(1)
        return guest

    def _counted(self, by: int) -> None:
        self._census.sessions += by
        self._meter.gauge(f"estafeta_{self._protocol}_sessions", self._census.sessions)

    def admit(self, guest: Guest, account: int) -> bool:
        accounts = self._census.accounts
        if accounts[account] >= self._settings.sessions_max_per_account:
            return False
        accounts[account] += 1
        guest.account = account
        self._no_stranger(guest)
        return True

    def _no_stranger(self, guest: Guest) -> None:
        strangers, host = self._census.strangers, guest.stream.peer.host
        strangers[host] -= 1
        if not strangers[host]:
            del strangers[host]

    def leave(self, guest: Guest) -> None:
        if guest not in self._here:
            return
        del self._here[guest]
        self._counted(-1)
        if guest.account:
            accounts = self._census.accounts
            accounts[guest.account] -= 1
            if not accounts[guest.account]:
                del accounts[guest.account]
        else:
            self._no_stranger(guest)
        if not self._here:
            self._empty.set()

    @property
    def empty(self) -> bool:
        return not self._here

    def drain(self) -> None:
        """Takes nobody in and asks every session to say goodbye; what it does, it does first."""
        self.closing.set()
        for guest in tuple(self._here):
            guest.disturb()

    async def stop(self) -> None:
        """Returns when all have left; cancelled, it cuts those that have not."""
        self.drain()
        try:
            await self._empty.wait()
        except asyncio.CancelledError:
            for guest in tuple(self._here):
                guest.stream.abort()
            raise


class Guest:
    """One session. While it waits for its client, `disturb` ends the waiting by TimeoutError."""

    __slots__ = ("_guests", "_login_until", "_shaking_hands", "_waiting", "account", "stream")

    def __init__(self, guests: Guests, stream: Stream) -> None:
        self._guests = guests
        self._waiting: asyncio.Timeout | None = None
        self._shaking_hands = False
        self._login_until = asyncio.get_running_loop().time() + LOGIN_SECONDS_TOTAL
        self.stream = stream
        self.account = 0

    def admit(self, account: int) -> bool:
        """Counts it for its account; False where that has too many."""
        return self._guests.admit(self, account)

    def leave(self) -> None:
        self._guests.leave(self)

    async def read(self, seconds: float) -> bytes:
        """What the client sends next. Raises TimeoutError after `seconds`, when disturbed, and
        where nobody has logged in after LOGIN_SECONDS_TOTAL."""
        if not self.account:
            left = self._login_until - asyncio.get_running_loop().time()
            if left <= 0:
                raise TimeoutError
            seconds = min(seconds, left)
        if self.stream.buffered():
            return await self.stream.read()
        if self._guests.closing.is_set():
            raise TimeoutError
        try:
            async with asyncio.timeout(seconds) as self._waiting:
                return await self.stream.read()
        finally:
            self._waiting = None

    async def start_tls(self, config: TlsConfig) -> None:
        """TLS on its stream, which a stop cuts. Raises ConnectionError, TlsError."""
        self._shaking_hands = True
        try:
            await self.stream.start_tls(config)
        finally:
            self._shaking_hands = False

    def disturb(self) -> None:
        if self._shaking_hands:
            self.stream.abort()
        # One whose time is just over ends by itself, and takes no other time any more.
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(0)
