"""Knocks: what is merged, what is kept where there is too much, and whose it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import accounts, admissions, knocks
from estafeta.store.audit import audit_full
from estafeta.store.knocks import MANY, NAMED, PROVEN, UNKNOWN, Arrival, Detail, Knock, Noted
from estafeta.store.limits import KNOCK_AGE_MS, KNOCKS_MAX, KNOCKS_OF_ONE_MAX

pytestmark = pytest.mark.usefixtures("each_engine")


def noted(stand: Stand, account: int, sender: str = "maria@x.example", **given: Any) -> Noted:
    now = stand.clock.ms
    rest: dict[str, Any] = {
        "who": "y.example",
        "cause": "greylisted",
        "named": "ana@a.example",
        "proof": NAMED,
        "first": now,
        "last": now,
        "times": 1,
        "detail": Detail(sender=sender, network="192.0.2.0/24", organisation="y.example"),
    }
    return Noted(account=account, id=stand.ids.next(), sender=sender, **(rest | given))


async def write(stand: Stand, *rows: Noted, arrivals: tuple[Arrival, ...] = ()) -> None:
    await stand.run(lambda tx: knocks.write(tx, rows, arrivals))


async def rows_of(stand: Stand, account: int) -> list[Knock]:
    found: list[Knock] = await stand.read(lambda tx: knocks.knocks(tx, account))
    return found


def test_the_same_for_the_same_reason_is_one_row(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        began = stand.clock.ms
        await write(stand, noted(stand, ana))
        stand.clock.ms += 60_000
        await write(
            stand,
            noted(stand, ana, times=3, named="ventas@a.example", detail=Detail(hello="mx2")),
            noted(stand, ana, "luis@x.example"),
            noted(stand, ana, cause="rate-limited"),
            noted(stand, ana, who="z.example"),
        )
        found = await rows_of(stand, ana)
        assert len(found) == 4
        (row,) = [r for r in found if r.times > 1]
        assert (row.who, row.sender, row.cause) == ("y.example", "maria@x.example", "greylisted")
        assert (row.first, row.began, row.last) == (began, began, stand.clock.ms)
        assert (row.times, row.arrived, row.named) == (4, 0, "ventas@a.example")
        assert row.detail == Detail(hello="mx2")
        assert await stand.read(lambda tx: knocks.knock(tx, ana, row.id)) == row

    with_stand(tmp_path, work)


def test_who_came_in_after_all_has_it_said_until_it_begins_anew(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana, luis = await stand.account(), await stand.account("luis@a.example")
        for account in (ana, luis):
            await write(
                stand,
                noted(stand, account),
                noted(stand, account, cause="policy-attachment"),
                noted(stand, account, "other@x.example"),
            )
        stand.clock.ms += 360_000
        came = stand.clock.ms
        await write(stand, arrivals=(Arrival(ana, "y.example", "maria@x.example", came),))
        arrived = [(r.sender, r.cause) for r in await rows_of(stand, ana) if r.arrived]
        assert arrived == [("maria@x.example", "greylisted")]
        assert not any(r.arrived for r in await rows_of(stand, luis))
        # What came in before it was noted ended nothing that came later.
        stand.clock.ms += 1000
        await write(
            stand,
            noted(stand, ana),
            arrivals=(Arrival(ana, "y.example", "maria@x.example", came),),
        )
        (row,) = [r for r in await rows_of(stand, ana) if r.last > came]
        assert (row.arrived, row.began, row.times) == (0, stand.clock.ms, 2)
        assert row.first < row.began

    with_stand(tmp_path, work)


def test_of_one_organisation_some_senders_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        for n in range(KNOCKS_OF_ONE_MAX + 10):
            await write(stand, noted(stand, ana, f"s{chr(97 + n)}@x.example", proof=PROVEN))
        found = await rows_of(stand, ana)
        assert len(found) == KNOCKS_OF_ONE_MAX + 1
        (rest,) = [r for r in found if r.of_many]
        assert (rest.who, rest.times, rest.proof) == ("y.example", 10, NAMED)
        assert rest.detail.sender == ""
        await write(stand, noted(stand, ana, who="z.example"))
        assert len(await rows_of(stand, ana)) == KNOCKS_OF_ONE_MAX + 2

    with_stand(tmp_path, work)


def test_of_too_many_those_go_that_tell_least_and_none_is_uncounted(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana, luis = await stand.account(), await stand.account("luis@a.example")
        await write(stand, noted(stand, luis))
        kept = [
            noted(stand, ana, "proven@x.example", who="x.example", proof=PROVEN),
            noted(stand, ana, "named@x.example", who="n.example"),
            noted(stand, ana, "again@x.example", who="198.51.100.0/24", proof=UNKNOWN, times=2),
            noted(stand, ana, "let-in@x.example", who="203.0.113.0/24", proof=UNKNOWN),
        ]
        await write(stand, *kept)
        grant = admissions.grant
        await stand.run(
            lambda tx: grant(
                tx, ana, kept[3].id, stand.clock.ms, id=stand.ids.next(), allowed=["greylist"]
            )
        )
        attempts = 5
        for start in range(0, 2000, 100):
            stand.clock.ms += 1000
            flood = [
                noted(stand, ana, f"f{n}@f.example", who=f"10.{n // 250}.{n % 250}.0/24", proof=0)
                for n in range(start, start + 100)
            ]
            attempts += len(flood)
            await write(stand, *flood)
        found = await rows_of(stand, ana)
        assert len(found) <= KNOCKS_MAX
        assert {r.sender for r in kept} <= {r.sender for r in found}
        assert sum(r.times for r in found) == attempts
        last = [r.sender for r in found if r.who.startswith("10.")]
        assert last[0] == "f1999@f.example"  # of those that tell as much, the last ones stay
        (rest,) = [r for r in found if r.who == MANY]
        assert rest.times > 1000
        assert len(await rows_of(stand, luis)) == 1

    with_stand(tmp_path, work)


def test_what_is_old_is_erased(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        await write(stand, *(noted(stand, ana, f"{c}@x.example") for c in "abcde"))
        stand.clock.ms += KNOCK_AGE_MS
        await write(stand, noted(stand, ana, "a@x.example"))
        assert await stand.run(lambda tx: knocks.erase_old(tx, stand.clock.ms))
        assert len(await rows_of(stand, ana)) == 5
        stand.clock.ms += 1
        assert not await stand.run(lambda tx: knocks.erase_old(tx, stand.clock.ms, limit=3))
        assert await stand.run(lambda tx: knocks.erase_old(tx, stand.clock.ms, limit=3))
        assert [r.sender for r in await rows_of(stand, ana)] == ["a@x.example"]

    with_stand(tmp_path, work)


def test_with_the_account_they_go(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana, luis = await stand.account(), await stand.account("luis@a.example")
        rows = [noted(stand, who) for who in (ana, luis)]
        await write(stand, *rows)
        for row in rows:
            await stand.run(
                lambda tx, row=row: admissions.grant(
                    tx,
                    row.account,
                    row.id,
                    stand.clock.ms,
                    id=stand.ids.next(),
                    allowed=["greylist"],
                )
            )
        await stand.run(lambda tx: accounts.remove_account(tx, ana))
        await write(stand, noted(stand, ana), noted(stand, luis))
        for table in ("knock", "admission"):
            left = await stand.read(lambda tx, table=table: tx.rows(f"SELECT account FROM {table}"))
            assert left == [(luis,)], table
        assert [f async for f in audit_full(stand.store)] == []

    with_stand(tmp_path, work)


def test_pages_follow_one_another(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        for n in range(7):
            stand.clock.ms += n % 2
            await write(stand, noted(stand, ana, f"{'abcdefg'[n]}@x.example"))
        whole = await rows_of(stand, ana)
        paged: list[Knock] = []
        before = None
        while some := await stand.read(partial(knocks.knocks, account=ana, limit=3, before=before)):
            paged += some
            before = (some[-1].last, some[-1].id)
        assert paged == whole
        assert len(paged) == 7

    with_stand(tmp_path, work)
