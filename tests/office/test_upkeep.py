"""Upkeep: what has ended is removed, in slices, however much there is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.support.stores import NOON, Stand, with_stand

from estafeta.office.upkeep import Upkeep
from estafeta.store import greylist
from estafeta.store.engine import Tx
from estafeta.store.greylist import DAY_MS, Terms
from estafeta.store.limits import GREYLIST_SLICE

pytestmark = pytest.mark.usefixtures("each_engine")

TERMS = Terms(300_000, DAY_MS, 36 * DAY_MS, known_after=5, apart=60_000)


def test_strangers_that_did_not_come_again_are_forgotten(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        def fill(tx: Tx) -> None:
            for n in range(GREYLIST_SLICE + 10):
                key = greylist.key_of("x.example", "s@x.example", str(n))
                greylist.arrive(tx, key, NOON, TERMS)
            greylist.arrive(tx, key, NOON + TERMS.delay, TERMS)

        async def left() -> int:
            unit = partial(greylist.standing, who="x.example")
            found = await stand.read(unit)
            return int(found.waiting + found.passed)

        await stand.run(fill)
        upkeep = Upkeep(stand.store, stand.bodies, stand.clock)
        await upkeep._work(NOON + DAY_MS)
        assert await left() == GREYLIST_SLICE + 10
        await upkeep._work(NOON + 3 * DAY_MS)
        assert await left() == 1
        await upkeep._work(NOON + 40 * DAY_MS)
        assert await left() == 0

    with_stand(tmp_path, work)
