"""The real world: system clock and dice, sockets, files, processes, and the loop to run on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from .clock import SystemClock
from .cpu import ProcessCpu
from .dice import system_dice
from .disk import RealDisk
from .limits import SWITCH_INTERVAL_SECONDS
from .net import RealNet
from .seams import Objects, World

T = TypeVar("T")


def real_world(root: Path, objects: Objects | None = None) -> World:
    """This machine. root: the directory that `disk` keeps to."""
    return World(
        clock=SystemClock(),
        dice=system_dice(),
        net=RealNet(),
        disk=RealDisk(root),
        cpu=ProcessCpu(),
        objects=objects,
    )


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def run(main: Coroutine[Any, Any, T], *, debug: bool = False) -> T:
    """Runs `main` to its end on the best loop there is. The only `run` a command needs."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    with asyncio.Runner(debug=debug, loop_factory=loop_factory()) as runner:
        return runner.run(main)
