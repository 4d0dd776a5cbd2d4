"""API, stopped senders: who they are, and letting them go; administration's alone."""

from __future__ import annotations

from functools import partial

import pytest
from tests.office.test_api import CARL, Case, recipients, with_case

from estafeta.office.api.route import PREFIX
from estafeta.queue import stopped as queue_stopped
from estafeta.store import stopped
from estafeta.store.engine import Tx

pytestmark = pytest.mark.usefixtures("each_engine")

LISTED = f"{PREFIX}/stopped"
RELEASE = f"{LISTED}/eva@mx.example/release"


async def stop(case: Case) -> None:
    """eva."""
    id = case.house.accounts["eva"].id
    waiting = await case.house.store.read(partial(queue_stopped.waiting, account=id))

    def unit(tx: Tx) -> None:
        stopped.stop(tx, id, "10/1h", 1000)
        event = case.house.built.ids.next()
        queue_stopped.hold(tx, id, waiting.keys, now=1000, event=event)

    await case.house.store.run(unit, accounts=(id,))


def test_a_stopped_sender_is_listed_and_let_go() -> None:
    async def work(case: Case) -> None:
        assert (await case.root("GET", LISTED)).json == []
        await stop(case)
        held = {"account": "eva@mx.example", "at": 1000, "limit": "10/1h", "held": 1}
        assert (await case.root("GET", LISTED)).json == [held]
        assert recipients(await case.root("GET", f"{PREFIX}/queue?state=held")) == [CARL]
        done = await case.root("POST", RELEASE)
        assert done.json == {"was_stopped": True, "released": 1}
        assert (await case.root("GET", LISTED)).json == []
        assert recipients(await case.root("GET", f"{PREFIX}/queue?state=held")) == []
        assert (await case.root("POST", RELEASE)).error == "conflict"

    with_case(work)


def test_no_account_lets_itself_go() -> None:
    async def work(case: Case) -> None:
        await stop(case)
        assert (await case.eva("GET", LISTED)).error == "forbidden"
        assert (await case.eva("POST", RELEASE)).error == "forbidden"
        none = await case.root("POST", f"{LISTED}/none@mx.example/release")
        assert none.error == "not-found"
        assert len((await case.root("GET", LISTED)).json) == 1

    with_case(work)
