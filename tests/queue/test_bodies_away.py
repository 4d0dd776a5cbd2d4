"""Messages whose body is in an object store that does not always answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.whole import Attempts, Whole, whole

from estafeta.mail.outcome import Deferred, Delivered, Reply
from estafeta.mail.protocols import NoMeter
from estafeta.sim.loop import run
from estafeta.sim.objects import SimBucket, SimObjects
from estafeta.sim.quiet import quiet
from estafeta.store import accounts
from estafeta.store.bodies import Shelf

BOB = "bob@remote.example"
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), "mx.remote.example")
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "busy", "mx.remote.example")
LETTER = b"Subject: large\r\nMessage-ID: <large@client.example>\r\n\r\n" + b"a line\r\n" * 100_000


def with_bucket(
    work: Callable[[Whole, SimBucket], Awaitable[Any]], attempts: Attempts, **how: Any
) -> None:
    """An installation that keeps nothing near."""

    async def main() -> None:
        async with whole(attempts=attempts, **how) as (house, _):
            bucket = SimBucket()
            bodies = house.built.bodies
            bodies.large = "s3"
            bodies.shelf = Shelf(
                SimObjects(bucket), bodies.disk, house.built.ids, cache_octets=0, meter=NoMeter()
            )
            await asyncio.sleep(0.1)  # the runner has begun
            await work(house, bucket)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


def test_it_is_fetched_for_the_second_attempt() -> None:
    async def work(house: Whole, bucket: SimBucket) -> None:
        await house.accept(BOB, message=LETTER)
        calls = bucket.calls
        await house.settled(200)
        assert bucket.calls == calls + 1  # the first one had it at hand still
        assert [message for _, _, message in house.attempts.made] == [LETTER, LETTER]

    with_bucket(work, Attempts(plan={BOB: [BUSY, TAKEN]}))


def test_it_waits_for_the_store() -> None:
    async def work(house: Whole, bucket: SimBucket) -> None:
        await house.accept(BOB, message=LETTER)
        await asyncio.sleep(5)
        bucket.down = True
        await asyncio.sleep(65)
        assert len(house.attempts.made) == 1  # nobody was connected to for nothing
        assert [row[:3] for row in await house.rows()] == [("remote.example", 0, 2)]
        bucket.down = False
        await house.settled(200)
        assert len(house.attempts.made) == 2
        assert (await house.ledger())[-1] == f"submission <ana@mx.example> {BOB} relayed"
        details = await house.store.inner.read(
            lambda tx: [row[0] for row in tx.rows("SELECT detail FROM event ORDER BY id")]
        )
        assert sum("our store of large messages" in str(detail) for detail in details) == 1

    with_bucket(work, Attempts(plan={BOB: [BUSY, TAKEN]}))


def test_a_bounce_waits_for_the_message_that_it_returns() -> None:
    async def work(house: Whole, bucket: SimBucket) -> None:
        await house.accept(BOB, message=LETTER)
        await asyncio.sleep(5)
        bucket.down = True
        await asyncio.sleep(400)
        assert len(await house.rows()) == 1  # given up, but not returned yet
        bucket.down = False
        await house.settled(200)
        assert (await house.ledger())[-1] == "bounce <> ana@mx.example stored"
        (bounce,) = await house.inbox("ana")
        assert b"Subject: large" in bounce

    with_bucket(work, Attempts(plan={BOB: [BUSY]}))


def test_a_domain_that_became_ours() -> None:
    """The message is fetched, parsed and placed: large ones need their text for the mailbox."""

    async def work(house: Whole, bucket: SimBucket) -> None:
        await house.accept("eva@later.example", message=LETTER)
        await asyncio.sleep(5)

        def ours(tx: Any) -> None:
            accounts.add_domain(tx, "later.example", 1)
            accounts.add_alias(tx, "eva@later.example", "eva@mx.example")

        await house.store.inner.run(ours)
        await house.settled(400)
        assert (await house.ledger())[-1].endswith("stored")

    with_bucket(work, Attempts(plan={"eva@later.example": [BUSY]}))
