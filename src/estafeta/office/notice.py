"""Notice: what the service manager is told (sd_notify of systemd), where it asked to be told.

Ready, reloading, stopping, and, at half the interval that it demands, that the event loop still
turns. Who is not its main process may say so too: systemd listens to that one alone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress

NOTICE_SECONDS_MAX = 1.0
"""A manager that does not read must not stop mail."""

STOP_MARGIN_SECONDS = 10.0
"""Beyond the longest clean stop; then the manager may kill."""


def notify(state: str) -> None:
    """Lines of NAME=value. Never raises: a manager that has gone is no reason to fail."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.settimeout(NOTICE_SECONDS_MAX)
        to.connect("\0" + where[1:] if where.startswith("@") else where)
        to.send(state.encode())


def ready() -> None:
    notify("READY=1\nSTATUS=Serving")


def reloading() -> None:
    """Until `ready` is said again. The time tells this reload from the one before."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=Reading settings")


def stopping(seconds: float) -> None:
    """seconds: a clean stop takes at most so long."""
    extended = int((seconds + STOP_MARGIN_SECONDS) * 1_000_000)
    notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={extended}\nSTATUS=Finishing what has begun")


def watchdog_seconds() -> float | None:
    """Silence for so long is taken for death; None where nobody watches this process."""
    interval = os.environ.get("WATCHDOG_USEC", "")
    whose = os.environ.get("WATCHDOG_PID", "")
    if not interval.isdigit() or int(interval) == 0 or (whose and whose != str(os.getpid())):
        return None
    return int(interval) / 1_000_000


def still_here() -> None:
    """Says nothing where nobody watches."""
    if watchdog_seconds() is not None:
        notify("WATCHDOG=1")


async def keep_watchdog() -> None:
    """Says that the loop turns, for as long as it runs; returns at once where nobody watches."""
    interval = watchdog_seconds()
    if interval is None:
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval / 2)
