"""report: the results as a table for people."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from bench.contest import FOREIGN_MAX, Result
from bench.measure import Run

MIB = 1024 * 1024


def spread(runs: Sequence[Run], value: Callable[[Run], float], form: str) -> str:
    """The median (smallest-largest) of one figure."""
    values = [value(run) for run in runs]
    shown = [format(x, form) for x in (statistics.median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]}-{shown[2]})"


def ratio(results: Sequence[Result]) -> float:
    """The second over the first, of the medians."""
    return results[1].median_rate / results[0].median_rate


def show(title: str, results: Sequence[Result], wanted: float | None, console: Console) -> None:
    """Prints one contest. wanted: the ratio that the project promises; None: no peer took part.

    results: the peer, where there is one, then our forms.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("median (min-max)")
    for result in results:
        table.add_column(result.name, justify="right")
    rows: list[tuple[str, Callable[[Result], str]]] = [
        ("messages a second", lambda r: spread(r.runs, lambda x: x.rate, ",.0f")),
        ("accepted a second", lambda r: spread(r.runs, lambda x: x.accept_rate, ",.0f")),
        ("CPU s per 1,000", lambda r: spread(r.runs, lambda x: x.cpu_per_1000, ".2f")),
        ("others' share of the CPUs", lambda r: spread(r.runs, lambda x: x.foreign, ".0%")),
        ("messages a run", lambda r: f"{r.runs[0].messages:,}"),
        ("syncs a message", lambda r: "-" if r.syncs is None else f"{r.syncs:.2f}"),
        ("largest process, peak MiB", lambda r: f"{r.peak / MIB:.0f}"),
        ("all processes, MiB", lambda r: f"{r.held / MIB:.0f}"),
    ]
    for label, value in rows:
        table.add_row(label, *(value(result) for result in results))
    console.print(table)
    for result in results:
        if result.facts:
            facts = ", ".join(f"{name} = {value}" for name, value in result.facts.items())
            console.print(f"{result.name} reads back: {facts}", highlight=False)
    if any(run.foreign > FOREIGN_MAX for result in results for run in result.runs):
        console.print("others used the machine meanwhile: take the ratio with caution")
    ours = results if wanted is None else results[1:]
    if wanted is not None:
        console.print(f"ratio of the medians: {ratio(results):.2f} (promised: {wanted:g})")
    for form in ours[1:]:
        console.print(f"{form.name} / {ours[0].name}: {ratio([ours[0], form]):.2f}")
    console.print()
