"""Outcomes: what became of an account's own messages lately, and of nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.store.test_correspondents import ANA, TAKEN, Letters
from tests.support.stores import Stand, with_stand

from estafeta.mail.envelope import Recipient
from estafeta.store import ledger, outcomes
from estafeta.store.limits import LATELY_MESSAGES_MAX
from estafeta.store.outcomes import Lately, lately
from estafeta.store.rows import Acceptance, Cancelled, Expanded, Returned, Stored

pytestmark = pytest.mark.usefixtures("each_engine")


async def look(stand: Stand, *addresses: str) -> Lately:
    found: Lately = await stand.read(lambda tx: lately(tx, ANA, addresses))
    return found


def test_the_last_message_to_each(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        letters = Letters(stand)
        await letters.sent(("bob@b.example", Returned(9)), ("Eva@a.example", Stored(2, 1, 1)))
        await letters.sent(("Bob@b.example", TAKEN), ("list@a.example", Expanded(9)))
        await letters.sent(("open@b.example", None), ("not@b.example", Cancelled("ana")))
        await letters.sent(("theirs@b.example", TAKEN), account=2)
        await letters.sent(("forged@b.example", TAKEN), account=None, origin="smtp")
        found = await look(
            stand,
            *("bob@b.example", "eva@a.example", "list@a.example", "open@b.example"),
            *("not@b.example", "theirs@b.example", "forged@b.example", "none@b.example"),
        )
        assert {address: last.state for address, last in found.last.items()} == {
            "bob@b.example": "delivered",
            "eva@a.example": "delivered",
            "list@a.example": "delivered",
            "open@b.example": "waiting",
            "not@b.example": "cancelled",
        }
        assert found.reached == ["Bob@b.example", "list@a.example", "Eva@a.example"]

    with_stand(tmp_path, work)


def test_what_stands_behind_an_alias_is_nobodys_message(tmp_path: Path) -> None:
    """Nor what was sent instead of it."""

    async def work(stand: Stand) -> None:
        letters = Letters(stand)
        await letters.sent(("behind@b.example", TAKEN), origin="alias")
        (above,) = await stand.read(lambda tx: tx.row("SELECT max(id) FROM acceptance"))
        row = Acceptance(
            id=stand.ids.next(),
            at=stand.clock.ms,
            origin="correction",
            reverse_path="ana@a.example",
            body=1,
            size=1,
            recipients=1,
            account=ANA,
            parent=above,
        )
        instead = [Recipient("instead@b.example")]
        await stand.run(lambda tx: ledger.open_acceptance(tx, row, instead, [TAKEN]))
        found = await look(stand, "behind@b.example", "instead@b.example")
        assert found == Lately({}, [])

    with_stand(tmp_path, work)


def test_so_many_messages_and_recipients_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "LATELY_MESSAGES_MAX", 3)
    monkeypatch.setattr(outcomes, "LATELY_RECIPIENTS_MAX", 4)
    assert LATELY_MESSAGES_MAX > 3

    async def work(stand: Stand) -> None:
        letters = Letters(stand)
        for n in range(4):
            await letters.sent((f"u{n}@b.example", TAKEN))
        assert (await look(stand, "u0@b.example")).last == {}
        assert set((await look(stand, "u1@b.example")).last) == {"u1@b.example"}
        await letters.sent(*((f"v{n}@b.example", TAKEN) for n in range(4)))
        found = await look(stand, "u3@b.example", "v0@b.example")
        assert set(found.last) == {"v0@b.example"}

    with_stand(tmp_path, work)
