"""API, strangers: what greylisting remembers of one, and what lists say of one now."""

from __future__ import annotations

import msgspec
import pytest
from tests.office.test_api import Case, with_case

from estafeta.deliver.lists import ListsSettings
from estafeta.office.api.route import PREFIX
from estafeta.store import greylist
from estafeta.store.engine import Tx
from estafeta.store.greylist import Terms

pytestmark = pytest.mark.usefixtures("each_engine")

TERMS = Terms(delay=1000, window=10_000, keep=10**9, known_after=1, apart=0)
NETWORK = "203.0.113.0/24"


async def greylisted(case: Case, who: str) -> None:
    now = int(case.house.world.clock.now() * 1000)

    def unit(tx: Tx) -> None:
        for sender in ("a@x.example", "b@x.example"):
            greylist.arrive(tx, greylist.key_of(who, sender, "1"), now, TERMS)
        greylist.arrive(tx, greylist.key_of(who, "a@x.example", "1"), now + 2000, TERMS)

    await case.house.store.run(unit)


def test_greylisting_is_looked_at_and_forgotten() -> None:
    async def work(case: Case) -> None:
        await greylisted(case, NETWORK)
        await greylisted(case, "writer.example")
        for who in (NETWORK, "203.0.113.77", "Writer.Example"):
            found = (await case.root("GET", f"{PREFIX}/greylist?who={who}")).json
            assert (found["waiting"], found["passed"], found["came"]) == (1, 1, 1), who
        gone = await case.root("DELETE", f"{PREFIX}/greylist?who=203.0.113.77")
        assert gone.json == {"who": NETWORK, "rows": 3}
        left = (await case.root("GET", f"{PREFIX}/greylist?who={NETWORK}")).json
        assert (left["waiting"], left["passed"], left["came"]) == (0, 0, 0)
        assert (await case.root("GET", f"{PREFIX}/greylist?who=writer.example")).json["came"] == 1

    with_case(work)


@pytest.mark.parametrize("query", ["", "who=", "who=a..b", "who=203.0.113.1/24", "who=%00"])
def test_nobody_to_be_looked_at(query: str) -> None:
    async def work(case: Case) -> None:
        for method in ("GET", "DELETE"):
            assert (await case.root(method, f"{PREFIX}/greylist?{query}")).error == "invalid"

    with_case(work)


def test_lists_are_asked_about_an_address() -> None:
    async def work(case: Case) -> None:
        lists = case.house.built.receiving.strangers.lists
        settings = ListsSettings(
            block_networks=(NETWORK,),
            block_domains=("bad.example",),
            allow_networks=("2001:db8::/32",),
        )
        lists.use(msgspec.structs.replace(settings, wait_max=0.1))

        async def look(query: str) -> tuple[str, str]:
            found = (await case.root("GET", f"{PREFIX}/lists?{query}")).json
            return found["verdict"], found["about"]

        assert await look("address=203.0.113.9") == ("listed", "203.0.113.9")
        assert await look("address=198.51.100.9&domain=in.bad.example") == (
            "listed",
            "in.bad.example",
        )
        assert await look("address=198.51.100.9&domain=good.example") == ("unlisted", "")
        assert await look("address=2001:db8::9") == ("allowed", "")
        for wrong in ("", "address=x", "address=203.0.113.0/24", "address=1.2.3.4&domain=a..b"):
            assert (await case.root("GET", f"{PREFIX}/lists?{wrong}")).error == "invalid"

    with_case(work)


def test_strangers_are_administrations_matter() -> None:
    async def work(case: Case) -> None:
        for method, path in (
            ("GET", "greylist?who=x.example"),
            ("DELETE", "greylist?who=x.example"),
            ("GET", "lists?address=203.0.113.9"),
        ):
            assert (await case.ana(method, f"{PREFIX}/{path}")).error == "forbidden"

    with_case(work)
