"""OpenAPI: who may read it, and that it says what the table says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.office.test_api import Case, Client, with_case

from estafeta.office.api.errors import STATUS
from estafeta.office.api.openapi import description
from estafeta.office.api.route import EVERYWHERE, PREFIX
from estafeta.office.api.table import ROUTES

pytestmark = pytest.mark.usefixtures("each_engine")


def test_it_is_answered_without_a_token_to_anybody() -> None:
    async def work(case: Case) -> None:
        stranger = Client(case.app, peer=("198.51.100.9", 4711))
        found = await stranger("GET", f"{PREFIX}/openapi.json")
        assert (found.status, found.json) == (200, description())
        assert (await stranger("POST", f"{PREFIX}/openapi.json")).error == "not-allowed"

    with_case(work)


def test_every_route_with_every_status() -> None:
    said = description()
    named = {(method.upper(), path) for path, of in said["paths"].items() for method in of}
    assert named == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        one = said["paths"][route.path][route.method.lower()]
        wanted = {str(route.status)} | {str(STATUS[e]) for e in (*EVERYWHERE, *route.errors)}
        assert set(one["responses"]) == wanted, route.path
        parameters = {(p["in"], p["name"]) for p in one.get("parameters", [])}
        assert {n for place, n in parameters if place == "path"} == set(
            re.findall(r"{(\w+)}", route.path)
        )
        assert {n for place, n in parameters if place == "query"} == {p.name for p in route.query}
        assert ("requestBody" in one) == (route.body is not None)
    assert len({of["operationId"] for path in said["paths"].values() for of in path.values()}) == (
        len(ROUTES)
    )


def test_whatever_is_referred_to_is_there() -> None:
    said = description()

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(each) for each in part.values()))
        if isinstance(part, list):
            return set().union(*(references(each) for each in part))
        return set()

    found = references(said)
    assert found
    for reference in found:
        kind, name = re.fullmatch(r"#/components/(\w+)/([\w-]+)", reference).groups()  # type: ignore[union-attr]
        assert name in said["components"][kind]


def test_fields_of_answers_are_there_and_of_bodies_may_be_left_out() -> None:
    schemas = description()["components"]["schemas"]
    for answer in ("Waiting", "Told", "Tried", "Policy", "Looked"):
        assert schemas[answer]["required"] == list(schemas[answer]["properties"]), answer
    assert schemas["Recipients"]["required"] == ["recipients"]
    assert schemas["Recipients"]["properties"]["recipients"]["maxItems"] == 100
    assert schemas["HeaderRule"]["required"] == ["field", "matches"]
    assert schemas["Recipients"]["additionalProperties"] is False
