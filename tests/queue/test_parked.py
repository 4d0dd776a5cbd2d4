"""Parked: what names a fault of ours is held, released when that is mended, returned in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.inline import with_store

from estafeta.explain.causes import causes
from estafeta.explain.faults import Checked, faults
from estafeta.mail.outcome import Deferred, Outcome, Refused, Reply
from estafeta.queue import parked, rows
from estafeta.queue.parked import FORGOTTEN_MS, REFUSED_AGAIN_MS_MAX, Park, Parking
from estafeta.store import audit
from estafeta.store.engine import Tx
from estafeta.store.sqlite import SqliteStore

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_000_000_000
MINUTE = 60_000
UNTIL = NOW + 100 * MINUTE
LEASE = 900_000
HOST = "mx1.b.example [198.51.100.1]:25"
WHY = Parking("reverse-dns", "192.0.2.1", "b.example")
NO = Refused(Reply(550, "5.7.25", "no reverse DNS"), "no-reverse-dns", HOST)
GOOD = Checked(True, "reverse-holds", {"address": "192.0.2.1", "name": "mail.example"})


class Note(msgspec.Struct):
    kind: str
    data: dict[str, Any]
    at: float = 0.0
    text: str = ""


def connected(source: str) -> list[Any]:
    return [
        Note("dns", {}),
        Note("connect", {"host": HOST, "why": "no answer"}),
        Note("connect", {"host": HOST, "from": source}),
    ]


def refused(cause: str, text: str = "go away") -> Refused:
    return Refused(Reply(550, "5.7.1", text), cause, HOST)


# What a refusal names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "source", "expected"),
    [
        (NO, "192.0.2.1:4711", WHY),
        (NO, "[2001:db8::7]:4711", Parking("reverse-dns", "2001:db8::7", "b.example")),
        (NO, "10.0.0.7:4711", Parking("reverse-dns", "", "b.example")),  # behind a translation
        (
            refused("no-reverse-dns", "cannot find your name, [8.8.4.4] (1.1.1.1 here)"),
            "10.0.0.7:4711",
            Parking("reverse-dns", "8.8.4.4", "b.example"),
        ),
        (
            refused("blocked-ip", "Client host [8.8.4.4] blocked using zen.spamhaus.org"),
            "8.8.4.4:4711",
            Parking("block-list", "8.8.4.4 zen.spamhaus.org", "b.example"),
        ),
        (
            refused("blocked-ip", "S3150 your network is on our list"),
            "8.8.4.4:4711",
            Parking("block-list", "8.8.4.4", "b.example"),
        ),
        (
            refused("not-authenticated-mail"),
            "192.0.2.1:1",
            Parking("sender-dns", "a.example 192.0.2.1", "b.example"),
        ),
        (
            refused("sender-domain-missing"),
            "192.0.2.1:1",
            Parking("sender-domain", "a.example", "b.example"),
        ),
        (refused("bad-greeting"), "192.0.2.1:1", Parking("greeting", "192.0.2.1", "b.example")),
        (refused("tls-required"), "192.0.2.1:1", Parking("tls", "", "b.example")),
        (refused("unknown-user"), "192.0.2.1:1", None),
        (refused("other"), "192.0.2.1:1", None),
        (Deferred(NO.reply, "no-reverse-dns", HOST), "192.0.2.1:1", None),  # tried again anyway
    ],
)
def test_what_is_held_and_what_is_to_be_checked(
    outcome: Outcome, source: str, expected: Parking | None
) -> None:
    assert parked.parking(outcome, connected(source), "ana@a.example") == expected


def test_a_connection_that_was_kept_is_known_by_its_message() -> None:
    notes: list[Any] = [Note("mail", {"host": HOST, "reused": True, "from": "192.0.2.1:4711"})]
    assert parked.parking(NO, notes, "ana@a.example") == WHY


def test_the_address_of_the_other_side_is_not_taken_for_ours() -> None:
    outcome = Refused(
        Reply(550, "5.7.1", "8.8.8.8 says: 8.8.4.4 has no PTR"),
        "no-reverse-dns",
        "mx.b.example [8.8.8.8]:25",
    )
    why = parked.parking(outcome, connected("10.0.0.7:1"), "ana@a.example")
    assert why is not None
    assert why.about == "8.8.4.4"


def test_each_fault_is_of_causes_that_are_ours_to_repair_and_none_is_twice() -> None:
    named = [cause for fault in faults().values() for cause in fault.causes]
    assert len(named) == len(set(named))
    for cause in named:
        # Of encryption either side may be at fault: a refusal says that it is ours.
        assert causes()[cause].owner == "your-administrator" or cause == "tls-required", cause
        assert not causes()[cause].hard


# Rows ------------------------------------------------------------------------------------------


def run(tmp_path: Path, *units: Callable[[Tx], Any]) -> list[Any]:
    async def work(store: SqliteStore) -> list[Any]:
        return [await store.run(unit) for unit in units]

    return with_store(tmp_path, work)


def leased(tx: Tx, acceptance: int = 1, n: int = 0, now: int = NOW) -> rows.Leased:
    known = tx.value("SELECT 1 FROM queue WHERE acceptance = ? AND n = ?", (acceptance, n))
    if known is None:
        rows.enqueue(tx, [rows.Waiting(acceptance, n, "b.example", now)])
    jobs = rows.lease(
        tx, "b.example", now=now, until=now + LEASE, tokens=range(7, 8), recipients_max=9
    )
    return jobs[0]


def hold(
    acceptance: int = 1, n: int = 0, *, why: Parking = WHY, now: int = NOW, until: int = UNTIL
) -> Callable[[Tx], Any]:
    def unit(tx: Tx) -> str:
        job = leased(tx, acceptance, n, now)
        last = msgspec.json.encode(NO).decode()
        wished = parked.park(tx, job, n, Park(why, until), now=now, last=last)
        rows.settle_destination(tx, "b.example")
        return wished

    return unit


def let_go(now: int, interval: int = 10 * MINUTE) -> Callable[[Tx], Any]:
    return lambda tx: parked.release(
        tx, WHY.fault, WHY.about, GOOD, now=now, interval=interval, event=now
    )


def row(tx: Tx, acceptance: int = 1) -> Any:
    return tx.row(
        "SELECT held, due, attempts, lease FROM queue WHERE acceptance = ?", (acceptance,)
    )


def test_park_holds_the_row_and_release_makes_it_due(tmp_path: Path) -> None:
    wished, held, due, count, free, next_due, event = run(
        tmp_path,
        hold(),
        row,
        rows.next_due,
        let_go(NOW + MINUTE),
        row,
        rows.next_due,
        lambda tx: tx.row("SELECT kind, detail FROM event WHERE acceptance = 1"),
    )
    assert wished == ""
    assert held == ("our own fault: reverse-dns 192.0.2.1", rows.NEVER, 1, None)
    assert due is None
    assert (count, free) == (1, ("", NOW + MINUTE, 1, None))
    assert next_due == NOW + MINUTE
    assert event[0] == "unparked"
    assert msgspec.json.decode(event[1])["finding"]["what"] == "reverse-holds"


def test_park_after_the_lease_was_lost_changes_nothing(tmp_path: Path) -> None:
    def late(tx: Tx) -> None:
        job = leased(tx)
        tx.run("UPDATE queue SET lease = 8")
        parked.park(tx, job, 0, Park(WHY, UNTIL), now=NOW, last="{}")

    async def work(store: SqliteStore) -> Any:
        with pytest.raises(rows.LateOutcome):
            await store.run(late)
        return await store.read(parked.count)

    assert with_store(tmp_path, work) == 0


def test_a_unit_that_fails_after_its_change_leaves_the_row_as_it_was(tmp_path: Path) -> None:
    """What a crash leaves in the middle of each transition."""
    job = rows.Leased(7, 1, "b.example", (0,), (0,))
    last = msgspec.json.encode(NO).decode()

    def park(tx: Tx) -> None:
        parked.park(tx, job, 0, Park(WHY, UNTIL), now=NOW, last=last)

    def broken(unit: Callable[[Tx], Any]) -> Callable[[Tx], Any]:
        def then_fails(tx: Tx) -> None:
            unit(tx)
            raise ZeroDivisionError

        return then_fails

    async def work(store: SqliteStore) -> None:
        async def stays(unit: Callable[[Tx], Any]) -> None:
            before = await store.read(row), await store.read(parked.count)
            with pytest.raises(ZeroDivisionError):
                await store.run(broken(unit))
            assert (await store.read(row), await store.read(parked.count)) == before

        await store.run(leased)
        await stays(park)
        await store.run(park)
        await stays(let_go(NOW + 1))
        await stays(lambda tx: parked.take_ended(tx, UNTIL, until=UNTIL + LEASE, tokens=[9]))

    with_store(tmp_path, work)


def test_refused_again_it_is_held_as_long_as_before_and_released_ever_later(
    tmp_path: Path,
) -> None:
    async def work(store: SqliteStore) -> None:
        now, waits = NOW, []
        until = NOW + 100 * REFUSED_AGAIN_MS_MAX
        await store.run(hold(until=until))
        for _ in range(8):
            began = now
            while not await store.run(let_go(now)):
                now += MINUTE
            waits.append((now - began) // MINUTE)
            await store.run(hold(now=now, until=now + 1))  # parked before: that counts
        assert waits == [0, 10, 20, 40, 80, 160, 240, 240]
        assert await store.read(lambda tx: parked.limits(tx, 1, [0, 1])) == {0: until}

    with_store(tmp_path, work)


def test_what_somebody_else_holds_or_works_on_is_left_alone(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        for acceptance in (1, 2, 3):
            await store.run(hold(acceptance))
        await store.run(lambda tx: tx.run("UPDATE queue SET held = 'by root' WHERE acceptance = 1"))
        await store.run(
            lambda tx: tx.run(
                f"UPDATE queue SET held = '', due = {UNTIL}, lease = 6 WHERE acceptance = 2"
            )
        )
        assert await store.run(let_go(NOW + 1)) == 1
        await store.run(hold(3, now=NOW + 1))
        ended = await store.run(
            lambda tx: parked.take_ended(tx, UNTIL, until=UNTIL + LEASE, tokens=[8, 9])
        )
        assert [each.leased.acceptance for each in ended] == [3]
        assert (await store.read(row))[0] == "by root"

    with_store(tmp_path, work)


def test_what_was_not_mended_in_time_is_taken_to_be_returned(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        for acceptance, n in ((1, 0), (2, 0), (2, 1)):
            await store.run(hold(acceptance, n, until=UNTIL + acceptance))

        def take(now: int) -> Callable[[Tx], Any]:
            return lambda tx: parked.take_ended(tx, now, until=now + LEASE, tokens=[8, 9])

        assert await store.run(take(UNTIL)) == []
        [one] = await store.run(take(UNTIL + 1))
        assert one.outcomes == (NO,)
        assert (one.leased.acceptance, one.leased.token, one.leased.attempts) == (1, 8, (1,))
        assert await store.read(row) == ("", UNTIL + 1 + LEASE, 1, 8)
        [two] = await store.run(take(UNTIL + 2))
        assert (two.leased.numbers, len(two.outcomes)) == ((0, 1), 2)
        assert await store.read(rows.next_due) == UNTIL + 1 + LEASE  # by whom it is taken on

    with_store(tmp_path, work)


def test_each_fault_is_told_once_for_each_family(tmp_path: Path) -> None:
    other = Parking(WHY.fault, WHY.about, "c.example")

    async def work(store: SqliteStore) -> None:
        await store.run(hold(1))
        await store.run(hold(2))
        [what] = await store.read(parked.untold)
        assert (what.parking, what.count, what.until, what.refused) == (WHY, 2, UNTIL, NO)
        assert await store.run(lambda tx: parked.told(tx, WHY, NOW))
        assert not await store.run(lambda tx: parked.told(tx, WHY, NOW))
        await store.run(hold(3))
        assert await store.read(parked.untold) == []
        await store.run(hold(4, why=other))
        assert [each.parking for each in await store.read(parked.untold)] == [other]
        [fault] = await store.read(parked.standing)
        assert (fault.fault, fault.about, fault.count, fault.finding) == (
            WHY.fault, WHY.about, 4, None,
        )  # fmt: skip
        await store.run(lambda tx: parked.checked(tx, WHY.fault, WHY.about, GOOD, NOW + 5))
        [fault] = await store.read(parked.standing)
        assert (fault.due, fault.finding) == (NOW + 5, GOOD)

    with_store(tmp_path, work)


def test_what_has_left_is_forgotten_and_the_fault_a_day_later(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        assert not await store.read(parked.anything)
        await store.run(hold())
        await store.run(lambda tx: parked.told(tx, WHY, NOW))
        await store.run(lambda tx: parked.tidy(tx, NOW + 5))
        await store.run(lambda tx: tx.run("DELETE FROM queue"))
        await store.run(lambda tx: parked.tidy(tx, NOW + FORGOTTEN_MS + 5))
        assert await store.read(parked.count) == 0
        assert await store.read(parked.anything)  # it may come back: not told anew
        await store.run(lambda tx: parked.tidy(tx, NOW + FORGOTTEN_MS + 6))
        assert not await store.read(parked.anything)
        assert await store.read(lambda tx: tx.value("SELECT count(*) FROM fault_told")) == 0

    with_store(tmp_path, work)


@pytest.mark.parametrize("lost", ["parked", "fault"])
def test_the_audit_finds_what_would_be_held_for_ever(tmp_path: Path, lost: str) -> None:
    def found(tx: Tx) -> list[tuple[str, int | None]]:
        return [
            (each.kind, each.acceptance)
            for each in audit.audit_open(tx)
            if each.kind == "held-for-ever"
        ]

    async def work(store: SqliteStore) -> None:
        await store.run(hold(1))
        assert await store.read(found) == []
        await store.run(lambda tx: tx.run(f"DELETE FROM {lost}"))
        assert await store.read(found) == [("held-for-ever", 1)]
        await store.run(lambda tx: tx.run("UPDATE queue SET held = 'by root'"))
        assert await store.read(found) == []

    with_store(tmp_path, work)
