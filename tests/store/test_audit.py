"""Audit: a store in order has no findings; whatever is taken away is named."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import accounts, audit, bodies, ledger, mailboxes, messages
from estafeta.store.audit.finding import day_name
from estafeta.store.engine import Tx
from estafeta.store.ids import queue_id
from estafeta.store.rows import Duplicate, Relayed, Stored

pytestmark = pytest.mark.usefixtures("each_engine")

DAY = 86_400_000


async def findings(stand: Stand) -> list[audit.Finding]:
    found = await stand.read(audit.audit_open)
    return [*found, *[f async for f in audit.audit_full(stand.store, stand.disk)]]


async def fill(stand: Stand) -> dict[str, Any]:
    """A bit of everything."""
    account = await stand.account()
    inbox = await stand.inbox(account)
    row, placed = await stand.deliver(account, inbox)
    large, _ = await stand.deliver(account, inbox, data=b"Subject: l\r\n\r\n" + b"x" * 300_000)
    gone, _ = await stand.deliver(account, inbox)
    await stand.run(lambda tx: messages.expunge(tx, account, inbox, [3]))
    first = await stand.accept(("bob@b.example", None), ("eva@b.example", Relayed("mx", "250 ok")))
    second = await stand.accept(("bob@b.example", Duplicate(first.id)))
    child = await stand.accept(("c@c.example", None), origin="alias", parent=first.id)
    return locals()


def test_a_store_in_order_has_no_findings(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        made = await fill(stand)
        assert await findings(stand) == []
        # What owners and administrators do is legal.
        account = made["account"]
        await stand.run(lambda tx: messages.move(tx, account, made["inbox"], [1], 3))
        await stand.run(lambda tx: mailboxes.rename(tx, account, "INBOX", "Old"))
        assert await findings(stand) == []
        await stand.run(lambda tx: messages.fold_tombstones(tx, account, made["inbox"], 0))
        assert await findings(stand) == []
        await stand.run(lambda tx: mailboxes.delete(tx, account, "Old"))
        assert await findings(stand) == []
        await stand.run(lambda tx: accounts.remove_account(tx, account))
        assert await findings(stand) == []

    with_stand(tmp_path, work)


Loss = Callable[[Tx, dict[str, Any]], Any]
LOSSES: dict[str, tuple[Loss, set[str], Callable[[dict[str, Any]], set[int]]]] = {
    "message": (
        lambda tx, m: tx.run("DELETE FROM message WHERE uid = 1"),
        {"message-lost", "stored-lost", "mailbox-counter"},
        lambda m: {m["row"].id, m["inbox"]},
    ),
    "both rows of a message": (
        lambda tx, m: (
            tx.run("DELETE FROM message WHERE uid = 1"),
            tx.run("DELETE FROM message_text WHERE uid = 1"),
        ),
        {"stored-lost", "mailbox-counter"},
        lambda m: {m["row"].id},
    ),
    "text": (
        lambda tx, m: tx.run("DELETE FROM message_text WHERE uid = 1"),
        {"message-without-text"},
        lambda m: {m["inbox"]},
    ),
    "mailbox": (
        lambda tx, m: tx.run("DELETE FROM mailbox WHERE id = ?", (m["inbox"],)),
        {"mailbox-lost", "stored-lost", "account-used", "no-inbox"},
        lambda m: {m["gone"].id, m["inbox"]},
    ),
    "account": (
        lambda tx, m: tx.run("DELETE FROM account"),
        {"account-lost"},
        lambda m: {m["account"]},
    ),
    "tombstone": (
        lambda tx, m: tx.run("DELETE FROM expunged"),
        {"stored-lost"},
        lambda m: {m["gone"].id},
    ),
    "queue row": (
        lambda tx, m: tx.run("DELETE FROM queue WHERE acceptance = ?", (m["first"].id,)),
        {"recipient-without-queue-row"},
        lambda m: {m["first"].id},
    ),
    "recipient": (
        lambda tx, m: tx.run(
            "DELETE FROM recipient WHERE acceptance = ? AND n = 0", (m["first"].id,)
        ),
        {"queue-row-without-recipient", "recipients-lost"},
        lambda m: {m["first"].id},
    ),
    "destination": (
        lambda tx, m: tx.run("DELETE FROM destination WHERE name = 'b.example'"),
        {"queue-row-out-of-sight"},
        lambda m: {m["first"].id},
    ),
    "acceptance": (
        lambda tx, m: tx.run("DELETE FROM acceptance WHERE id = ?", (m["first"].id,)),
        {"acceptance-lost", "answered-not-accepted"},
        lambda m: {m["first"].id},
    ),
    "body": (
        lambda tx, m: tx.run("DELETE FROM body WHERE id = ?", (m["row"].body,)),
        {"body-missing"},
        lambda m: {m["row"].body},
    ),
    "body of an open one": (
        lambda tx, m: tx.run("DELETE FROM body WHERE id = ?", (m["first"].body,)),
        {"body-missing"},
        lambda m: {m["first"].body},
    ),
    "data": (
        lambda tx, m: tx.run("DELETE FROM body_data WHERE id = ?", (m["row"].body,)),
        {"body-missing"},
        lambda m: {m["row"].body},
    ),
    "octets": (
        lambda tx, m: tx.run("UPDATE body_data SET data = ? WHERE id = ?", (b"\0", m["row"].body)),
        {"body-missing"},
        lambda m: {m["row"].body},
    ),
    "used": (
        lambda tx, m: tx.run("UPDATE account SET used = used + 1"),
        {"account-used"},
        lambda m: {m["account"]},
    ),
    "unseen": (
        lambda tx, m: tx.run("UPDATE mailbox SET unseen = 7 WHERE id = ?", (m["inbox"],)),
        {"mailbox-counter"},
        lambda m: {m["inbox"]},
    ),
    "uidnext": (
        lambda tx, m: tx.run("UPDATE mailbox SET uidnext = 1 WHERE id = ?", (m["inbox"],)),
        {"mailbox-uidnext"},
        lambda m: {m["inbox"]},
    ),
    "modseq": (
        lambda tx, m: tx.run("UPDATE mailbox SET modseq = 1 WHERE id = ?", (m["inbox"],)),
        {"mailbox-modseq"},
        lambda m: {m["inbox"]},
    ),
    "answered": (
        lambda tx, m: tx.run("UPDATE answered SET recipients = recipients + 1"),
        {"answered-not-accepted"},
        lambda m: set(),
    ),
}


@pytest.mark.parametrize("what", LOSSES)
def test_what_is_lost_is_named(tmp_path: Path, what: str) -> None:
    async def work(stand: Stand) -> None:
        made = await fill(stand)
        lose, kinds, ids = LOSSES[what]
        await stand.run(lambda tx: lose(tx, made))
        found = await findings(stand)
        assert {f.kind for f in found} == kinds
        named = {id for f in found for id in (f.acceptance, f.mailbox, f.account, f.body)}
        assert ids(made) <= named
        for finding in found:  # people are told the same ids
            for id in (finding.acceptance, finding.body):
                assert id is None or queue_id(id) in finding.text

    with_stand(tmp_path, work)


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        made = await fill(stand)
        stand.disk.remove(bodies.path_of(made["large"].body))
        (finding,) = await findings(stand)
        assert (finding.kind, finding.body) == ("body-missing", made["large"].body)

    with_stand(tmp_path, work)


def test_days_are_sealed_once_all_have_ended(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        for _ in range(5):
            await stand.deliver(account, inbox)
        waiting = await stand.accept(("bob@b.example", None))
        stand.clock.ms += 3 * DAY
        await stand.deliver(account, inbox)
        stand.clock.ms += 3 * DAY

        async def sealed() -> list[Any]:
            now = stand.clock.ms
            await stand.run(lambda tx: audit.seal_days(tx, now))
            return list(await stand.read(lambda tx: tx.rows("SELECT day, totals FROM seal")))

        assert await sealed() == []  # somebody is still open
        await stand.run(
            lambda tx: (
                tx.run("DELETE FROM queue"),
                ledger.end(tx, waiting.id, 0, Relayed("mx", "250 ok"), stand.clock.ms),
            )
        )
        (first, second) = await sealed()
        assert second[0] == first[0] + 3
        for part in ('"stored":5', '"relayed":1', '"recipients":6', '"answered_messages":6'):
            assert part in first[1]
        assert await sealed() == [first, second]
        assert await findings(stand) == []
        # The day that goes on is not sealed.
        await stand.deliver(account, inbox)
        assert len(await sealed()) == 2
        # Whoever changes history is found out.
        await stand.run(lambda tx: tx.run("UPDATE recipient SET address = 'x@y' WHERE n = 0"))
        assert [f.kind for f in await findings(stand)] == ["seal-broken", "seal-broken"]

    with_stand(tmp_path, work)


def test_a_seal_made_in_slices_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        for _ in range(7):
            await stand.deliver(account, inbox)
        stand.clock.ms += 2 * DAY
        steps = 0
        while not await stand.run(lambda tx: audit.seal_slice(tx, stand.clock.ms, 3)):
            steps += 1
        assert steps == 3
        assert await findings(stand) == []
        await stand.run(lambda tx: tx.run("UPDATE acceptance SET reverse_path = '' WHERE id > 0"))
        assert [f.kind for f in await findings(stand)] == ["seal-broken"]

    with_stand(tmp_path, work)


def test_a_fate_is_final(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        row = await stand.accept(("bob@b.example", None))
        await stand.run(lambda tx: ledger.end(tx, row.id, 0, Relayed("mx", "250"), row.at))
        with pytest.raises(ledger.FateIsFinal):
            await stand.run(lambda tx: ledger.end(tx, row.id, 0, Stored(1, 1, 1), row.at))
        with pytest.raises(ledger.FateIsFinal):
            await stand.run(lambda tx: ledger.end(tx, row.id, 1, Stored(1, 1, 1), row.at))
        # Not even by hand.
        with pytest.raises(Exception, match="a fate is final"):
            await stand.run(lambda tx: tx.run("UPDATE recipient SET fate = 'dropped'"))

    with_stand(tmp_path, work)


def test_days_have_the_names_of_the_calendar() -> None:
    dice = random.Random(1)
    for day in [0, 59, 60, 365, 11016, *(dice.randrange(0, 60_000) for _ in range(500))]:
        assert day_name(day) == str(datetime.date(1970, 1, 1) + datetime.timedelta(days=day))


def test_messages_are_compared_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loss is told once, on whichever side of a border it lies, and behind the last."""
    monkeypatch.setattr(audit.boxes, "AUDIT_SLICE", 2)

    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        for _ in range(9):
            await stand.append(account, inbox)
        whole = [1, 4, 5, 6, 7]

        def lose(tx: Tx) -> None:
            for uid in (2, 3, 9):
                tx.run("DELETE FROM message WHERE uid = ?", (uid,))
            tx.run("DELETE FROM message_text WHERE uid = 8")

        await stand.run(lose)
        told = [f for f in await findings(stand) if f.uid is not None]
        assert sorted((f.kind, f.uid) for f in told if f.uid is not None) == [
            ("message-lost", 2),
            ("message-lost", 3),
            ("message-lost", 9),
            ("message-without-text", 8),
        ]
        await stand.run(lambda tx: tx.run("UPDATE message SET size = size + 1"))
        told = [f for f in await findings(stand) if f.kind == "message-size"]
        assert sorted(f.uid for f in told if f.uid is not None) == whole

    with_stand(tmp_path, work)
