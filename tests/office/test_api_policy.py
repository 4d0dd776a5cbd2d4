"""API, policies: administrators at each scope, owners for their own account and no further."""

from __future__ import annotations

from typing import Any

import pytest
from tests.office.test_api import Case, with_case
from tests.support.whole import MESSAGE

from estafeta.office.api.limits import TRIAL_DAYS_MAX
from estafeta.office.api.route import PREFIX

pytestmark = pytest.mark.usefixtures("each_engine")

ALL, DOMAIN, ANA, EVA = (
    f"{PREFIX}/policy/{scope}"
    for scope in ("installation", "mx.example", "ana@mx.example", "eva@mx.example")
)


def test_each_scope_is_said_and_shown() -> None:
    async def work(case: Case) -> None:
        said = await case.root("PUT", ALL, {"size_max": 5000, "blocked_types": [".mov"]})
        assert said.status == 200
        assert (await case.root("PUT", DOMAIN, {"size_max": 4000, "greylist": True})).status == 200
        assert (await case.ana("PUT", ANA, {"size_max": 3000})).status == 200
        for client in (case.root, case.ana):
            found = (await client("GET", ANA)).json
            assert found["scope"] == "ana@mx.example"
            assert found["said"] == {"size_max": 3000}
            assert found["effective"]["size_max"] == 3000
            assert found["effective"]["blocked_types"] == [".mov"]
            assert found["said_by"]["size_max"] == "ana@mx.example"
            assert found["said_by"]["greylist"] == "mx.example"
            assert found["said_by"]["blocked_types"] == "the installation"
            assert found["said_by"]["tls"] == ""
            assert found["changed"]["by"] == "ana@mx.example (token ana)"
        listed = (await case.root("GET", f"{PREFIX}/policy")).json
        assert [each["scope"] for each in listed] == ["", "ana@mx.example", "mx.example"]
        # What is not in the body stays; what is unset is as the wider scope says.
        await case.ana("PUT", ANA, {"tls": True})
        assert (await case.ana("GET", ANA)).json["said"] == {"size_max": 3000, "tls": True}
        left = await case.ana("POST", f"{ANA}/unset", {"fields": ["size_max"]})
        assert left.json["said"] == {"tls": True}
        assert left.json["effective"]["size_max"] == 4000
        assert (await case.ana("POST", f"{ANA}/unset", {"all": True})).json["said"] == {}
        assert len((await case.root("GET", f"{PREFIX}/policy")).json) == 2

    with_case(work)


def test_owners_say_what_is_theirs_and_nothing_that_is_locked() -> None:
    async def work(case: Case) -> None:
        await case.root("PUT", DOMAIN, {"blocked_types": [".mov"], "locked": ["blocked_types"]})
        before = (await case.ana("GET", ANA)).json
        for field, value in (
            ("help", "x"),
            ("locked", ["tls"]),
            ("let_in", ["type"]),
            ("headers", [{"field": "Subject", "matches": "x"}]),
        ):
            assert (await case.ana("PUT", ANA, {field: value})).error == "forbidden", field
        assert (await case.ana("PUT", ANA, {"blocked_types": []})).error == "invalid"
        assert (await case.ana("POST", f"{ANA}/test", {"say": {"help": "x"}})).error == "forbidden"
        assert (await case.ana("GET", ANA)).json == before
        stricter = await case.ana("PUT", ANA, {"blocked_types": [".mov", ".exe"]})
        assert set(stricter.json["effective"]["blocked_types"]) == {".mov", ".exe"}

    with_case(work)


def test_no_scope_but_ones_own_is_there() -> None:
    async def work(case: Case) -> None:
        for path in (ALL, DOMAIN, EVA, f"{PREFIX}/policy/none@mx.example"):
            assert (await case.ana("GET", path)).error == "not-found", path
            assert (await case.ana("PUT", path, {"tls": True})).error == "not-found", path
            assert (await case.ana("POST", f"{path}/unset", {"all": True})).error == "not-found"
            assert (await case.ana("POST", f"{path}/test", {"say": {"tls": True}})).error == (
                "not-found"
            )
        assert (await case.ana("GET", f"{PREFIX}/policy")).error == "forbidden"
        for path in ("none@mx.example", "none.example"):
            assert (await case.root("GET", f"{PREFIX}/policy/{path}")).error == "not-found"
        assert (await case.root("GET", f"{PREFIX}/policy")).json == []

    with_case(work)


@pytest.mark.parametrize(
    "body",
    [
        {"size_max": "big"},
        {"size_max": -1},
        {"blocked": [".mov"]},
        {"quota_full": "maybe"},
        {"locked": ["nothing"]},
        {"headers": [{"field": "Subject", "matches": "(("}]},
        {"headers": [{"field": "Subject", "matches": "(a{1000}){1000}"}]},
        {"blocked_types": ["\ud83d\ude00" * 1000]},
        {"help": "a\nb"},
    ],
)
def test_what_no_policy_can_say(body: Any) -> None:
    async def work(case: Case) -> None:
        assert (await case.root("PUT", DOMAIN, body)).error == "invalid"
        assert (await case.root("GET", f"{PREFIX}/policy")).json == []

    with_case(work)


def test_a_policy_is_tried_on_stored_mail_and_not_kept() -> None:
    async def work(case: Case) -> None:
        for person in ("ana", "eva"):
            await case.house.accept(f"{person}@mx.example", sender="bob@remote.example")
        trial = {"say": {"size_max": len(MESSAGE) - 1}, "days": 2}
        own = (await case.ana("POST", f"{ANA}/test", trial)).json
        assert [each["account"] for each in own["cases"]] == ["ana@mx.example"]
        assert own["cases"][0]["after"]["kind"] == "size"
        whole = (await case.root("POST", f"{DOMAIN}/test", trial)).json
        assert whole["refused"] == 2
        assert (await case.root("GET", f"{PREFIX}/policy")).json == []
        for body in ({}, {"days": 0}, {"say": {"tls": True}, "days": TRIAL_DAYS_MAX + 1}):
            assert (await case.root("POST", f"{DOMAIN}/test", body)).error == "invalid", body
        both = {"fields": ["tls"], "all": True}
        assert (await case.root("POST", f"{DOMAIN}/unset", both)).error == "invalid"
        assert (await case.root("POST", f"{DOMAIN}/unset", {})).error == "invalid"
        none = {"fields": ["no"]}
        assert (await case.root("POST", f"{DOMAIN}/unset", none)).error == "invalid"

    with_case(work)
