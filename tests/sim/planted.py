"""Planted bugs: what a hurried change might do, each to be found by the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import estafeta.queue.settle
from estafeta.intake.accept import Acceptor
from estafeta.intake.prepared import Incoming
from estafeta.queue.contract import Prepared
from estafeta.queue.errand import Errands
from estafeta.queue.settle import Attempted, settle
from estafeta.store.engine import StoreError, Tx
from estafeta.wire.smtp_client.dots import DotStuffer

Plant = Callable[[pytest.MonkeyPatch], None]


def answer_before_commit(patch: pytest.MonkeyPatch) -> None:
    """The 250 leaves while the unit is still on its way."""
    under_way: set[asyncio.Task[None]] = set()

    async def accept(self: Acceptor, incoming: Incoming) -> None:
        prepared = await self.prepare(incoming)

        async def commit() -> None:
            try:
                await self._store.run(prepared.apply, accounts=prepared.accounts)
            except StoreError:
                prepared.abandoned()
            else:
                prepared.committed()

        task = asyncio.create_task(commit())
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    patch.setattr(Acceptor, "accept", accept)


def bounce_and_delete_apart(patch: pytest.MonkeyPatch) -> None:
    """The queue row ends in one transaction, the bounce is opened in the next."""

    class Later:
        """A notice whose rows the first transaction leaves out."""

        def __init__(self, notice: Prepared) -> None:
            self.id = notice.id

        def apply(self, tx: Tx) -> None:
            return

    async def durable(self: Errands, unit: Callable[[Tx], None]) -> None:
        while True:
            try:
                await self._store.run(unit)
                return
            except StoreError:
                await asyncio.sleep(1)

    async def settle_twice(self: Errands, done: Attempted, body: Any) -> None:
        event = self._ids.next()
        notices: Sequence[Prepared] = [
            await self._acceptor.prepare_notice(notice)
            for notice in await self._notices_about(done, body)
        ]
        later: Any = [Later(notice) for notice in notices]
        await durable(self, lambda tx: settle(tx, done, event, later))
        for notice in notices:
            await durable(self, notice.apply)
            notice.committed()
        if done.child is not None:
            done.child.committed()

    patch.setattr(Errands, "_settle", settle_twice)


def copy_not_told(patch: pytest.MonkeyPatch) -> None:
    """An outcome changes the ledger and leaves the sender's copy as it was."""
    untold = SimpleNamespace(follow=lambda tx, acceptance: None)
    patch.setattr(estafeta.queue.settle, "tracker", untold)


def dot_at_a_border_not_stuffed(patch: pytest.MonkeyPatch) -> None:
    """Sending: a dot that begins a piece counts as the middle of a line."""

    def chunk(self: DotStuffer, data: bytes) -> bytes:
        self._tail = (self._tail + data)[-2:]
        return data.replace(b"\n.", b"\n..")

    patch.setattr(DotStuffer, "chunk", chunk)


PLANTS: tuple[Plant, ...] = (
    answer_before_commit,
    bounce_and_delete_apart,
    copy_not_told,
    dot_at_a_border_not_stuffed,
)
