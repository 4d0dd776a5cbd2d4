"""Correspondents: only whom an account has written to itself, and reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.mail.envelope import Recipient
from estafeta.store import accounts, ledger, trail
from estafeta.store.correspondents import correspondents, own_domains
from estafeta.store.engine import Tx
from estafeta.store.limits import TRAIL_DELAY_MS, TRAIL_RECENT
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


def test_our_domains(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        for name in ("b.example", "a.example"):
            await stand.run(lambda tx, name=name: accounts.add_domain(tx, name, 0))
        assert await stand.read(own_domains) == ["a.example", "b.example"]

    with_stand(tmp_path, work)
