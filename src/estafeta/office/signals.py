"""Signals: SIGTERM and SIGINT end the service in order, SIGHUP has it read its settings again.

A second SIGTERM or SIGINT ends the waiting for what has begun.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class Stop:
    """Whether to stop, and whether at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()

    def ask(self) -> None:
        if self.asked.is_set():
            self.at_once.set()
        self.asked.set()


Handled = Callable[[Stop, Callable[[], None]], AbstractContextManager[None]]
"""How a service comes to know what it is to do: `handled`, or `handled_for_worker`."""


@contextmanager
def handled(stop: Stop, reload: Callable[[], None]) -> Iterator[None]:
    """Handles signals within the block; must be entered in the running loop's main thread."""
    loop = asyncio.get_running_loop()
    actions = {signal.SIGTERM: stop.ask, signal.SIGINT: stop.ask, signal.SIGHUP: reload}
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)


@contextmanager
def handled_for_worker(stop: Stop, _reload: Callable[[], None]) -> Iterator[None]:
    """In a crew the supervisor tells what to do. SIGTERM, which may come to all processes at once,
    says no more than it does, however often it comes; SIGINT and SIGHUP are for the supervisor."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.asked.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
