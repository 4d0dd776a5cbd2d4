"""Journey and ledger: what is known of a message, and how it is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.stores import Stand, StandingClock, with_stand

from estafeta.mail.envelope import Recipient
from estafeta.store import journey, ledger, trail
from estafeta.store.ids import Ids, first_at, milliseconds, parse_queue_id, queue_id
from estafeta.store.rows import (
    Acceptance,
    Cancelled,
    Dropped,
    Duplicate,
    Expanded,
    Relayed,
    Returned,
    Stored,
)

pytestmark = pytest.mark.usefixtures("each_engine")


def test_every_fate_comes_back_as_it_went_in(tmp_path: Path) -> None:
    fates = [
        Stored(1, 2, 3),
        Relayed("mx.example [192.0.2.1]:25", "250 2.0.0 ok\nsecond line"),
        Returned(77),
        Expanded(78),
        Dropped("notify-never"),
        Cancelled("root"),
        Duplicate(79),
        None,
    ]

    async def work(stand: Stand) -> None:
        recipients = [
            Recipient(f"r{n}@b.example", frozenset({"FAILURE", "DELAY"}), "rfc822;x@y")
            for n in range(len(fates))
        ]
        row = Acceptance(
            id=stand.ids.next(),
            at=stand.clock.ms,
            origin="submission",
            reverse_path="ana@a.example",
            body=5,
            size=10,
            recipients=len(fates),
            account=1,
            message_id="<m@a.example>",
            smtputf8=True,
            eight_bit=True,
            ret="HDRS",
            envid="E1",
            peer="helo [192.0.2.9]:1",
            tls="TLSv1.3",
            digest=b"d" * 32,
            unconfirmed=True,
        )
        await stand.run(lambda tx: ledger.open_acceptance(tx, row, recipients, fates))
        assert await stand.read(lambda tx: ledger.acceptance(tx, row.id)) == row
        entries = await stand.read(lambda tx: ledger.entries(tx, row.id))
        assert [entry.fate for entry in entries] == fates
        assert [entry.recipient for entry in entries] == recipients
        assert [entry.ended for entry in entries] == [row.at] * 7 + [None]
        assert await stand.read(lambda tx: ledger.recipient(tx, row.id, 3)) == recipients[3]
        await stand.run(lambda tx: ledger.end(tx, row.id, 7, Dropped("\udcff" + "x" * 9999), 5))
        last = (await stand.read(lambda tx: ledger.entries(tx, row.id)))[-1]
        assert last.ended == 5
        assert len(last.fate.rule) == 2000
        with pytest.raises(KeyError):
            await stand.read(lambda tx: ledger.acceptance(tx, 1))
        with pytest.raises(KeyError):
            await stand.read(lambda tx: ledger.recipient(tx, row.id, 99))

    with_stand(tmp_path, work)


def test_the_journey_is_whole_and_json(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        first = await stand.accept(("bob@b.example", None), ("c@c.example", None))
        child = await stand.accept(("d@d.example", None), origin="bounce", parent=first.id)

        def attempts(tx: Any) -> None:
            for n in range(2):
                ledger.add_event(
                    tx,
                    stand.ids.next(),
                    first.id,
                    first.at + n,
                    ledger.ALL_RECIPIENTS,
                    "attempt",
                    {"host": "mx", "n": n},
                )
            ledger.add_event(
                tx, stand.ids.next(), first.id, first.at, 0, "big", {"text": "é" * 9000}
            )
            tx.run("UPDATE queue SET last = '{\"code\": 451}' WHERE acceptance = ?", (first.id,))

        await stand.run(attempts)
        told = await stand.read(lambda tx: journey.journey(tx, first.id))
        assert told.queue_id == queue_id(first.id)
        assert [(e.kind, e.detail.get("n")) for e in told.events] == [
            ("attempt", 0),
            ("big", None),
            ("attempt", 1),
        ]
        assert len(told.events[1].detail["shortened"]) < 8192
        assert [(q.n, q.destination, q.leased, q.last) for q in told.queue] == [
            (0, "b.example", False, {"code": 451}),
            (1, "c.example", False, {"code": 451}),
        ]
        assert [c.id for c in told.children] == [child.id]
        assert msgspec.json.decode(msgspec.json.encode(told))["queue_id"] == told.queue_id
        assert (await stand.read(lambda tx: journey.journey(tx, child.id))).parent.id == first.id

    with_stand(tmp_path, work)


@pytest.mark.parametrize("filed", ["none", "some", "all"])
def test_messages_are_found_by_every_name(tmp_path: Path, filed: str) -> None:
    async def work(stand: Stand) -> None:
        rows = []
        for n in range(6):
            rows.append(
                await stand.accept(
                    ("Bob@b.example", None),
                    (f"r{n}@c.example", None),
                    message_id=f"<m{n % 3}@a.example>",
                )
            )
            stand.clock.ms += 1000
        stand.clock.ms += {"none": 0, "some": 597_500, "all": 700_000}[filed]
        while not await stand.run(lambda tx: trail.extend(tx, stand.clock.ms, 2)):
            pass
        count = await stand.read(
            lambda tx: tx.value("SELECT count(DISTINCT acceptance) FROM trail")
        )
        assert count == {"none": 0, "some": 4, "all": 6}[filed]
        ids = [row.id for row in reversed(rows)]

        async def find(what: str, **given: Any) -> list[int]:
            return list(await stand.read(lambda tx: journey.find(tx, what, **given)))

        assert await find(queue_id(ids[0])) == [ids[0]]
        assert await find(queue_id(ids[0]).lower()) == [ids[0]]
        assert await find("<m1@a.example>") == [ids[1], ids[4]]
        assert await find("m1@a.example") == [ids[1], ids[4]]
        assert await find("bob@B.example") == ids
        assert await find("r2@c.example") == [ids[3]]
        assert await find("ana@a.example", limit=4) == ids[:4]
        assert await find("nobody@a.example") == []
        assert await find("") == []

    with_stand(tmp_path, work)


def test_unconfirmed_submissions_are_recognised(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        row = await stand.accept(
            ("bob@b.example", None),
            account=4,
            message_id="<m@a.example>",
            digest=b"d",
            unconfirmed=True,
        )

        async def found(**given: Any) -> Any:
            asked = {
                "account": 4,
                "reverse_path": row.reverse_path,
                "message_id": "<m@a.example>",
                "digest": b"d",
                "since": row.at,
            } | given
            return await stand.read(lambda tx: ledger.find_unconfirmed(tx, **asked))

        assert await found() == [row]
        for other in (
            {"account": 5},
            {"reverse_path": "x@y"},
            {"message_id": "<n@a>"},
            {"digest": b"e"},
            {"since": row.at + 1},
        ):
            assert await found(**other) == []
        again = await stand.accept(
            ("bob@b.example", None),
            ("carl@b.example", None),
            account=4,
            message_id="<m@a.example>",
            digest=b"d",
            unconfirmed=True,
        )
        assert await found() == [row, again]
        await stand.run(lambda tx: ledger.confirm(tx, again.id))
        assert await found() == []  # who knows of the second knows what was the first

    with_stand(tmp_path, work)


def test_ids_rise_and_read_back(tmp_path: Path) -> None:
    import random

    clock = StandingClock()
    ids = Ids(clock, random.Random(3))
    made = []
    for n in range(2000):
        clock.ms += n % 2
        made.append(ids.next())
    assert made == sorted(set(made))
    for id in made[::97]:
        assert parse_queue_id(queue_id(id)) == id
        assert first_at(milliseconds(id)) <= id < first_at(milliseconds(id) + 1)
    with pytest.raises(ValueError, match="queue id"):
        parse_queue_id("not an id")


def test_what_keeps_a_recipient_waiting(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        row = await stand.accept(("x@b.example", None), ("x@c.example", None))

        def unit(tx: Any) -> None:
            tx.run("DELETE FROM destination")
            for n, name in enumerate(("mx.b", "")):
                queued = (f"{'bc'[n]}.example", 5 + n, name)
                tx.run("UPDATE queue SET destination = ?, due = ? WHERE n = ?", (*queued[:2], n))
                tx.run("INSERT INTO destination (name, due, waits_for) VALUES (?, ?, ?)", queued)
            tx.run("INSERT INTO backoff VALUES ('mx.b', 1, 3, 2, 9, 9, NULL, '{}')")

        await stand.run(unit)
        known = await stand.read(lambda tx: journey.journey(tx, row.id))
        first, second = known.queue
        assert first.waits == journey.Waits("mx.b", 1, 9, 3, probed=False)
        assert (first.due, second.due, second.waits) == (5, 6, None)

    with_stand(tmp_path, work)
