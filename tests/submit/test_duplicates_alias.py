"""A submission that comes again is not sent to the targets of an alias once more."""

from __future__ import annotations

import pytest
from tests.submit.test_duplicates import BOB, EVA, Sender
from tests.support.whole import whole

from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet
from estafeta.store import accounts

pytestmark = pytest.mark.usefixtures("each_engine")

TEAM = "crew@mx.example"


def test_an_alias_is_expanded_once() -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, net):
            for target in (EVA, BOB):
                await house.store.run(lambda tx, to=target: accounts.add_alias(tx, TEAM, to))
            sender = Sender(house, net)
            first = await sender.break_off(TEAM)
            assert await sender.break_off(TEAM) == first.replace("accepted", "accepted before")
            fates = await sender.fates()
            assert sorted(fates) == sorted(
                [f"{TEAM} expanded", f"{BOB} open", f"{EVA} stored", f"{TEAM} duplicate"]
            )
            assert len(await house.inbox("eva")) == 1
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines
