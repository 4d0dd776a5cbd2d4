"""Outbound: how many recipients an account may write to, so that a stolen password is worth little.

Promises: who exceeds the limit is stopped: its mail in the queue is held and it is told 550 until
an administrator lets it, over restarts and on every node; that is decided by what the store says,
not by what this process remembers, and only by what the account itself submits after a login. No
message of the account is accepted behind the unit that stops it.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial

import msgspec
import structlog

from estafeta.intake.prepared import RefusedInUnit
from estafeta.intake.words import refusal
from estafeta.mail.outcome import Reply
from estafeta.mail.protocols import Meter
from estafeta.queue import stopped as queue_stopped
from estafeta.queue.stopped import BEGIN, Key, Place, bucket_of
from estafeta.store import stopped
from estafeta.store.buckets import Buckets, Limit
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids
from estafeta.store.rows import Account
from estafeta.wire import replies
from estafeta.world.seams import Clock

log = structlog.get_logger("outbound")


class OutboundLimit(msgspec.Struct, frozen=True):
    """text: as in the settings. limit: what it says; None: as many as go."""

    text: str
    limit: Limit | None


class Outbound:
    """Of one installation. setting may be replaced at any time."""

    def __init__(
        self,
        store: Store,
        buckets: Buckets,
        *,
        ids: Ids,
        clock: Clock,
        setting: OutboundLimit,
        meter: Meter,
    ) -> None:
        self.setting = setting
        self.stirred = asyncio.Event()
        """An account was stopped here: there is something to hold, and somebody to tell."""
        self._store = store
        self._buckets = buckets
        self._ids = ids
        self._clock = clock
        self._meter = meter
        self._stopped: set[int] = set()  # as far as this process knows

    def sender(self, tx: Tx, account: Account, *, utf8: bool = False) -> Reply | None:
        """At MAIL: why it may not send. Part of a read. utf8: it may be answered in UTF-8."""
        if stopped.find(tx, account.id) is None:
            self._stopped.discard(account.id)
            return None
        self._stopped.add(account.id)
        return _stopped(account, utf8)

    async def recipient(self, account: Account, *, utf8: bool = False) -> Reply | None:
        """At RCPT, for one recipient more: None where it may write to them. Raises StoreError."""
        limit = self.setting.limit
        if account.id in self._stopped:
            return self._refusal(account, utf8)
        name = bucket_of(account.id)
        if limit is None or not await self._buckets.take(name, limit):
            return None
        # What this process knows may be older than a release, or than what flowed in elsewhere.
        if await self._buckets.settle(name, limit):
            seconds = await self._buckets.take(name, limit)
            if not seconds:
                return None
            await self._stop(account)
            return self._refusal(account, utf8)
        seconds = math.ceil(limit.seconds / limit.burst)
        return refusal(replies.RATE_LIMITED, language=account.language, utf8=utf8, seconds=seconds)

    def unit(self, account: Account, *, utf8: bool = False) -> partial[None]:
        """For the unit that accepts a message of that account, which has it locked."""
        return partial(_refuse, reply=_stopped(account, utf8), id=account.id)

    def _refusal(self, account: Account, utf8: bool) -> Reply:
        self._meter.count("rate_limited", limit="outbound")
        return _stopped(account, utf8)

    async def _stop(self, account: Account) -> None:
        """With the first slice of what it has waiting; `hold_all` does the rest."""
        found = await self._store.read(partial(queue_stopped.waiting, account=account.id))
        why, event = self.setting.text, self._ids.next()

        def unit(tx: Tx) -> bool:
            new = stopped.stop(tx, account.id, why, self._now())
            queue_stopped.hold(tx, account.id, found.keys, now=self._now(), event=event)
            return new

        if await self._store.run(unit, accounts=(account.id,)):
            log.warning("account stopped", account=account.address, limit=why)
            self._meter.count("senders_stopped")
        self._stopped.add(account.id)
        self.stirred.set()

    async def hold_all(self, account: int) -> None:
        """All that it has waiting, slice by slice. Raises StoreError."""
        after: Place | None = BEGIN
        while after is not None:
            found = await self._store.read(
                partial(queue_stopped.waiting, account=account, after=after)
            )
            if found.keys and await self._hold(account, found.keys) is None:
                return  # let go meanwhile
            after = found.next

    async def _hold(self, account: int, keys: list[Key]) -> int | None:
        return await self._store.run(
            partial(
                queue_stopped.hold,
                account=account,
                keys=keys,
                now=self._now(),
                event=self._ids.next(),
            ),
            accounts=(account,),
        )

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def _stopped(account: Account, utf8: bool) -> Reply:
    return refusal(
        replies.SENDING_STOPPED, language=account.language, utf8=utf8, account=account.address
    )


def _refuse(tx: Tx, *, reply: Reply, id: int) -> None:
    if stopped.find(tx, id) is not None:
        raise RefusedInUnit(reply)
