"""Rehearse: the `estafeta rehearse` command: runs of the simulated internet, told to a person.

Exit 0 where every promise held in every run, 1 where one did not: then the seed, what did not hold
and what had happened are printed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from .postgres import NoPostgres
from .report import Plan, RehearsalFailed, Report
from .run import run_seed
from .stores import databases

_LETTERS_PER_HOUR = 29


class Failed(msgspec.Struct, frozen=True):
    """A run in which something did not hold, as `--json` prints it."""

    seed: int
    findings: list[str]
    trace: list[str]


def rehearse(
    *,
    seed: int,
    runs: int,
    hours: float,
    letters: int,
    json: bool,
    trace: bool = False,
    workers: int = 1,
    bucket: bool = False,
    store: str = "sqlite",
    programs: Path | None = None,
) -> int:
    """Runs seeds `seed` … `seed + runs - 1`. hours: of trouble in each, 0 for the usual 25 minutes.

    letters: in each; 0 for as many as the hours ask for. workers: of each installation.
    bucket: with large bodies in one. store: "sqlite" or "postgresql", from the programs in that
    folder.
    """
    plan = Plan(workers=workers, bucket=bucket)
    if hours:
        many = max(1, int(hours * _LETTERS_PER_HOUR))
        plan = msgspec.structs.replace(plan, letters=many, seconds=hours * 3600)
    if letters:
        plan = msgspec.structs.replace(plan, letters=letters)
    try:
        with databases(store, programs) as database:
            return _rehearse(range(seed, seed + runs), plan, database, json=json, trace=trace)
    except NoPostgres as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _rehearse(
    seeds: range, plan: Plan, database: Callable[[], str] | None, *, json: bool, trace: bool
) -> int:
    bad = 0
    for number in seeds:
        began = time.perf_counter()
        try:
            report = run_seed(number, plan, database=database)
        except RehearsalFailed as failed:
            bad += 1
            _tell_failed(failed, json=json)
            continue
        if json:
            _say(msgspec.json.encode(report).decode())
        else:
            _tell(report, time.perf_counter() - began, trace=trace)
    if len(seeds) > 1 and not json:
        _say(f"{len(seeds)} runs, {bad} in which something did not hold")
    return 1 if bad else 0


def _tell(report: Report, seconds: float, *, trace: bool) -> None:
    if trace:
        for line in report.trace:
            _say(f"  {line}")
    _say(
        f"seed {report.seed}: {report.virtual_seconds / 3600:.1f} hours in {seconds:.1f} s, "
        f"{report.deaths} deaths of machines{_mishaps(report)}, {report.faults_met} faults met. "
        f"{report.letters} letters: {report.acknowledged} recipients accepted, "
        f"{report.refused} refused; {report.stored} messages in mailboxes "
        f"({report.bounces} of them bounces), {report.taken_by_peers} taken by other servers. "
        "Every promise held."
    )


def _mishaps(report: Report) -> str:
    if not report.worker_deaths and not report.pauses:
        return ""
    return f" and {report.worker_deaths} of single workers, {report.pauses} stopped for a while"


def _tell_failed(failed: RehearsalFailed, *, json: bool) -> None:
    if json:
        found = Failed(failed.seed, failed.findings, failed.trace)
        _say(msgspec.json.encode(found).decode())
    else:
        _say(str(failed))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
