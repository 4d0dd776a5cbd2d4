"""measure: what one run of one side gave, and how it is taken.

A side is a set of servers under load. Its processes are found by their sessions, so that CPU and
memory count every child; the load generator's are not among them.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support.peers.process import cpu_seconds, resident_bytes, session_members


@dataclass(frozen=True, slots=True)
class Run:
    """One run. messages: how many. accepted_s: until the client had its last 250. done_s: until the
    work was done (visible in IMAP, or taken by the sink). cpu_s: of the side's processes. foreign:
    share of all CPUs, 0 to 1, that others than the side and the load used meanwhile."""

    messages: int
    accepted_s: float
    done_s: float
    cpu_s: float
    foreign: float

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

    @property
    def countable(self) -> bool:
        """Whether its syncs can be counted."""
        ...

    def run(self, load: Load, messages: int, turn: int) -> Run:
        """Sends that many messages and waits until all arrived. turn: counts from 0, to take a
        fresh mailbox each time. Raises: DidNotHappen, if one is missing."""
        ...

    def facts(self) -> dict[str, int | str]:
        """What it says of itself after the runs, to be printed beside the figures."""
        ...


class Stopwatch:
    """Time and CPU from its creation on.

    sessions: of the side's processes. helpers: of the load's processes that we did not wait for.
    """

    def __init__(self, sessions: Iterable[int], helpers: Iterable[int] = ()) -> None:
        self._sessions = list(sessions)
        self._helpers = list(helpers)
        self._cpu = sum(map(cpu_seconds, self._sessions))
        self._load = self._load_now()
        self._busy = machine_cpu_seconds()
        self._start = time.perf_counter()

    def _load_now(self) -> float:
        """CPU of the helpers, of us, and of what we started and waited for."""
        usages = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return own + sum(map(cpu_seconds, self._helpers))

    def elapsed_s(self) -> float:
        return time.perf_counter() - self._start

    def run(self, messages: int, accepted_s: float) -> Run:
        """The run that ends now."""
        elapsed = self.elapsed_s()
        cpu = sum(map(cpu_seconds, self._sessions)) - self._cpu
        others = machine_cpu_seconds() - self._busy - cpu - (self._load_now() - self._load)
        share = max(0.0, others) / elapsed / (os.cpu_count() or 1)
        return Run(messages, accepted_s, elapsed, cpu, share)


def machine_cpu_seconds() -> float:
    """CPU seconds that all processes of the machine have used since it started."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]))
    user, nice, system, _, _, interrupts, soft = fields[:7]
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


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
