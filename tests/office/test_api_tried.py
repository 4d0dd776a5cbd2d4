"""API, who tried to come in: each account sees its own journal and lets in whom it tells of."""

from __future__ import annotations

from typing import Any

import pytest
from tests.office.test_api import Case, with_case

from estafeta.office.api.route import PREFIX
from estafeta.store import admissions, knocks
from estafeta.store.ids import queue_id
from estafeta.store.knocks import NAMED, Detail, Noted

pytestmark = pytest.mark.usefixtures("each_engine")

WRITER = "bob@writer.example"


async def note(case: Case, who: str, cause: str, **detail: Any) -> str:
    """Returns the row."""
    house = case.house
    owner = house.accounts[who]
    now = int(house.world.clock.now() * 1000)
    id = house.built.ids.next()
    kept = Detail(
        network="203.0.113.0/24",
        organisation="writer.example",
        sender=WRITER,
        reply="451 4.7.1 come again",
        aligned=True,
        **detail,
    )
    row = Noted(
        *(owner.id, id, "writer.example", WRITER, cause, owner.address, NAMED, now, now, 1), kept
    )
    await house.store.run(lambda tx: knocks.write(tx, [row]))
    return queue_id(id)


def path(who: str, row: str = "", act: str = "") -> str:
    return "/".join(
        each for each in (f"{PREFIX}/accounts/{who}@mx.example/tried", row, act) if each
    )


def test_each_journal_is_its_owners_and_administrations() -> None:
    async def work(case: Case) -> None:
        rows = [
            await note(case, "ana", cause)
            for cause in ("greylisted", "policy-attachment", "mailbox-full")
        ]
        theirs = await note(case, "eva", "greylisted")
        for client in (case.ana, case.root):
            found = (await client("GET", path("ana"), accept_language="es")).json
            assert {each["row"] for each in found["rows"]} == set(rows)
            assert all(each["named"] == "ana@mx.example" for each in found["rows"])
            assert found["next"] == ""
        one = (await case.ana("GET", path("ana", rows[0]), accept_language="es")).json
        other = (await case.ana("GET", path("ana", rows[0]), accept_language="en")).json
        assert one["words"] != other["words"]
        assert (one["sender"], one["proven"], one["cause"]) == (WRITER, True, "greylisted")
        assert one["admission"] is None
        # Of another's there is nothing, by whatever path.
        for hidden in (path("eva"), path("none"), path("eva", theirs), path("ana", theirs)):
            assert (await case.ana("GET", hidden)).error == "not-found", hidden
        assert (await case.root("GET", path("none"))).error == "not-found"
        for wrong in ("x", "0000000000000", "ZZZZZZZZZZZZZ"):
            assert (await case.ana("GET", path("ana", wrong))).error == "not-found"

    with_case(work)


def test_pages_of_a_journal() -> None:
    async def work(case: Case) -> None:
        rows = {
            await note(case, "ana", cause) for cause in ("greylisted", "rate-limited", "policy")
        }
        seen, cursor = [], ""
        for _ in range(3):
            page = (await case.ana("GET", f"{path('ana')}?limit=1&cursor={cursor}")).json
            seen += [each["row"] for each in page["rows"]]
            cursor = page["next"]
        assert (len(seen), set(seen), cursor) == (3, rows, "")
        for wrong in ("x", "1", "1.", ".x", "٣.0000000000000", "9" * 16 + ".0000000000000"):
            assert (await case.ana("GET", f"{path('ana')}?cursor={wrong}")).error == "invalid"

    with_case(work)


def test_an_owner_lets_in_once_and_takes_it_back() -> None:
    async def work(case: Case) -> None:
        row = await note(case, "ana", "greylisted")
        act = path("ana", row, "let-in")
        given = await case.ana("POST", act)
        assert given.status == 200
        assert (given.json["domain"], given.json["used_by"]) == ("writer.example", None)
        # Once more is the same one.
        assert (await case.root("POST", act, {})).json == given.json
        assert (await case.ana("GET", path("ana", row))).json["admission"] == given.json
        open_ones = await case.house.store.read(
            lambda tx: admissions.admissions(tx, case.house.accounts["ana"].id)
        )
        assert len(open_ones) == 1
        assert (await case.ana("DELETE", act)).status == 204
        assert (await case.ana("DELETE", act)).error == "not-found"
        assert (await case.ana("GET", path("ana", row))).json["admission"] is None

    with_case(work)


def test_nobody_lets_in_for_another_account_or_over_an_administrator() -> None:
    async def work(case: Case) -> None:
        row = await note(case, "eva", "greylisted")
        policy = await note(case, "ana", "blocked-ip")
        size = await note(case, "ana", "message-too-large", size=10**12)
        for act in (path("eva", row, "let-in"), path("ana", row, "let-in")):
            for method in ("POST", "DELETE"):
                assert (await case.ana(method, act)).error == "not-found", (method, act)
        for refused in (policy, size):
            said = await case.ana("POST", path("ana", refused, "let-in"), accept_language="es")
            assert said.error == "conflict"
        await case.root("PUT", f"{PREFIX}/policy/installation", {"let_in": []})
        mine = await note(case, "ana", "rate-limited")
        assert (await case.ana("POST", path("ana", mine, "let-in"))).error == "conflict"
        assert (await case.root("POST", path("ana", mine, "let-in"))).error == "conflict"
        for name in ("ana", "eva"):
            found = await case.house.store.read(
                lambda tx, name=name: admissions.admissions(tx, case.house.accounts[name].id)
            )
            assert found == []

    with_case(work)
