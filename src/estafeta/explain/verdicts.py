"""Verdicts: what a report comes to, a cause for each of its recipients."""

from __future__ import annotations

import msgspec

from estafeta.explain.judge import judge
from estafeta.explain.reading import Kind, Reading, ReportedRecipient, read_report
from estafeta.explain.refusal import Verdict


def verdicts(reading: Reading) -> list[tuple[ReportedRecipient, Verdict]]:
    """Each recipient and what became of their message, in the order of the report."""
    return [(each, verdict(reading.kind, each)) for each in reading.recipients]


def verdict(kind: Kind, recipient: ReportedRecipient) -> Verdict:
    """What one recipient's words come to. What is no failure is not judged by its words."""
    return judge(recipient, kind=kind)


def read_and_judge(data: bytes, most: int) -> tuple[Reading, list[Verdict]]:
    """A report and what it comes to, parallel to its first `most` recipients; the others are cut
    off. In one function, for another process."""
    reading = read_report(data)
    reading = msgspec.structs.replace(reading, recipients=reading.recipients[:most])
    return reading, [found for _, found in verdicts(reading)]
