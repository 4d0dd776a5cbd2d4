"""python -m bench.score: how well bounces of others are understood, told by 309 real ones.

Each is read and judged as `estafeta explain` does, and the reason held against the one on which
three implementations of sisimai agree: it must be among those of the cause. Printed are both
scores, which piece of knowledge carried how many reports, every miss, and what is left of the score
for a sender when whatever only that sender's reports support is taken away.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from estafeta.explain.causes import cause
from estafeta.explain.judge import judge, weigh
from estafeta.explain.judge.index import Index
from estafeta.explain.judge.knowledge import Piece, facts, pieces
from estafeta.explain.reading import read_report
from estafeta.explain.refusal import Refusal, Verdict

REASON_MIN = 0.98
HARD_MIN = 0.98
LEFT_OUT_MIN = 0.90
SUITE = "sisimai-dev"


class Expected(msgspec.Struct, frozen=True):
    """What is expected of one recipient."""

    reason: str
    hardbounce: bool


class Case(msgspec.Struct, frozen=True):
    """One report. sender: who wrote it, as the suite groups them. said: what was read of it."""

    name: str
    sender: str
    kind: str
    expected: tuple[Expected, ...]
    said: tuple[Refusal, ...]

    def verdicts(self, known: Index | None = None) -> list[Verdict]:
        return [judge(refusal, kind=self.kind, known=known) for refusal in self.said]

    def reasons_right(self, verdicts: list[Verdict]) -> bool:
        return len(verdicts) == len(self.expected) and all(
            wanted.reason in cause(verdict.cause).sisimai
            for wanted, verdict in zip(self.expected, verdicts, strict=True)
        )

    def hard_right(self, verdicts: list[Verdict]) -> bool:
        return len(verdicts) == len(self.expected) and all(
            wanted.hardbounce == verdict.hard
            for wanted, verdict in zip(self.expected, verdicts, strict=True)
        )


class Score(msgspec.Struct, frozen=True):
    """Shares of the reports, 0 to 1.

    by_sender: (right, all) with the facts left out that only its own reports support; by_phrase:
    the same with each of their phrases taken for itself.
    """

    reports: int
    reason: float
    hard: float
    by_sender: dict[str, tuple[int, int]]
    by_phrase: dict[str, tuple[int, int]]

    @property
    def left_out(self) -> float:
        return sum(right for right, _ in self.by_sender.values()) / self.reports

    @property
    def left_out_by_phrase(self) -> float:
        return sum(right for right, _ in self.by_phrase.values()) / self.reports

    @property
    def good(self) -> bool:
        return self.reason >= REASON_MIN and self.hard >= HARD_MIN and self.left_out >= LEFT_OUT_MIN


def cases(suites: Path) -> list[Case]:
    """The reports of the suite of which what is expected is agreed."""
    folder = suites / SUITE
    listed = json.loads((folder / "expected.json").read_text("utf-8"))
    found = []
    for name, entry in sorted(listed.items()):
        if not entry.get("reasons_agree"):
            continue
        reading = read_report((folder / "eml" / f"{name}.eml").read_bytes())
        expected = msgspec.convert(entry["expected"], tuple[Expected, ...])
        found.append(Case(name, entry["module"], reading.kind, expected, reading.recipients))
    return found


def score(reports: list[Case]) -> Score:
    """Both scores, and the one with each sender's own knowledge left out."""
    told = [(report, report.verdicts()) for report in reports]
    return Score(
        reports=len(reports),
        reason=sum(report.reasons_right(verdicts) for report, verdicts in told) / len(reports),
        hard=sum(report.hard_right(verdicts) for report, verdicts in told) / len(reports),
        by_sender=dict(_left_out(reports, lambda piece: piece.fact)),
        by_phrase=dict(_left_out(reports, lambda piece: piece.place)),
    )


def support(reports: Iterable[Case], unit: Callable[[Piece], int]) -> dict[int, set[str]]:
    """Fact or piece -> the senders whose reports it fits, with the right cause."""
    found: dict[int, set[str]] = defaultdict(set)
    for report in reports:
        for wanted, refusal in zip(report.expected, report.said, strict=False):
            for piece in weigh(refusal):
                if wanted.reason in cause(piece.cause).sisimai:
                    found[unit(piece)].add(report.sender)
    return found


def _left_out(
    reports: list[Case], unit: Callable[[Piece], int]
) -> Iterator[tuple[str, tuple[int, int]]]:
    supported = support(reports, unit)
    for sender in sorted({report.sender for report in reports}):
        known = Index(piece for piece in pieces() if supported.get(unit(piece)) != {sender})
        own = [report for report in reports if report.sender == sender]
        right = sum(report.reasons_right(report.verdicts(known)) for report in own)
        yield sender, (right, len(own))


def show(reports: list[Case], found: Score) -> None:
    """Everything, for a person."""
    _show_rules(reports)
    print("By sender, without what only its own reports support:")
    for sender, (right, all_of_it) in found.by_sender.items():
        print(f"  {sender:24} {right:3} of {all_of_it}")
    print("\nMisses:")
    for report in reports:
        _show_misses(report)
    print(
        f"\n{found.reports} reports: reason {found.reason:.1%} (at least {REASON_MIN:.0%}), "
        f"hard {found.hard:.1%} (at least {HARD_MIN:.0%}), "
        f"one sender left out {found.left_out:.1%} (at least {LEFT_OUT_MIN:.0%}; "
        f"{found.left_out_by_phrase:.1%} with each phrase for itself)"
    )


def _show_rules(reports: list[Case]) -> None:
    """Facts by the reports that they decided, with the phrases that did."""
    by_rule = {piece.rule: piece.fact for piece in pieces()}
    decided: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    fitting: dict[int, set[str]] = defaultdict(set)
    for report in reports:
        for verdict in report.verdicts():
            if verdict.rule in by_rule:
                decided[by_rule[verdict.rule]][verdict.rule].add(report.name)
        for refusal in report.said:
            for piece in weigh(refusal):
                fitting[piece.fact].add(report.name)
    print("Reports that a fact decided, and that it fits (* one report only), with its phrases:")
    counts = {fact: len(set().union(*by.values())) for fact, by in decided.items()}
    for number in sorted(decided, key=lambda fact: (-counts[fact], fact)):
        file, fact = facts()[number]
        alone = "*" if len(fitting[number]) == 1 else " "
        print(
            f"  {counts[number]:4} {len(fitting[number]):4}{alone} {file}: {fact.cause} "
            f"({fact.source[:90]})"
        )
        for rule, names in sorted(decided[number].items(), key=lambda by: -len(by[1])):
            if "“" in rule:
                print(f"            {len(names):4} {rule[rule.index('“') : rule.rindex('”') + 1]}")
    alone_all = sum(len(names) == 1 for names in fitting.values())
    print(
        f"{len(facts())} facts, of which {len(decided)} decided, {len(fitting)} fit and "
        f"{alone_all} fit one report only.\n"
    )


def _show_misses(report: Case) -> None:
    verdicts = report.verdicts()
    if report.reasons_right(verdicts) and report.hard_right(verdicts):
        return
    if len(verdicts) != len(report.expected):
        print(f"  {report.name}: {len(verdicts)} recipients read, {len(report.expected)} expected")
        return
    for wanted, verdict, said in zip(report.expected, verdicts, report.said, strict=True):
        if wanted.reason in cause(verdict.cause).sisimai and wanted.hardbounce == verdict.hard:
            continue
        print(
            f"  {report.name}: {wanted.reason}{' hard' if wanted.hardbounce else ''} expected, "
            f"{verdict.cause}{' hard' if verdict.hard else ''} by {verdict.rule}\n"
            f"      {said.code or ''} {said.status} {said.command} [{said.mailer} {said.host} "
            f"{said.action}] {said.text[:300]!r}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.score", description=__doc__)
    parser.add_argument(
        "suites",
        nargs="?",
        type=Path,
        default=Path(os.environ.get("ESTAFETA_SUITES", "../shared/suites")),
        help="folder of the third-party suites (default: $ESTAFETA_SUITES, or ../shared/suites)",
    )
    suites = parser.parse_args().suites
    if not (suites / SUITE).is_dir():
        print(f"{suites / SUITE} is not there: ESTAFETA_SUITES says where the suites are")
        return 2
    reports = cases(suites)
    found = score(reports)
    show(reports, found)
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
