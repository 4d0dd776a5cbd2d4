"""Report: what a run of the simulated world is made of, and what came of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from .trouble import DEATH_KINDS, USUAL_SECONDS

TRACE_LINES_MAX = 60


class Plan(msgspec.Struct, frozen=True):
    """What a run is made of. letters: how many; seconds: how long trouble lasts.

    deaths: kinds of death; synchronous: FULL, always, but where a test shows what NORMAL loses.
    workers: of each installation. bucket: large bodies are in one for each, which is away at times.
    """

    letters: int = 12
    seconds: float = USUAL_SECONDS
    deaths: tuple[str, ...] = DEATH_KINDS
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    workers: int = 1
    bucket: bool = False


class Report(msgspec.Struct, frozen=True):
    """Counts of one run. virtual_seconds: its length in its own time. trace: what went wrong.

    deaths: of machines; worker_deaths, pauses: of one worker alone. late: outcomes that came after
    their lease. told: how often a session in IDLE heard of new messages.
    """

    seed: int
    digest: str
    virtual_seconds: float
    letters: int
    acknowledged: int
    refused: int
    stored: int
    taken_by_peers: int
    bounces: int
    handovers: int
    deaths: int
    worker_deaths: int
    pauses: int
    late: int
    told: int
    faults_met: int
    dns_questions: int
    client_tries: int
    audits: int
    trace: list[str]


class RehearsalFailed(AssertionError):
    """findings: what did not hold; trace: what happened before."""

    def __init__(self, seed: int, findings: list[str], trace: list[str]) -> None:
        self.seed, self.findings, self.trace = seed, findings, trace
        shown = trace[-TRACE_LINES_MAX:]
        super().__init__(
            f"seed {seed}: {len(findings)} findings\n  "
            + "\n  ".join(findings[:20])
            + "\nwhat happened:\n  "
            + "\n  ".join(shown)
        )
