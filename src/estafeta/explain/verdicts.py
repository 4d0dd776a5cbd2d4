"""Verdicts: what a report comes to, a cause for each of its recipients."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from estafeta.explain.judge import judge
from estafeta.explain.reading import Kind, Reading, ReportedRecipient, read_report
from estafeta.explain.reading.limits import READING_SECONDS_MAX
from estafeta.explain.refusal import Verdict


def verdicts(reading: Reading) -> list[tuple[ReportedRecipient, Verdict]]:
    """Each recipient and what became of their message, in the order of the report."""
    return [(each, verdict(reading.kind, each)) for each in reading.recipients]


def verdict(kind: Kind, recipient: ReportedRecipient) -> Verdict:
    """What one recipient's words come to. What is no failure is not judged by its words."""
    return judge(recipient, kind=kind)


def read_and_judge(data: bytes, most: int) -> tuple[Reading, list[Verdict]]:
    """A report and what it comes to, parallel to its first `most` recipients; the others are cut
    off. In one function, for another process, which it holds at most READING_SECONDS_MAX: then
    TimeoutError."""
    with _within(READING_SECONDS_MAX):
        reading = read_report(data, most)
        return reading, [found for _, found in verdicts(reading)]


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Ends what runs by TimeoutError, a search for a pattern too. Only the main thread of a process
    can, and only where nobody else has set the alarm; elsewhere there is no end."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getitimer(signal.ITIMER_REAL)[0]
    ):
        yield
        return
    before = signal.signal(signal.SIGALRM, _late)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("not read in time")
