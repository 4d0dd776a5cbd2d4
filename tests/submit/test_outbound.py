"""Outbound: who writes to too many is stopped, what waits is held, both are told, and released."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from tests.support.whole import MESSAGE, TRUSTED, Talk, Whole, whole

from estafeta.office.stopped import StoppedSenders
from estafeta.queue import hand
from estafeta.queue import stopped as queue_stopped
from estafeta.queue.hand import Chosen, Conflict, Hold, Release, Retry
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.store import accounts, mailboxes, stopped
from estafeta.store.buckets import Buckets
from estafeta.store.engine import StoreError, Tx
from estafeta.store.rows import FAULT_HELD
from estafeta.store.stopped import HELD
from estafeta.submit.outbound import Outbound

pytestmark = pytest.mark.usefixtures("each_engine")

ANA = "ana@mx.example"
LETTER = b"From: ana@mx.example\r\nSubject: x\r\n\r\nhello\r\n"


def with_house(work: Callable[[Whole, SimNet], Awaitable[Any]], *, limit: str = "5/1h") -> None:
    async def main() -> None:
        async with whole(queue=False, limit=limit) as (house, net):
            await work(house, net)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


async def logged_in(house: Whole, net: SimNet, who: str = ANA) -> Talk:
    talk = Talk(await house.connect(net, "submissions"))
    await talk.begin(tls=True, login=who)
    return talk


async def send(talk: Talk, *names: str, sender: str = ANA) -> str:
    letter = LETTER.replace(ANA.encode(), sender.encode())
    return await talk.hand(sender, [f"{name}@remote.example" for name in names], letter)


async def exceed(house: Whole, net: SimNet) -> Talk:
    """Five are sent to, the sixth is too many."""
    talk = await logged_in(house, net)
    assert (await send(talk, "a", "b", "c")).startswith("250")
    assert (await send(talk, "d", "e")).startswith("250")
    assert (await talk.say(f"MAIL FROM:<{ANA}>")).startswith("250")
    assert (await talk.say("RCPT TO:<f@remote.example>")).startswith("550 5.7.1 ")
    return talk


async def held(house: Whole) -> list[str]:
    def unit(tx: Tx) -> list[str]:
        return [
            f"{name.partition('@')[0]} {text}".strip()
            for name, text in tx.rows(
                "SELECT r.address, q.held FROM queue q JOIN recipient r"
                " ON r.acceptance = q.acceptance AND r.n = q.n ORDER BY r.address"
            )
        ]

    return await house.store.read(unit)


async def inbox(house: Whole, who: str) -> list[str]:
    """The texts of its INBOX."""

    def unit(tx: Tx) -> list[Any]:
        account = house.accounts[who].id
        box = mailboxes.mailbox_by_name(tx, account, "INBOX")
        assert box is not None
        found = tx.rows(
            "SELECT body FROM message WHERE account = ? AND mailbox = ? ORDER BY uid",
            (account, box.id),
        )
        return [house.built.bodies.content(tx, body) for (body,) in found]

    return [each.read().decode() for each in await house.store.read(unit)]


async def let(house: Whole) -> queue_stopped.Let:
    built = house.built
    return await queue_stopped.let_go(
        house.store,
        house.accounts["ana"].id,
        ids=built.ids,
        clock=house.world.clock,
        who="root",
    )


def test_who_writes_to_too_many_is_stopped_and_what_waits_is_held() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await exceed(house, net)
        assert await held(house) == [f"{name} {HELD}" for name in "abcde"]
        # From then on at MAIL, in this session and any other, at every worker.
        await talk.say("RSET")
        answer = await talk.say(f"MAIL FROM:<{ANA}>")
        assert answer.startswith("550 5.7.1 ")
        assert answer.endswith("[sending-stopped]")
        other = await logged_in(house, net)
        assert (await other.say(f"MAIL FROM:<{ANA}>")).startswith("550 5.7.1 ")
        assert (await other.say("MAIL FROM:<>")).startswith("550 5.7.1 ")
        # Nobody else is.
        eva = await logged_in(house, net, "eva@mx.example")
        assert (await send(eva, "g", sender="eva@mx.example")).startswith("250")
        # What she gets comes in.
        mx = Talk(await house.connect(net))
        await mx.begin()
        assert (await mx.hand("x@client.example", [ANA], MESSAGE)).startswith("250")

    with_house(work)


def test_nobody_can_stop_another() -> None:
    """Only what she submits herself counts: not mail in her name, nor what she gets, nor slips."""

    async def work(house: Whole, net: SimNet) -> None:
        mx = Talk(await house.connect(net))
        await mx.begin()
        for _ in range(8):
            assert (await mx.hand(ANA, ["eva@mx.example"], MESSAGE)).startswith("250")
            assert (await mx.hand("x@client.example", [ANA], MESSAGE)).startswith("250")
        near = Talk(await house.connect(net, "submission", TRUSTED))
        await near.begin()
        for _ in range(8):
            assert (await send(near, "a")).startswith("250")
        talk = await logged_in(house, net)
        assert (await talk.say(f"MAIL FROM:<{ANA}>")).startswith("250")
        for n in range(8):
            assert (await talk.say(f"RCPT TO:<nobody{n}@mx.example>")).startswith("550 5.1.1")
        await talk.say("RSET")
        assert (await send(talk, *"abcde")).startswith("250")
        assert not await house.store.read(stopped.standing)

    with_house(work)


def test_without_a_limit_nobody_is_stopped() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await logged_in(house, net)
        for _ in range(30):
            assert (await send(talk, *"abcdefghij")).startswith("250")

    with_house(work, limit="")


def test_a_transaction_that_was_open_is_not_accepted_any_more() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        open_ = await logged_in(house, net)
        assert (await open_.say(f"MAIL FROM:<{ANA}>")).startswith("250")
        assert (await open_.say("RCPT TO:<z@remote.example>")).startswith("250")
        assert (await open_.say("DATA")).startswith("354")
        await house.store.run(lambda tx: stopped.stop(tx, house.accounts["ana"].id, "5/1h", 1))
        open_.stream.write(LETTER)
        assert (await open_.say(".")).startswith("550 5.7.1 ")
        assert await held(house) == []

    with_house(work)


def test_owner_and_administrator_are_told_once_in_their_languages() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        ana = house.accounts["ana"].id
        await house.store.run(lambda tx: accounts.set_account(tx, ana, language="es"))
        await exceed(house, net)
        teller = StoppedSenders(house.built)
        await teller.look()
        (to_ana,), (to_eva,) = await inbox(house, "ana"), await inbox(house, "eva")
        assert "Content-Language: es" in to_ana
        assert "To: ana@mx.example" in to_ana
        assert "5 en 1h" in to_ana
        assert "5 destinatarios" in to_ana
        assert "Content-Language: en" in to_eva  # the postmaster
        for line in (
            "estafeta queue list --mine ana@mx.example",
            "estafeta account password ana@mx.example",
            "estafeta account release ana@mx.example",
        ):
            assert f"\r\n    {line}\r\n" in to_eva
        assert "5 recipients" in " ".join(to_eva.split())
        for notice in (to_ana, to_eva):
            assert "Auto-Submitted: auto-generated" in notice
        await teller.look()
        await exceed_again(house, net)
        await teller.look()
        assert (len(await inbox(house, "ana")), len(await inbox(house, "eva"))) == (1, 1)

    async def exceed_again(house: Whole, net: SimNet) -> None:
        talk = await logged_in(house, net)
        assert (await talk.say(f"MAIL FROM:<{ANA}>")).startswith("550")

    with_house(work)


def test_it_is_told_by_whoever_comes_after_a_crash() -> None:
    """The worker that stopped it died before the rest was held and anybody told."""

    async def work(house: Whole, net: SimNet) -> None:
        talk = await logged_in(house, net)
        await send(talk, "a", "b")
        await house.store.run(lambda tx: stopped.stop(tx, house.accounts["ana"].id, "5/1h", 1))
        house.store.failing = StoreError("away")
        with pytest.raises(StoreError):
            await StoppedSenders(house.built).look()
        house.store.failing = None
        one, two = StoppedSenders(house.built), StoppedSenders(house.built)
        await one.look()
        await two.look()
        assert await held(house) == [f"a {HELD}", f"b {HELD}"]
        assert len(await inbox(house, "ana")) == 1

    with_house(work)


def test_a_release_lets_go_what_was_held_for_it_and_nothing_else() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await logged_in(house, net)
        assert (await send(talk, "a")).startswith("250")
        hers = await house.built.hand.touch(
            Hold("not today"),
            Chosen(account=house.accounts["ana"].id),
            "ana",
            sender=house.accounts["ana"].id,
        )
        assert hers.counts == {"held": 1}
        assert (await send(talk, "b", "c", "d", "e")).startswith("250")
        assert (await talk.say(f"MAIL FROM:<{ANA}>")).startswith("250")
        assert (await talk.say("RCPT TO:<f@remote.example>")).startswith("550")
        assert await held(house) == ["a not today", *(f"{name} {HELD}" for name in "bcde")]
        assert await let(house) == queue_stopped.Let(True, 4)
        assert await held(house) == ["a not today", *"bcde"]
        # She has as much as at the beginning, also where she had been refused.
        await talk.say("RSET")
        assert (await send(talk, *"ghijk")).startswith("250")
        assert await let(house) == queue_stopped.Let(False, 0)
        assert not await house.store.read(stopped.standing)

    with_house(work)


def test_what_this_process_remembers_stops_nobody() -> None:
    """It knows an empty bucket; another worker's administrator has let the account meanwhile."""

    async def work(house: Whole, net: SimNet) -> None:
        talk = await logged_in(house, net)
        assert (await send(talk, *"abcde")).startswith("250")
        await house.store.run(partial(queue_stopped.let, account=house.accounts["ana"].id))
        assert (await send(talk, *"fghi")).startswith("250")
        assert not await house.store.read(stopped.standing)

    with_house(work)


def test_who_is_let_go_while_all_is_being_held_is_left_alone() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        ana = house.accounts["ana"].id
        talk = await logged_in(house, net)
        for n in range(3):
            assert (await send(talk, *(f"{n}-{m}" for m in range(90)))).startswith("250")
        # Nobody stopped the account, or somebody let it go: nothing is held, and it ends.
        async with asyncio.timeout(60):
            await house.built.outbound.hold_all(ana)
        assert not any(HELD in line for line in await held(house))

    with_house(work, limit="1000/1h")


def test_all_that_waits_is_held_however_much() -> None:
    """Also what went through an alias, what is under way, and what waits for a fault of ours."""

    async def work(house: Whole, net: SimNet) -> None:
        ana = house.accounts["ana"].id
        talk = await logged_in(house, net)
        for n in range(4):
            assert (await send(talk, *(f"{n}-{m}" for m in range(90)))).startswith("250")
        assert (await talk.hand(ANA, ["out@mx.example"], LETTER)).startswith("250")
        await house.store.run(
            lambda tx: tx.run(
                "UPDATE queue SET held = ? WHERE n = 5 AND held = ''", (f"{FAULT_HELD}x y",)
            )
        )
        await house.store.run(
            lambda tx: tx.run("UPDATE queue SET lease = 7, due = due + 60000 WHERE n = 6")
        )
        await house.store.run(lambda tx: stopped.stop(tx, ana, "5/1h", 1))
        await house.built.outbound.hold_all(ana)
        found = await held(house)
        assert len(found) == 361
        assert [line for line in found if HELD not in line] == [f"{n}-6" for n in range(4)]
        wished = await house.store.read(
            lambda tx: tx.value("SELECT COUNT(*) FROM queue WHERE wish <> ''")
        )
        assert wished == 4
        assert (await let(house)).released == 361
        assert not any(HELD in line for line in await held(house))
        assert not await house.store.read(
            lambda tx: tx.value("SELECT COUNT(*) FROM queue WHERE wish <> ''")
        )

    with_house(work, limit="1000/1h")


def test_a_stopped_account_lets_none_of_its_mail_go_by_its_token() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        ana = house.accounts["ana"].id
        talk = await logged_in(house, net)
        assert (await send(talk, "a")).startswith("250")
        touch = partial(house.built.hand.touch, chosen=Chosen(account=ana), who="ana", sender=ana)
        await touch(Hold("mine"))
        await house.store.run(lambda tx: stopped.stop(tx, ana, "5/1h", 1))
        for act in (Release(), Retry()):
            with pytest.raises(Conflict, match="administrator"):
                await touch(act)
        number = await house.store.read(lambda tx: tx.value("SELECT acceptance FROM queue"))
        with pytest.raises(Conflict, match="administrator"):
            await house.built.hand.correct(
                number, [("a@remote.example", "b@remote.example")], "ana", account=ana, sender=ana
            )
        assert await held(house) == ["a mine"]
        await touch(hand.Cancel())
        assert await held(house) == []

    with_house(work)


def test_two_processes_stop_it_once_and_the_limit_is_one() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        ana = house.accounts["ana"]
        built = house.built
        others = [
            Outbound(
                house.store,
                Buckets(house.store, house.world.clock, built.meter),
                ids=built.ids,
                clock=house.world.clock,
                setting=built.outbound.setting,
                meter=built.meter,
            )
            for _ in range(3)
        ]
        taken = 0
        for _ in range(20):
            for each in others:
                if await each.recipient(ana) is None:
                    taken += 1
        assert taken == 5  # slices of one: each take is merged
        assert len(await house.store.read(stopped.standing)) == 1

    with_house(work)


def test_a_store_that_is_away_stops_nobody() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        ana = house.accounts["ana"]
        outbound = house.built.outbound
        for _ in range(5):
            assert await outbound.recipient(ana) is None
        house.store.failing = StoreError("away")
        refused = await outbound.recipient(ana)
        assert refused is not None
        assert refused.code == 450
        house.store.failing = None
        assert not await house.store.read(stopped.standing)

    with_house(work)


def test_an_account_that_goes_takes_its_stop_with_it() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        await exceed(house, net)
        await house.store.run(lambda tx: accounts.remove_account(tx, house.accounts["ana"].id))
        assert not await house.store.read(stopped.standing)
        await StoppedSenders(house.built).look()
        assert await inbox(house, "eva") == []

    with_house(work)
