"""Hosts: what a worker asks before it opens a connection, and what it remembers of hosts.

Promises: a host that backs off gets one probe at a time, over all workers and nodes, since the
store says whose it is; a host of which nothing is known yet gets a few connections at once, and who
wants more waits for their answer; what is remembered is bounded.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TypeVar

import msgspec

from estafeta.mail.outcome import Deferred
from estafeta.mail.protocols import Meter
from estafeta.queue import backoff
from estafeta.queue.limits import (
    FAILED_SECONDS,
    HOSTS_REMEMBERED_MAX,
    OPENINGS_UNPROVEN_MAX,
    PROVEN_SECONDS,
)
from estafeta.store.engine import Store, StoreError
from estafeta.world.seams import Clock

V = TypeVar("V")


class Leave(msgspec.Struct, frozen=True):
    """Whether a connection may be opened. probe: it is the one that finds out.

    why, since, until: where it may not, what the host said last, since when it has been busy, and
    when it may be asked next (milliseconds since 1970; 0 where nobody can tell).
    """

    go: bool
    probe: bool = False
    why: Deferred | None = None
    since: int = 0
    until: int = 0


_GO = Leave(True)


class _Failed(msgspec.Struct, frozen=True):
    """at: of the loop's time; now: milliseconds since 1970."""

    at: float
    now: int
    why: Deferred


class Hosts:
    """Of one worker. prober: a number of its own, for the store. See relay.standing.Gate."""

    def __init__(self, store: Store, clock: Clock, meter: Meter) -> None:
        self._store = store
        self._clock = clock
        self._meter = meter
        self.prober = 0
        self._proven: OrderedDict[str, float] = OrderedDict()
        self._failed: OrderedDict[str, _Failed] = OrderedDict()
        self._opening: Counter[str] = Counter()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._held: OrderedDict[str, tuple[str, int]] = OrderedDict()

    async def ask(self, host: str) -> Leave:
        """Before a connection to `host` is opened. Where it may, `opened` or `dropped` must follow,
        once."""
        while True:
            why = self.failure(host)
            if why is not None:
                return Leave(False, why=why, since=self._failed[host].now)
            if self._is_proven(host) or self._opening[host] < OPENINGS_UNPROVEN_MAX:
                break
            await self._answer_of(host)
        self._opening[host] += 1
        try:
            leave = await self._asked_store(host)
        except BaseException:
            self.dropped(host)
            raise
        if not leave.go:
            self.dropped(host)
        return leave

    def opened(self, host: str) -> None:
        """A session was: it answered well."""
        self._failed.pop(host, None)
        _remember(self._proven, host, self._loop_time())
        self._ended(host, everybody=True)

    def failed(self, host: str, why: Deferred) -> None:
        """It failed as a whole, before or after a session was opened."""
        self._proven.pop(host, None)
        now = int(self._clock.now() * 1000)
        _remember(self._failed, host, _Failed(self._loop_time(), now, why))

    def noted(self, host: str) -> None:
        """The store knows that it failed."""
        self._failed.pop(host, None)

    def dropped(self, host: str) -> None:
        """No session came of it."""
        self._ended(host, everybody=host in self._failed)

    def failure(self, host: str) -> Deferred | None:
        """Why it failed, a moment ago."""
        failed = self._failed.get(host)
        fresh = failed is not None and self._loop_time() - failed.at < FAILED_SECONDS
        return failed.why if failed is not None and fresh else None

    # -- destinations --------------------------------------------------------------------------

    def hold(self, destination: str, name: str, until: int) -> None:
        """`destination` waits for `name` until then at least (milliseconds since 1970)."""
        _remember(self._held, destination, (name, until))

    def holds(self, destination: str) -> bool:
        """Whether it is known to wait. The store knows better; this is for who cannot ask."""
        if not self._held:
            return False
        held = self._held.get(destination)
        if held is None:
            return False
        if int(self._clock.now() * 1000) < held[1]:
            return True
        del self._held[destination]
        return False

    def release(self, name: str) -> None:
        """Those that waited for `name` wait no longer."""
        for destination in [d for d, (held, _) in self._held.items() if held == name]:
            del self._held[destination]

    # -- inside --------------------------------------------------------------------------------

    async def _asked_store(self, host: str) -> Leave:
        now = int(self._clock.now() * 1000)
        try:
            known = await self._store.read(lambda tx: backoff.standing(tx, host))
            if known is None:
                return _GO
            if known.not_before <= now and await self._store.run(
                lambda tx: backoff.probe(tx, host, now, self.prober)
            ):
                self._meter.count("queue_probes")
                return Leave(True, probe=True)
        except StoreError:
            return _GO  # who cannot be asked forbids nothing
        return Leave(False, why=known.why, since=known.since, until=known.not_before)

    def _is_proven(self, host: str) -> bool:
        at = self._proven.get(host)
        return at is not None and self._loop_time() - at < PROVEN_SECONDS

    async def _answer_of(self, host: str) -> None:
        answer = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(host, []).append(answer)
        await answer

    def _ended(self, host: str, *, everybody: bool) -> None:
        """everybody: who waits needs to wait no longer, whichever way it went."""
        self._opening[host] -= 1
        if self._opening[host] <= 0:
            del self._opening[host]
        waiting = self._waiting.get(host, [])
        while waiting:
            answer = waiting.pop(0)
            if answer.done():
                continue  # cut by a stop
            answer.set_result(None)
            if not everybody:
                break
        if not waiting:
            self._waiting.pop(host, None)

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()


def waited(
    interval: Callable[[int], float],
    *,
    first: float,
    most: float,
    jitter: float,
    wish: float | None,
) -> backoff.Wait:
    """The back-off after so many failures in a row: `first` seconds, doubled with each, `most` at
    the longest, and no longer than `interval` has it, but as long as `wish` asks for.

    jitter: a factor, drawn once, so that the unit that uses it may run twice.
    """

    def wait(failures: int) -> int:
        seconds = min(first * 2.0 ** min(failures - 1, 30), most, interval(failures))
        return int(max(seconds, wish or 0.0) * jitter * 1000)

    return wait


def _remember(memory: OrderedDict[str, V], key: str, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > HOSTS_REMEMBERED_MAX:
        memory.popitem(last=False)
