"""The score: real bounces of others are understood as well as is promised."""

from __future__ import annotations

import json

import pytest
from bench.score import HARD_MIN, LEFT_OUT_MIN, REASON_MIN, SUITE, Case, cases, score
from tests.support.require import suite

from estafeta.explain.causes import causes


@pytest.fixture(scope="module")
def reports() -> list[Case]:
    return cases(suite(SUITE).parent)


def test_bounces_of_others_are_understood(reports: list[Case]) -> None:
    found = score(reports)
    assert found.reports == 309
    assert found.reason >= REASON_MIN
    assert found.hard >= HARD_MIN
    assert found.left_out >= LEFT_OUT_MIN


def test_no_reason_that_occurs_is_without_a_cause() -> None:
    listed = json.loads((suite(SUITE) / "expected.json").read_text("utf-8"))
    occurring = {each["reason"] for entry in listed.values() for each in entry.get("expected", ())}
    mapped = {reason for cause in causes().values() for reason in cause.sisimai}
    assert occurring
    assert occurring <= mapped


def test_every_recipient_has_a_verdict(reports: list[Case]) -> None:
    for report in reports:
        assert report.said, report.name
        assert all(verdict.cause in causes() for verdict in report.verdicts())
