"""Correspondents: only whom an account has written to itself, and reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.mail.envelope import Recipient
from estafeta.store import accounts, ledger, trail
from estafeta.store.correspondents import (
    _OLDER,
    _RECENT,
    correspondents,
    has_written,
    own_domains,
)
from estafeta.store.engine import Tx
from estafeta.store.limits import (
    TRAIL_DELAY_MS,
    TRAIL_RECENT,
    WRITTEN_RECENT,
    WRITTEN_RECIPIENTS_MAX,
    WRITTEN_TO_MAX,
)
from estafeta.store.rows import Acceptance, Dropped, Expanded, Fate, Relayed, Returned, Stored

pytestmark = pytest.mark.usefixtures("each_engine")

ANA = 1
TAKEN = Relayed("mx.b.example", "250 ok")


class Letters:
    """What went through the ledger of a store."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    async def sent(
        self,
        *to: tuple[str, Fate | None],
        account: int | None = ANA,
        sender: str = "Ana@a.example",
        origin: str = "submission",
    ) -> None:
        recipients = [Recipient(address) for address, _ in to]
        row = Acceptance(
            id=self.stand.ids.next(),
            at=self.stand.clock.ms,
            origin=origin,
            reverse_path=sender,
            body=1,
            size=1,
            recipients=len(to),
            account=account,
        )
        fates = [fate for _, fate in to]
        await self.stand.run(lambda tx: ledger.open_acceptance(tx, row, recipients, fates))

    async def known(self) -> list[str]:
        return await self.stand.read(lambda tx: correspondents(tx, ANA, "ana@a.example"))

    async def written(self, *names: str) -> list[str]:
        """To which of them ana has written."""

        def unit(tx: Tx) -> list[str]:
            return [name for name in names if has_written(tx, ANA, f"{name}@b.example")]

        return list(await self.stand.read(unit))

    async def file(self) -> None:
        now = self.stand.clock.ms + 2 * TRAIL_DELAY_MS
        while not await self.stand.run(lambda tx: trail.extend(tx, now)):
            pass


@pytest.mark.parametrize("filed", [False, True])
def test_whom_one_has_reached(tmp_path: Path, filed: bool) -> None:
    async def work(stand: Stand) -> None:
        letters = Letters(stand)
        await letters.sent(("bob@b.example", TAKEN), ("eva@a.example", Stored(2, 1, 1)))
        await letters.sent(("list@a.example", Expanded(9)), ("bob@b.example", TAKEN))
        await letters.sent(("gone@b.example", Returned(9)), ("open@b.example", None))
        await letters.sent(("never@b.example", Dropped("notify-never")))
        await letters.sent(("target@c.example", TAKEN), origin="alias")
        await letters.sent(("other@b.example", TAKEN), account=2)
        await letters.sent(("forged@b.example", TAKEN), account=None, origin="smtp")
        await letters.sent(
            ("ana@a.example", Stored(ANA, 1, 1)),
            account=None,
            origin="smtp",
            sender="stranger@sudomini0.example",
        )
        if filed:
            await letters.file()
        assert await letters.known() == ["list@a.example", "bob@b.example", "eva@a.example"]

    with_stand(tmp_path, work)


def test_a_long_ledger_that_is_not_filed_costs_no_more(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        letters = Letters(stand)
        await letters.sent(("early@b.example", TAKEN))

        def many(tx: Tx) -> None:
            for _ in range(TRAIL_RECENT):
                row = Acceptance(stand.ids.next(), 1, "smtp", "x@x.example", 1, 1, 0)
                ledger.open_acceptance(tx, row, [], [])

        await stand.run(many)
        await letters.sent(("late@b.example", TAKEN))
        assert await letters.known() == ["late@b.example"]
        await letters.file()
        assert await letters.known() == ["late@b.example", "early@b.example"]

    with_stand(tmp_path, work)


@pytest.mark.parametrize("filed", [False, True])
def test_to_whom_one_has_written(tmp_path: Path, filed: bool) -> None:
    async def work(stand: Stand) -> None:
        letters = Letters(stand)
        await letters.sent(("Bob@b.example", TAKEN), ("open@b.example", None))
        await letters.sent(("gone@b.example", Returned(9)))
        await letters.sent(("target@b.example", TAKEN), origin="alias")
        await letters.sent(("other@b.example", TAKEN), account=2)
        await letters.sent(("forged@b.example", TAKEN), account=None, origin="smtp")
        await letters.sent(
            ("ana@a.example", Stored(ANA, 1, 1)),
            account=None,
            origin="smtp",
            sender="stranger@b.example",
        )
        for count in (WRITTEN_RECIPIENTS_MAX, WRITTEN_RECIPIENTS_MAX + 1):
            await letters.sent(*((f"n{count}-{n}@b.example", None) for n in range(count)))
        if filed:
            await letters.file()
        few, many = f"n{WRITTEN_RECIPIENTS_MAX}-7", f"n{WRITTEN_RECIPIENTS_MAX + 1}-7"
        asked = ("bob", "BOB", "open", "gone", "target", "other", "forged", "stranger", few, many)
        assert await letters.written(*asked) == ["bob", "BOB", "open", "gone", few]

    with_stand(tmp_path, work)


def test_what_was_written_long_ago_is_found_when_it_is_filed(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        letters = Letters(stand)
        await letters.sent(("early@b.example", None))
        for n in range(WRITTEN_RECENT):
            await letters.sent((f"n{n}@b.example", None))
        assert await letters.written("early", "n0") == ["n0"]
        await letters.file()
        assert await letters.written("early", "n0") == ["early", "n0"]
        for _ in range(WRITTEN_TO_MAX):  # what others have to do with it counts against it
            await letters.sent(("early@b.example", None), account=2)
        await letters.file()
        assert await letters.written("early", "n0") == ["n0"]

    with_stand(tmp_path, work)


def test_looking_for_one_walks_nothing_that_grows(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        if stand.engine == "postgresql":
            return  # it plans by counts, which a store this small has not
        for sql in (_RECENT, _OLDER):
            given = (1,) * sql.count("?")
            plan = await stand.read(
                lambda tx, s=sql, g=given: tx.rows(f"EXPLAIN QUERY PLAN {s}", g)
            )
            steps = [step for *_, step in plan]
            assert not any("B-TREE" in step for step in steps), steps  # nothing is sorted
            assert [s for s in steps if s.startswith("SCAN")] in (["SCAN a"], ["SCAN t"]), steps

    with_stand(tmp_path, work)


def test_our_domains(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        for name in ("b.example", "a.example"):
            await stand.run(lambda tx, name=name: accounts.add_domain(tx, name, 0))
        assert await stand.read(own_domains) == ["a.example", "b.example"]

    with_stand(tmp_path, work)
