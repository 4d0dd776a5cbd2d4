"""Full: everything checked against everything, in chunks, each on a snapshot of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial

from estafeta.store.audit.books import books
from estafeta.store.audit.boxes import (
    account_findings,
    mailbox_findings,
    message_findings,
    strays,
)
from estafeta.store.audit.fates import fates
from estafeta.store.audit.files import bodies_slice, object_findings
from estafeta.store.audit.finding import Finding
from estafeta.store.audit.tracked import tracked_findings
from estafeta.store.bodies import Shelf
from estafeta.store.engine import Store, Tx
from estafeta.world.seams import Disk

Step = Callable[[Tx, int], tuple[list[Finding], int | None]]
"""(snapshot, where the last step ended) -> (findings, where this one ended; None at the end)."""


async def audit_full(
    store: Store, disk: Disk | None = None, shelf: Shelf | None = None
) -> AsyncIterator[Finding]:
    """disk: where large bodies lie; None leaves files and objects unchecked. shelf: where the
    others do; None where there is no object store. Raises StoreError."""
    for account in await store.read(_accounts):
        boxes, found = await store.read(partial(account_findings, account=account))
        for finding in found:
            yield finding
        for box in boxes:
            for finding in await store.read(partial(mailbox_findings, account=account, id=box)):
                yield finding
            for each in (message_findings, tracked_findings):
                async for finding in _stepwise(store, partial(each, account=account, id=box)):
                    yield finding
    for finding in await store.read(strays):
        yield finding
    steps: list[Step] = [fates, books, partial(bodies_slice, disk=disk)]
    for step in steps:
        async for finding in _stepwise(store, step):
            yield finding
    if disk is not None:
        async for finding in object_findings(store, shelf):
            yield finding


def _accounts(tx: Tx) -> list[int]:
    return [id for (id,) in tx.rows("SELECT id FROM account ORDER BY id")]


async def _stepwise(store: Store, step: Step) -> AsyncIterator[Finding]:
    at: int | None = 0
    while at is not None:
        found, at = await store.read(partial(_step, step=step, at=at))
        for finding in found:
            yield finding


def _step(tx: Tx, step: Step, at: int) -> tuple[list[Finding], int | None]:
    return step(tx, at)
