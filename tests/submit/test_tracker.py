"""The journey of a sent message in any IMAP client: keywords on the copies its sender has."""

from __future__ import annotations

import asyncio

import pytest
from tests.submit.rig import (
    BOB,
    BUSY,
    CARL,
    EVA,
    GONE,
    MESSAGE,
    TAKEN,
    Ana,
    flags,
    heard,
    idles,
    with_ana,
)
from tests.support.whole import Attempts, Talk

from estafeta.store import accounts
from estafeta.store.engine import Tx

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.mark.parametrize("first", ["APPEND", "submission"])
def test_each_turn_is_told_in_idle(first: str) -> None:
    attempts = Attempts(plan={BOB: [BUSY, BUSY, TAKEN]})
    gate = attempts.gates["remote.example"] = asyncio.Event()

    async def work(ana: Ana) -> None:
        client = await ana.reads()
        if first == "APPEND":
            await client.ok("APPEND Sent (\\Seen)", MESSAGE)
            assert await flags(client) == {"\\Seen"}  # nothing was submitted yet
            await idles(client)
            await ana.submits(BOB)
            await heard(client, "$Queued")
        else:
            await ana.submits(BOB)
            await client.ok("APPEND Sent (\\Seen)", MESSAGE)
            assert await flags(client) == {"\\Seen", "$Queued"}
            await idles(client)
        gate.set()
        await heard(client, "$Delayed")
        await heard(client, "$Delivered", 60 * 3)
        client.send(b"DONE\r\n")
        await client.until(b"i")
        assert await flags(client) == {"\\Seen", "$Delivered"}

    with_ana(work, attempts=attempts)


@pytest.mark.parametrize(
    ("to", "keyword"),
    [
        ([EVA], "$Delivered"),
        ([BOB], "$Bounced"),
        ([BOB, EVA], "$PartlyDelivered"),
        (["team@mx.example"], "$Delivered"),
        (["mixed@mx.example"], "$PartlyDelivered"),
        (["mixed@mx.example", BOB], "$PartlyDelivered"),
        (["half@mx.example"], "$PartlyDelivered"),
        (["out@mx.example"], "$Bounced"),
    ],
)
def test_how_it_ended(to: list[str], keyword: str) -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(*to)
        await ana.house.settled()
        await client.ok("NOOP")
        assert await flags(client) == {keyword}

    gone = {BOB: [GONE], "Bob@remote.example": [GONE]}
    with_ana(work, attempts=Attempts(plan=gone))


def test_one_waits_while_another_has_arrived() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(EVA, BOB, CARL)
        await asyncio.sleep(1)
        assert await flags(client) == {"$Delayed"}

    with_ana(work, attempts=Attempts(plan={BOB: [BUSY, TAKEN], CARL: [GONE]}))


@pytest.mark.parametrize(
    ("person", "keyword"),
    [("bob", "$Delivered"), ("eva", "$Bounced"), ("bob, who leads to carl", "$Bounced")],
)
def test_ours_after_all(person: str, keyword: str) -> None:
    """The domain became ours while it waited; what a child comes to is told too."""

    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(BOB)
        await asyncio.sleep(1)
        assert await flags(client) == {"$Delayed"}

        def unit(tx: Tx) -> None:
            accounts.add_domain(tx, "remote.example", 0)
            if "carl" in person:
                accounts.add_alias(tx, BOB, CARL)
            else:
                accounts.add_account(tx, f"{person}@remote.example", 0)

        await ana.house.store.run(unit)
        await ana.house.settled(600)
        await client.ok("NOOP")
        assert await flags(client) == {keyword}

    with_ana(work, attempts=Attempts(plan={BOB: [BUSY], CARL: [GONE]}))


def test_given_up_in_the_end() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(BOB)
        await asyncio.sleep(600)
        assert await flags(await ana.reads()) == {"$Bounced"}

    with_ana(work, attempts=Attempts(plan={BOB: [BUSY]}), repeat=60.0, give_up_after=300.0)


def test_clients_cannot_say_it() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        lines = await client.command("SELECT Sent")
        (shown,) = [line for line in lines if line.startswith(b"* FLAGS")]
        (kept,) = [line for line in lines if b"PERMANENTFLAGS" in line]
        assert b"$Queued $Delayed $Delivered $PartlyDelivered $Bounced" in shown
        assert b"$" not in kept
        await client.ok("APPEND Sent (\\Seen $Bounced mine $delayed)", MESSAGE)
        assert await flags(client) == {"\\Seen", "mine"}
        await ana.submits(EVA)
        true = "$Delivered"
        for change, left in (
            ("+FLAGS ($Bounced)", {"\\Seen", "mine"}),
            ("+FLAGS ($Bounced other)", {"\\Seen", "mine", "other"}),
            ("-FLAGS ($Delivered mine)", {"\\Seen", "other"}),
            ("FLAGS ($queued again)", {"again"}),
            ("FLAGS (\\Flagged)", {"\\Flagged"}),
            ("FLAGS ()", set()),
            ("-FLAGS ($delivered)", set()),
        ):
            lines = await client.ok(f"STORE 1 {change}")
            told = lines[0].decode()
            assert told.startswith("* 1 FETCH"), lines
            assert true in told, lines
            assert "$Bounced" not in told.title(), lines
            assert await flags(client) == left | {true}, change
        await client.ok("STORE 1 FLAGS.SILENT (silent $Queued)")
        assert await flags(client) == {"silent", true}
        assert (await client.ok("SEARCH KEYWORD $Delivered"))[0] == b"* SEARCH 1"

    with_ana(work)


def test_it_is_followed_wherever_it_goes() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await ana.submits(BOB)
        await client.ok("APPEND Sent", MESSAGE)
        await client.ok("COPY 1 Archive")
        await client.ok("MOVE 1 Trash")
        others = [await ana.reads(box) for box in ("Archive", "Trash")]
        for other in others:
            assert await flags(other) == {"$Queued"}
        gate.set()
        await ana.house.settled()
        for other in others:
            await other.ok("NOOP")
            assert await flags(other) == {"$Delivered"}
        await others[0].ok("STORE 1 +FLAGS (\\Deleted)")
        await others[0].ok("EXPUNGE")
        await client.ok("DELETE Trash")
        left = await ana.house.store.read(lambda tx: tx.value("SELECT count(*) FROM sent_copy"))
        assert left == 0

    attempts = Attempts()
    gate = attempts.gates["remote.example"] = asyncio.Event()
    with_ana(work, attempts=attempts)


def test_a_draft_that_is_moved_into_sent() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads("Drafts")
        await client.ok("APPEND Drafts (\\Draft)", MESSAGE)
        await client.ok("APPEND Drafts", MESSAGE.replace(b"one@", b"two@"))
        await ana.submits(EVA)
        await client.ok("NOOP")
        assert await flags(client) == {"\\Draft"}
        await client.ok("MOVE 1:2 Sent")
        sent = await ana.reads()
        assert await flags(sent) == {"\\Draft", "$Delivered"}
        assert await flags(sent, 2) == set()
        await ana.submits(EVA, message=MESSAGE.replace(b"one@", b"two@"))
        assert await flags(sent, 2) == {"$Delivered"}

    with_ana(work)


def test_what_is_no_copy_of_it() -> None:
    """Another From, another Message-ID, another mailbox; an identity of hers is hers."""

    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE.replace(b"ana@", b"eva@"))
        await client.ok("APPEND Sent", MESSAGE.replace(b"one@", b"two@"))
        await client.ok("APPEND Sent", MESSAGE.replace(b"Ana <ana@mx", b"Pen Name <ana@pen"))
        await client.ok("APPEND Sent", MESSAGE.replace(b"From: ", b"From: eva@mx.example, "))
        await client.ok("APPEND Sent", MESSAGE.replace(b"From: Ana", b"X: Ana"))
        await client.ok("APPEND INBOX", MESSAGE)
        await ana.submits(EVA)
        await client.ok("NOOP")
        assert [await flags(client, n) for n in range(1, 6)] == [
            set(),
            set(),
            {"$Delivered"},
            set(),
            set(),
        ]
        assert await flags(await ana.reads("INBOX")) == set()

    with_ana(work)


def test_somebody_elses_submission_says_nothing() -> None:
    """Eva sends under the same Message-ID."""

    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        talk = Talk(await ana.house.connect(ana.net, "submissions"))
        await talk.begin(tls=True, login=EVA)
        answer = await talk.hand(EVA, [BOB], MESSAGE.replace(b"ana@", b"eva@"))
        assert answer.startswith("250")
        await ana.house.settled()
        assert await flags(client) == set()

    with_ana(work)


def test_sent_again_to_who_failed() -> None:
    """An address that was reached the second time was reached."""

    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(BOB, EVA)
        await ana.house.settled()
        assert await flags(client) == {"$PartlyDelivered"}
        await ana.submits(BOB)
        await ana.house.settled()
        assert await flags(client) == {"$Delivered"}

    with_ana(work, attempts=Attempts(plan={BOB: [GONE, TAKEN]}))


def test_the_copy_of_an_account_that_is_removed() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(BOB)
        id = ana.house.accounts["ana"].id
        await ana.house.store.run(lambda tx: accounts.remove_account(tx, id))
        gate.set()
        await ana.house.settled()
        assert (await ana.house.ledger())[0].endswith("relayed")

    attempts = Attempts()
    gate = attempts.gates["remote.example"] = asyncio.Event()
    with_ana(work, attempts=attempts)
