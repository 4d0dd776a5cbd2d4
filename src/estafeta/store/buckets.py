"""Buckets: how much of something may be had in how long, counted by all who share the store.

A bucket holds `burst` tokens and fills up again in `seconds`. Each process takes from what it knows
of a bucket and merges what it has taken through the store: a second after the first take at the
latest, and before the take that would make it a slice (Limit.slice).

Promises: however W processes take, they get at most (W - 1) slices more than one alone would (they
owe them: the bucket is below nothing then). A restart keeps the levels; a crash forgets of each
bucket what its process had not merged, less than a slice. What is known to be empty is not asked
for before it has tokens again. While the store is away, each process limits by what it knows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from estafeta.mail.protocols import Meter
from estafeta.store.engine import Store, StoreError, StoreUncertain, Tx
from estafeta.store.limits import (
    BUCKET_AGAIN_SECONDS,
    BUCKET_BURST_MAX,
    BUCKET_LOG_SECONDS,
    BUCKET_MERGE_SECONDS,
    BUCKET_NAMES_MAX,
    BUCKET_SKEW_MS_MAX,
    BUCKET_SLICES,
    BUCKET_TIDY_SECONDS,
    BUCKETS_MERGED_MAX,
)
from estafeta.world.seams import Clock

_UNIT = 10**9
"""A token in the table: so fine that what flows in within a millisecond is not rounded away."""

log = structlog.get_logger("buckets")


class Limit(msgspec.Struct, frozen=True):
    """So many at once, and filled up again in so many seconds; as "100/1m" in the settings."""

    burst: int
    seconds: float

    @property
    def slice(self) -> int:
        """What one process takes without asking is less than this."""
        return max(1, self.burst // BUCKET_SLICES)

    @property
    def _full(self) -> int:
        return min(self.burst, BUCKET_BURST_MAX) * _UNIT

    @property
    def _whole_ms(self) -> int:
        return max(1, round(self.seconds * 1000))


# In the store ----------------------------------------------------------------------------------


class Share(msgspec.Struct, frozen=True):
    """What one process has taken of a bucket, and what it wants besides if that can be had."""

    name: str
    limit: Limit
    taken: int
    wanted: int = 0


class Merged(msgspec.Struct, frozen=True):
    """level: tokens left, below 0 where too many were taken. got: it has what it wanted."""

    level: float
    got: bool


def merge(tx: Tx, shares: Sequence[Share], now: int) -> list[Merged]:
    """Part of a unit. Answers in the order of `shares`; no name may occur twice."""
    found = {share.name: _merge(tx, share, now) for share in sorted(shares, key=_name)}
    return [found[share.name] for share in shares]


def level(tx: Tx, name: str, limit: Limit, now: int) -> float:
    """Tokens in the bucket, as far as it was merged."""
    row = tx.row("SELECT level, at FROM bucket WHERE name = ?", (name,))
    return limit.burst if row is None else _filled(limit, row[0], row[1], now) / _UNIT


def empty_out(tx: Tx, name: str) -> None:
    """The bucket is full again. Other processes know with their next merge."""
    tx.send("DELETE FROM bucket WHERE name = ?", (name,))


def forget_full(tx: Tx, now: int, limit: int = BUCKETS_MERGED_MAX) -> bool:
    """Removes up to `limit` rows of buckets that are full again; True where there are no more."""
    gone = tx.run(
        "DELETE FROM bucket WHERE name IN (SELECT name FROM bucket WHERE ends < ? ORDER BY ends"
        " LIMIT ? /*postgresql: FOR UPDATE SKIP LOCKED */)",
        (now, limit),
    )
    return gone < limit


def _name(share: Share) -> str:
    return share.name


def _merge(tx: Tx, share: Share, now: int) -> Merged:
    limit = share.limit
    full = limit._full
    # Whoever else merges this one waits here, also where it has no row yet.
    row = tx.row(
        "INSERT INTO bucket (name, level, at, ends) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET level = bucket.level RETURNING level, at",
        (share.name, full, now, now),
    )
    assert row is not None
    left = _filled(limit, row[0], row[1], now) - share.taken * _UNIT
    got = left >= share.wanted * _UNIT
    if got:
        left -= share.wanted * _UNIT
    left = max(left, -full)  # a debt is paid within one filling
    # The clock of whoever merged last may be a little ahead: that time is not counted twice.
    ahead = 0 <= row[1] - now <= BUCKET_SKEW_MS_MAX
    ends = now + -(-(full - left) * limit._whole_ms // full)
    tx.send(
        "UPDATE bucket SET level = ?, at = ?, ends = ? WHERE name = ?",
        (left, row[1] if ahead else now, ends, share.name),
    )
    return Merged(left / _UNIT, got)


def _filled(limit: Limit, left: int, at: int, now: int) -> int:
    """What has become of a level of that time. A time in the future is one of a wrong clock."""
    full = limit._full
    return min(full, left + max(0, now - at) * full // limit._whole_ms)


# In a process ----------------------------------------------------------------------------------


class _Known:
    """What this process knows of a bucket. level: at a time of the loop's clock. taken: by this
    process, gone from the level, and not merged."""

    __slots__ = ("at", "level", "limit", "merging", "taken")

    def __init__(self, limit: Limit, level: float, at: float) -> None:
        self.limit = limit
        self.level = level
        self.at = at
        self.taken = 0
        self.merging: asyncio.Task[Sequence[Merged] | None] | None = None

    def left(self, now: float) -> float:
        limit = self.limit
        filled = self.level + (now - self.at) * limit.burst / limit.seconds
        self.level, self.at = min(limit.burst, filled), now
        return self.level


class Buckets:
    """Of one process, over a store that others may share."""

    def __init__(self, store: Store, clock: Clock, meter: Meter) -> None:
        self._store = store
        self._clock = clock
        self._meter = meter
        self._known: OrderedDict[str, _Known] = OrderedDict()  # the last one used at the end
        self._dirty: dict[str, _Known] = {}  # of which something was taken and is not merged
        self._taken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._merges: set[asyncio.Task[Sequence[Merged] | None]] = set()
        self._again = 0.0  # the store was away; not asked before
        self._logged = -BUCKET_LOG_SECONDS
        self._tidied = 0.0

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="buckets")

    async def stop(self) -> None:
        """What was taken is merged, if the store is there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._merges:
            await asyncio.wait(list(self._merges))
        await self._merge_all()

    async def take(self, name: str, limit: Limit, by: int = 1) -> float:
        """0.0: taken; else the seconds after which it may be had, and nothing is taken.

        by: at most the burst.
        """
        known = self._known.get(name) or await self._meet(name, limit)
        self._known.move_to_end(name)
        loop = asyncio.get_running_loop()
        while True:
            known.limit = limit
            now = loop.time()
            missing = by - known.left(now)
            if missing > 0:
                return missing * limit.seconds / limit.burst
            if known.taken + by < limit.slice or now < self._again:
                self._note(name, known, by)
                return 0.0
            if known.merging is not None:
                await asyncio.wait([known.merging])
                continue
            # A session that ends meanwhile does not take the merge with it.
            merged = await asyncio.shield(self._begin([(name, known)], by))
            if merged is None:
                self._note(name, known, by)
                return 0.0
            if merged[0].got:
                return 0.0
            return (by - merged[0].level) * limit.seconds / limit.burst

    async def wait(self, name: str, limit: Limit, by: int = 1) -> float:
        """As `take`, for who wants to know and takes nothing."""
        known = self._known.get(name) or await self._meet(name, limit)
        known.limit = limit
        missing = by - known.left(asyncio.get_running_loop().time())
        return max(0.0, missing * limit.seconds / limit.burst)

    async def settle(self, name: str, limit: Limit) -> bool:
        """Merges what was taken of it, so that what is known here is what the store says. False:
        the store is away."""
        known = self._known.get(name) or await self._meet(name, limit)
        known.limit = limit
        while known.merging is not None:
            await asyncio.wait([known.merging])
        return await asyncio.shield(self._begin([(name, known)])) is not None

    # -- knowing -------------------------------------------------------------------------------

    async def _meet(self, name: str, limit: Limit) -> _Known:
        """A bucket that this process does not know, or has lost sight of."""
        found = self._dirty.get(name)
        if found is None:
            left = float(limit.burst)
            try:
                if asyncio.get_running_loop().time() >= self._again:
                    left = await self._store.read(
                        partial(level, name=name, limit=limit, now=self._now())
                    )
            except StoreError as error:
                self._away(error)
            found = self._known.get(name)  # others may have asked meanwhile
            if found is None:
                found = _Known(limit, left, asyncio.get_running_loop().time())
        self._known[name] = found
        if len(self._known) > BUCKET_NAMES_MAX:
            self._known.popitem(last=False)
        return found

    def _note(self, name: str, known: _Known, by: int) -> None:
        known.taken += by
        known.level -= by
        if name not in self._dirty:
            self._dirty[name] = known
            self._taken.set()
            if len(self._dirty) > BUCKET_NAMES_MAX:
                del self._dirty[next(iter(self._dirty))]  # of a flood, or the store is away

    # -- merging -------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._taken.wait()
            await asyncio.sleep(BUCKET_MERGE_SECONDS)
            self._taken.clear()
            try:
                await self._merge_all()
                await self._tidy()
            except Exception:
                log.exception("buckets not merged")  # a bug of ours; the next merge comes
            if self._dirty:
                self._taken.set()

    async def _merge_all(self) -> None:
        """Units of many buckets, until one cannot be done."""
        todo = [(name, each) for name, each in self._dirty.items() if each.merging is None]
        for start in range(0, len(todo), BUCKETS_MERGED_MAX):
            batch = [
                (name, each)
                for name, each in todo[start : start + BUCKETS_MERGED_MAX]
                if each.merging is None and each.taken
            ]
            if batch and await asyncio.shield(self._begin(batch)) is None:
                return

    async def _tidy(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._tidied + BUCKET_TIDY_SECONDS:
            return
        self._tidied = now
        try:
            while not await self._store.run(partial(forget_full, now=self._now())):
                pass
        except StoreError as error:
            self._away(error)

    def _begin(
        self, batch: Sequence[tuple[str, _Known]], wanted: int = 0
    ) -> asyncio.Task[Sequence[Merged] | None]:
        task = asyncio.create_task(self._merge(batch, wanted), name="merge buckets")
        for _, known in batch:
            known.merging = task
        self._merges.add(task)
        task.add_done_callback(self._merges.discard)
        return task

    async def _merge(
        self, batch: Sequence[tuple[str, _Known]], wanted: int
    ) -> Sequence[Merged] | None:
        """None: the store could not do it, or may have done it."""
        shares = [Share(name, known.limit, known.taken, wanted) for name, known in batch]
        try:
            merged = await self._store.run(
                partial(merge, shares=shares, now=self._now()),
                names=[f"bucket {s.name}" for s in shares],
            )
        except StoreUncertain as error:
            self._away(error)
            for share, (name, known) in zip(shares, batch, strict=True):
                # Rather forgotten than counted twice.
                known.taken -= share.taken
                self._clean(name, known)
            return None
        except StoreError as error:
            self._away(error)
            return None
        finally:
            for _, known in batch:
                known.merging = None
        now = asyncio.get_running_loop().time()
        for share, each, (name, known) in zip(shares, merged, batch, strict=True):
            known.taken -= share.taken
            known.level, known.at = each.level - known.taken, now
            self._clean(name, known)
        self._meter.count("bucket_merges")
        self._meter.count("buckets_merged", len(batch))
        return merged

    def _clean(self, name: str, known: _Known) -> None:
        if not known.taken and self._dirty.get(name) is known:
            del self._dirty[name]

    def _away(self, error: StoreError) -> None:
        now = asyncio.get_running_loop().time()
        self._again = now + BUCKET_AGAIN_SECONDS
        if now >= self._logged + BUCKET_LOG_SECONDS:
            self._logged = now
            log.warning("limits count for this process alone", error=str(error))

    def _now(self) -> int:
        return int(self._clock.now() * 1000)
