"""Insist: what must be written or read is tried again while the store cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from estafeta.store.bodies import BodyMissing
from estafeta.store.engine import StoreClosed, StoreConflict, StoreError

T = TypeVar("T")

STORE_RETRY_SECONDS = 1.0  # while the store cannot write (full disk)

log = structlog.get_logger("queue")


async def insistently(work: Callable[[], Awaitable[T]]) -> T:
    """`work`, again and again while the store or its disk cannot do it."""
    while True:
        try:
            return await work()
        except (StoreConflict, StoreClosed, BodyMissing, FileNotFoundError):
            raise  # it will not be otherwise the next time
        except (StoreError, OSError) as error:
            log.warning("outcome cannot be recorded yet", error=str(error))
            await asyncio.sleep(STORE_RETRY_SECONDS)
