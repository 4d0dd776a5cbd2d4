"""API, preflight: who may ask for whom, how often, in which language, and what cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest
from tests.office.test_api import Answer, Case, Client, with_case

from estafeta.compose.limits import CHECKS_BURST, RECIPIENTS_MAX
from estafeta.office.api.route import PREFIX

pytestmark = pytest.mark.usefixtures("each_engine")

WRONG = ["nobody@mx.example", "no address"]


async def ask(client: Client, recipients: Any, account: str = "", **headers: str) -> Answer:
    body = {"recipients": recipients} | ({"account": account} if account else {})
    return await client("POST", f"{PREFIX}/preflight", body, **headers)


def test_each_account_asks_for_itself_and_administration_for_anybody() -> None:
    async def work(case: Case) -> None:
        found = await ask(case.ana, WRONG)
        assert found.status == 200
        assert [(each["recipient"], each["verdict"], each["cause"]) for each in found.json] == [
            ("nobody@mx.example", "wrong", "unknown-user"),
            ("no address", "wrong", "bad-address"),
        ]
        assert (await ask(case.ana, WRONG, "Ana@mx.example")).json == found.json
        assert (await ask(case.root, WRONG, "ana@mx.example")).json == found.json
        # Another account is none, whether or not it is there.
        other = await ask(case.ana, WRONG, "eva@mx.example")
        none = await ask(case.ana, WRONG, "none@mx.example")
        assert other.error == none.error == "not-found"
        assert (await ask(case.root, WRONG, "none@mx.example")).error == "not-found"
        assert (await ask(case.root, WRONG)).error == "invalid"
        assert (await ask(Client(case.app), WRONG)).error == "unauthorized"

    with_case(work)


def test_past_outcomes_are_the_askers_own() -> None:
    async def work(case: Case) -> None:
        (mine,) = (await ask(case.ana, ["bob@remote.example"])).json
        (theirs,) = (await ask(case.eva, ["bob@remote.example"])).json
        assert (mine["last"]["state"], mine["last"]["cause"]) == ("waiting", "server-busy")
        assert theirs["last"] is None

    with_case(work)


def test_words_are_in_the_language_that_is_asked_for() -> None:
    async def work(case: Case) -> None:
        for language, begins in (
            ("es-AR,en;q=0.5", "nobody@mx.example no existe."),
            ("en", "nobody@mx.example does not exist."),
        ):
            (found,) = (await ask(case.ana, WRONG[:1], accept_language=language)).json
            assert found["text"].startswith(begins), found

    with_case(work)


@pytest.mark.parametrize(
    "recipients",
    [None, [], "bob@b.example", [5], [None], ["x"] * (RECIPIENTS_MAX + 1), ["x" * 1001]],
)
def test_what_cannot_be_asked(recipients: Any) -> None:
    async def work(case: Case) -> None:
        assert (await ask(case.ana, recipients)).error == "invalid"

    with_case(work)


def test_ten_thousand_recipients() -> None:
    async def work(case: Case) -> None:
        refused = await ask(case.ana, [f"u{n}@b.example" for n in range(10_000)])
        assert refused.error == "too-large"

    with_case(work)


def test_who_tries_one_address_after_the_other_is_slowed_down() -> None:
    async def work(case: Case) -> None:
        guesses = [f"u{n}@mx.example" for n in range(RECIPIENTS_MAX)]
        for _ in range(CHECKS_BURST // RECIPIENTS_MAX):
            assert (await ask(case.ana, guesses)).status == 200
        refused = await ask(case.ana, ["eva@mx.example"])
        assert refused.error == "too-many-requests"
        assert 0 < int(refused.headers["retry-after"]) <= 12
        # With another token of the same account no more.
        second = await case.with_token("second", case.house.accounts["ana"].id)
        assert (await ask(second, ["eva@mx.example"])).error == "too-many-requests"
        assert (await ask(case.eva, ["ana@mx.example"])).status == 200
        assert (await ask(case.root, ["eva@mx.example"], "ana@mx.example")).status == 200

    with_case(work)
