"""measure: what one run of one side gave, and how it is taken.

A side is a set of servers under load. Its processes are found by their sessions, so that CPU and
memory count every child; the load generator's are not among them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support.peers.process import cpu_seconds, resident_bytes, session_members


@dataclass(frozen=True, slots=True)
class Run:
    """One run. messages: how many. accepted_s: until the client had its last 250. done_s: until the
    work was done (visible in IMAP, or taken by the sink). cpu_s: of the side's processes."""

    messages: int
    accepted_s: float
    done_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Messages a second, until the work was done."""
        return self.messages / self.done_s

    @property
    def accept_rate(self) -> float:
        """Messages a second, until the last was accepted."""
        return self.messages / self.accepted_s

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds per 1,000 messages."""
        return self.cpu_s / self.messages * 1000

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rate": self.rate, "cpu_per_1000": self.cpu_per_1000}


@dataclass(frozen=True, slots=True)
class Load:
    """What a run sends: octets of a message, sessions of the client."""

    size: int = 4096
    sessions: int = 20


class Side(Protocol):
    """One set of servers, running."""

    @property
    def name(self) -> str: ...

    @property
    def sessions(self) -> list[int]:
        """The sessions of its processes."""
        ...

    def run(self, load: Load, messages: int, turn: int) -> Run:
        """Sends that many messages and waits until all arrived. turn: counts from 0, to take a
        fresh mailbox each time. Raises: DidNotHappen, if one is missing."""
        ...

    def facts(self) -> dict[str, int | str]:
        """What it says of itself after the runs, to be printed beside the figures."""
        ...


class Stopwatch:
    """Time and CPU of some sessions from its creation on."""

    def __init__(self, sessions: Iterable[int]) -> None:
        self._sessions = list(sessions)
        self._cpu = self._cpu_now()
        self._start = time.perf_counter()

    def _cpu_now(self) -> float:
        return sum(cpu_seconds(session) for session in self._sessions)

    def elapsed_s(self) -> float:
        return time.perf_counter() - self._start

    def cpu_s(self) -> float:
        return self._cpu_now() - self._cpu


def memory(sessions: Iterable[int]) -> int:
    """Octets that the sessions' processes hold now, shared pages counted once."""
    return sum(resident_bytes(session) for session in sessions)


def peak_of_largest(sessions: Iterable[int]) -> int:
    """The largest resident size, in octets, that any one of the processes has had (VmHWM)."""
    peaks = [0]
    for session in sessions:
        for pid in session_members(session):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            peaks += [
                int(x.split()[1]) * 1024 for x in status.splitlines() if x.startswith("VmHWM")
            ]
    return max(peaks)
