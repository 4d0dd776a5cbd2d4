"""watch: the net below the store's hints: who waits for news of an account is woken within seconds
even where a hint was lost.

One look for all who wait, so that thousands of idle sessions cost one query each few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from estafeta.read.limits import ROWS_AT_ONCE
from estafeta.store.engine import Store, StoreError, Tx

# What is compared: (modseq, disabled); an account that is gone has none.
_State = tuple[int, int]


class Watch:
    """Of one store. A waiter is a future that is done once its account may have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Waiters in the order in which they came: so they are woken.
        self._waiting: dict[int, dict[asyncio.Future[None], None]] = {}
        self._seen: dict[int, _State] = {}
        self._looking: asyncio.Task[None] | None = None

    def join(self, account: int, seconds: float) -> asyncio.Future[None]:
        """A new waiter. seconds: between two looks; the first who waits decides it."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, {})[waiter] = None
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look(seconds))
        return waiter

    def renew(self, account: int, waiter: asyncio.Future[None]) -> asyncio.Future[None]:
        """A new waiter in place of one that is done; what was seen of the account stays known."""
        fresh: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting[account]
        waiters.pop(waiter, None)
        waiters[fresh] = None
        return fresh

    def leave(self, account: int, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiting.get(account)
        if waiters is None:
            return
        waiters.pop(waiter, None)
        if not waiters:
            del self._waiting[account]
            self._seen.pop(account, None)
        if not self._waiting and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            accounts = sorted(self._waiting)
            for start in range(0, len(accounts), ROWS_AT_ONCE):
                some = accounts[start : start + ROWS_AT_ONCE]
                try:
                    now = await self._store.read(lambda tx, s=some: _states(tx, s))  # type: ignore[misc]
                except StoreError:
                    continue  # the sessions will be told by their own reads
                for account in some:
                    self._compare(account, now.get(account))

    def _compare(self, account: int, now: _State | None) -> None:
        waiters = self._waiting.get(account)
        if waiters is None:
            return
        # The first look of an account has nothing to compare with: it wakes.
        if now is None or self._seen.get(account) != now:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        if now is not None:
            self._seen[account] = now


def _states(tx: Tx, accounts: Iterable[int]) -> dict[int, _State]:
    wanted = tuple(accounts)
    marks = ", ".join("?" * len(wanted))
    rows = tx.rows(
        f"SELECT id, modseq, disabled FROM account WHERE id IN ({marks})",  # noqa: S608
        wanted,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


_WATCHES: WeakKeyDictionary[Store, Watch] = WeakKeyDictionary()


def watch(store: Store) -> Watch:
    """The one of this store in this process."""
    found = _WATCHES.get(store)
    if found is None:
        found = _WATCHES[store] = Watch(store)
    return found
