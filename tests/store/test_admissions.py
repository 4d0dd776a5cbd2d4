"""Admissions: one message, of one sender, into one account, for what its owner may decide."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import admissions, knocks
from estafeta.store.admissions import KINDS, Admission, NotLetIn
from estafeta.store.engine import Tx
from estafeta.store.knocks import MANY, Detail, Noted
from estafeta.store.limits import ADMISSION_MS, ADMISSIONS_MAX, KNOCK_AGE_MS

pytestmark = pytest.mark.usefixtures("each_engine")

EVERYTHING = ("greylist", "rate", "type", "size")


async def tried(stand: Stand, account: int, sender: str = "maria@x.example", **given: Any) -> int:
    """The row of one who was turned away."""
    detail: dict[str, Any] = {"network": "192.0.2.0/24", "organisation": "y.example"}
    row = Noted(
        account=account,
        id=stand.ids.next(),
        who=given.pop("who", "y.example"),
        sender=sender,
        cause=given.pop("cause", "greylisted"),
        named="ana@a.example",
        proof=1,
        first=stand.clock.ms,
        last=stand.clock.ms,
        times=1,
        detail=Detail(**(detail | given)),
    )
    await stand.run(lambda tx: knocks.write(tx, [row]))
    return row.id


async def let_in(stand: Stand, account: int, row: int, **given: Any) -> Admission:
    id, now = stand.ids.next(), stand.clock.ms
    given = {"allowed": EVERYTHING} | given
    made: Admission = await stand.run(
        lambda tx: admissions.grant(tx, account, row, now, id=id, **given), accounts=(account,)
    )
    return made


async def not_let_in(stand: Stand, account: int, row: int, **given: Any) -> str:
    with pytest.raises(NotLetIn) as refused:
        await let_in(stand, account, row, **given)
    return refused.value.why


async def found(stand: Stand, account: int, **given: Any) -> Admission | None:
    visitor = {
        "organisation": "y.example",
        "network": "192.0.2.0/24",
        "sender": "maria@x.example",
        "aligned": False,
        "now": stand.clock.ms,
    }
    admission: Admission | None = await stand.read(
        lambda tx: admissions.find(tx, account, **(visitor | given))
    )
    return admission


async def use(stand: Stand, admission: Admission, acceptance: int = 1) -> bool:
    used: bool = await stand.run(
        lambda tx: admissions.consume(
            tx, admission.account, admission.id, acceptance, stand.clock.ms
        )
    )
    return used


def test_one_message_comes_in_by_it_and_no_second(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        made = await let_in(stand, ana, await tried(stand, ana))
        assert await found(stand, ana) == made
        assert made.until == stand.clock.ms + ADMISSION_MS
        assert await use(stand, made, 77)
        assert await found(stand, ana) is None
        assert not await use(stand, made, 78)
        (kept,) = await stand.read(lambda tx: admissions.admissions(tx, ana))
        assert kept.used == 77

    with_stand(tmp_path, work)


def test_two_at_the_same_instant_on_two_workers_one_comes_in(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        row = await tried(stand, ana)
        other = stand.open()
        try:
            for _ in range(20):
                made = await let_in(stand, ana, row)

                def unit(tx: Tx, made: Admission = made) -> bool:
                    return admissions.consume(tx, ana, made.id, stand.ids.next(), stand.clock.ms)

                # Both have found it: it is not used before either's unit.
                assert await other.read(
                    lambda tx: admissions.find(
                        tx,
                        ana,
                        organisation="",
                        network="192.0.2.0/24",
                        sender="maria@x.example",
                        aligned=False,
                        now=stand.clock.ms,
                    )
                )
                came_in = await asyncio.gather(
                    *(store.run(unit) for store in (stand.store, other) for _ in range(3))
                )
                assert sum(came_in) == 1
        finally:
            await other.close()

    with_stand(tmp_path, work)


@pytest.mark.parametrize(
    "forged",
    [
        {"network": "198.51.100.0/24"},
        {"sender": "luis@x.example"},
        {"sender": ""},
        {"network": "198.51.100.0/24", "sender": "luis@x.example"},
        # An organisation's name alone proves nothing of the sender.
        {"network": "198.51.100.0/24", "organisation": "x.example", "aligned": True},
        {"network": "", "organisation": ""},
    ],
)
def test_for_a_sender_who_is_not_proven_network_and_sender_count(
    tmp_path: Path, forged: dict[str, Any]
) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        made = await let_in(stand, ana, await tried(stand, ana))
        assert (made.domain, made.network) == ("", "192.0.2.0/24")
        assert await found(stand, ana, **forged) is None
        assert await found(stand, ana, organisation="other.example") == made

    with_stand(tmp_path, work)


def test_for_a_proven_one_the_domain_counts(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        row = await tried(stand, ana, who="x.example", organisation="x.example", aligned=True)
        made = await let_in(stand, ana, row)
        assert made.domain == "x.example"
        elsewhere = {"network": "203.0.113.0/24", "sender": "luis@mail.x.example"}
        proven = {"organisation": "x.example", "aligned": True}
        assert await found(stand, ana, **elsewhere, **proven) == made
        # The same sender from the same network, whom nothing proves any more.
        assert await found(stand, ana) is None
        # Another's servers, and those of the organisation for somebody else's address.
        assert await found(stand, ana, organisation="y.example", aligned=True) is None
        assert await found(stand, ana, organisation="x.example", aligned=False) is None

    with_stand(tmp_path, work)


def test_it_opens_no_other_account(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana, luis = await stand.account(), await stand.account("luis@a.example")
        row = await tried(stand, ana)
        assert await not_let_in(stand, luis, row) == "unknown"
        made = await let_in(stand, ana, row)
        await tried(stand, luis)
        assert await found(stand, luis) is None

        def foreign(tx: Tx) -> tuple[bool, bool]:
            return (
                admissions.consume(tx, luis, made.id, 1, stand.clock.ms),
                admissions.revoke(tx, luis, row),
            )

        assert await stand.run(foreign) == (False, False)
        assert await found(stand, ana) == made

    with_stand(tmp_path, work)


@pytest.mark.parametrize(
    "cause",
    [
        "blocked-ip",
        "sender-rejected",
        "mailbox-disabled",
        "mailbox-full",
        "policy-content",
        "policy",
        "encryption-needed",
        "unknown-user",
        "server-busy",
        "other",
    ],
)
def test_what_only_an_administrator_may_nobody_lets_in(tmp_path: Path, cause: str) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        assert await not_let_in(stand, ana, await tried(stand, ana, cause=cause)) == "cause"

    with_stand(tmp_path, work)


@pytest.mark.parametrize("cause", sorted(KINDS))
def test_what_an_owner_may_is_for_the_policy_to_say(tmp_path: Path, cause: str) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        row = await tried(stand, ana, cause=cause)
        others = [kind for kind in EVERYTHING if kind != KINDS[cause]]
        assert await not_let_in(stand, ana, row, allowed=()) == "policy"
        assert await not_let_in(stand, ana, row, allowed=others) == "policy"
        assert await let_in(stand, ana, row, allowed=(KINDS[cause],))

    with_stand(tmp_path, work)


def test_nothing_is_let_in_that_is_larger_than_anybody_may_send(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        row = await tried(stand, ana, cause="message-too-large", size=1001)
        assert await not_let_in(stand, ana, row, size_max=1000) == "size"
        assert await let_in(stand, ana, row, size_max=1001)

    with_stand(tmp_path, work)


def test_many_are_not_let_in_at_once(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        assert await not_let_in(stand, ana, await tried(stand, ana, MANY)) == "many"
        rows = [
            await tried(stand, ana, f"s{n}@x.example", who=f"y{n // 10}.example")
            for n in range(ADMISSIONS_MAX + 1)
        ]
        for row in rows[:-1]:
            await let_in(stand, ana, row)
        assert await not_let_in(stand, ana, rows[-1]) == "too-many"
        # Again for the same row is no further one; what was taken back or is over makes room.
        first = await let_in(stand, ana, rows[0])
        assert await stand.run(lambda tx: admissions.revoke(tx, ana, rows[0]))
        assert not await use(stand, first)
        assert await let_in(stand, ana, rows[-1])
        assert await not_let_in(stand, ana, rows[0]) == "too-many"
        stand.clock.ms += ADMISSION_MS
        assert await let_in(stand, ana, rows[0])

    with_stand(tmp_path, work)


def test_after_its_time_nobody_comes_in(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        row = await tried(stand, ana)
        made = await let_in(stand, ana, row)
        stand.clock.ms += ADMISSION_MS - 1
        assert await found(stand, ana) == made
        assert await let_in(stand, ana, row) == made
        stand.clock.ms += 1
        assert await found(stand, ana) is None
        assert not await use(stand, made)
        stand.clock.ms += KNOCK_AGE_MS
        assert await stand.run(lambda tx: admissions.erase_old(tx, stand.clock.ms))
        assert len(await stand.read(lambda tx: admissions.admissions(tx, ana))) == 1
        stand.clock.ms += 1
        assert not await stand.run(lambda tx: admissions.erase_old(tx, stand.clock.ms, limit=1))
        assert await stand.read(lambda tx: admissions.admissions(tx, ana)) == []

    with_stand(tmp_path, work)


def test_what_came_in_or_was_never_given_cannot_be_taken_back(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        row = await tried(stand, ana)
        assert not await stand.run(lambda tx: admissions.revoke(tx, ana, row))
        made = await let_in(stand, ana, row)
        assert await use(stand, made)
        assert not await stand.run(lambda tx: admissions.revoke(tx, ana, row))

    with_stand(tmp_path, work)
