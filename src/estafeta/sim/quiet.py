"""Quiet: logs of simulated machines: nothing is written, errors are kept as findings.

A machine that meets only what strangers and disks do to it logs no error: one that does has a bug.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from .process import life_at_work


class Errors:
    """What was logged as an error, by processes that were alive. lines: (time, machine, text)."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str, str]] = []

    def add(self, text: str) -> None:
        life = life_at_work()
        if life is None or life.up:
            name = life.name if life is not None else "?"
            self.lines.append((asyncio.get_running_loop().time(), name, text))

    def take(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A structlog processor, the last one."""
        self.add("\n".join(str(value) for value in event.values()))
        raise structlog.DropEvent


@contextmanager
def quiet() -> Iterator[Errors]:
    """While it lasts, structlog keeps errors and drops all else."""
    errors = Errors()
    before = structlog.get_config()
    asyncio_log = logging.getLogger("asyncio")
    asyncio_level = asyncio_log.level
    structlog.configure(
        processors=[structlog.processors.format_exc_info, errors.take],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    asyncio_log.setLevel(logging.CRITICAL)
    try:
        yield errors
    finally:
        asyncio_log.setLevel(asyncio_level)
        structlog.configure(**before)
