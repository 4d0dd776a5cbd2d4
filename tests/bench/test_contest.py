"""The rules of a contest: by turns, the least disturbed count, medians are compared."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from bench.contest import EXTRA_TURNS, FOREIGN_MAX, Result, contest
from bench.measure import Load, Run
from bench.ours import Form, beside_all_off
from bench.policies import CLIENTS, SENDERS, Names
from bench.report import ratio
from tests.support.peers.process import DidNotHappen


class Scripted:
    """A side whose runs take a second each, with the shares of others that it is given."""

    sessions: Sequence[int] = ()
    countable = False

    def __init__(self, name: str, order: list[str], foreign: Sequence[float]) -> None:
        self.name = name
        self._order = order
        self._foreign = foreign

    def run(self, load: Load, messages: int, turn: int) -> Run:
        self._order.append(f"{self.name}{turn}")
        # a turn that was disturbed is slow
        foreign = self._foreign[turn]
        return Run(messages, 1.0, 1.0 + 9 * (foreign > FOREIGN_MAX), 0.1, foreign)

    def facts(self) -> dict[str, int | str]:
        return {"name": self.name}


@contextmanager
def scripted(
    name: str, order: list[str], foreign: Sequence[float], folder: Path, trace: Sequence[str]
) -> Iterator[Scripted]:
    yield Scripted(name, order, foreign)


def held(ours: Sequence[float], turns: int = 2) -> tuple[list[str], float]:
    """Runs the contest; the order of runs and the ratio."""
    order: list[str] = []
    quiet = [0.0] * 10
    builds = [
        functools.partial(scripted, "a", order, quiet),
        functools.partial(scripted, "b", order, ours),
    ]
    results = contest(builds, Load(), turns=turns, seconds=1, syncs=False, progress=lambda _: None)
    assert [result.name for result in results] == ["a", "b"]
    assert [len(result.runs) for result in results] == [turns, turns]
    assert results[1].facts == {"name": "b"}
    return order, ratio(results)


def test_sides_run_by_turns_after_a_first_run_that_does_not_count() -> None:
    order, found = held([0.9, 0.0, 0.0])
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
    # b was ten times as slow in its first run
    assert found == pytest.approx(1.0)


def test_a_disturbed_turn_is_taken_again_and_left_out() -> None:
    order, found = held([0.0, 0.5, 0.0, 0.0])
    assert order[-2:] == ["a3", "b3"]
    assert found == pytest.approx(1.0)


def test_on_a_busy_machine_it_ends_all_the_same() -> None:
    order, found = held([0.0] + [0.5] * 9)
    assert order[-1] == f"b{2 + EXTRA_TURNS}"
    assert found == pytest.approx(0.1)


def test_every_policy_is_held_against_the_same_form_with_all_off() -> None:
    forms = [Form(workers, "sqlite", policies) for workers in (1, 2) for policies in (False, True)]
    seconds = (1.0, 1.25, 1.0, 2.0)
    results = [
        Result(form.name, [Run(100, 1.0, done, 0.1, 0.0)])
        for form, done in zip(forms, seconds, strict=True)
    ]
    assert beside_all_off(forms, results) == {
        "estafeta, every policy": pytest.approx(0.8),
        "estafeta, 2 workers, every policy": pytest.approx(0.5),
    }
    assert beside_all_off([Form()], results[:1]) == {}


def test_the_dns_of_the_lists_answers_and_knows_whether_it_was_asked() -> None:
    with Names() as names:
        with pytest.raises(DidNotHappen, match="was not asked"):
            names.questions()
        host, _, port = names.address.rpartition(":")
        for zone in (CLIENTS, SENDERS):
            question = dns.message.make_query(f"1.0.0.127.{zone}", "A")
            answer = dns.query.udp(question, host, port=int(port), timeout=5)
            assert answer.rcode() == dns.rcode.NXDOMAIN
        assert names.questions() == 2
