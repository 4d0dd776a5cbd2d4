"""Reception: a whole installation on port 25 and by LMTP, with policies, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Any

import pytest
from tests.support.whole import CLIENT, ELSEWHERE, HOST, TRUSTED, Talk, Whole, whole

from estafeta.deliver import letting
from estafeta.deliver.limits import QUOTA_LOOK_OCTETS
from estafeta.deliver.policy.change import change, scope_of
from estafeta.deliver.policy.rules import HeaderRule, Rules
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.sim.tls import SimClientTls
from estafeta.store import accounts, knocks
from estafeta.store.admissions import NotLetIn
from estafeta.store.engine import Tx

BOB, EVE = "bob@client.example", "eve@client.example"
ANA, EVA = f"ana@{HOST}", f"eva@{HOST}"
PLAIN = b"Subject: =?utf-8?q?Hola_ma=C3=B1ana?=\r\nFrom: bob@client.example\r\n\r\nhello\r\n"
NO_MOV = Rules(blocked_types=(".mov",))

House = Callable[[Whole, SimNet], Awaitable[Any]]


def with_house(work: House, policies: dict[str, Rules] | None = None, **settings: Any) -> None:
    """policies: by scope: "", a domain or an address. Nothing may go wrong, and all is balanced."""
    settings = {"exempt_networks": [], "tarpit": 0.0} | settings

    async def main() -> None:
        async with whole(queue=False, **settings) as (house, net):
            await house.built.receiving.start()
            for scope, rules in (policies or {}).items():
                await said(house, scope, rules)
            try:
                await work(house, net)
            finally:
                await house.built.receiving.stop()
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines, logged.lines


async def said(house: Whole, scope: str, rules: Rules) -> None:
    where = {"account" if "@" in scope else "domain": scope} if scope else {}

    def unit(tx: Tx) -> None:
        change(tx, scope_of(tx, **where), rules, who="test", now=0)

    await house.store.run(unit)
    await asyncio.sleep(1.1)  # each process looks once a second


def film(name: str = "verano.mov") -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = BOB, "A film"
    message.set_content("see")
    message.add_attachment(
        b"\0\0\0\x14ftypqt  ", maintype="video", subtype="quicktime", filename=name
    )
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


class Caller:
    """Somebody at port 25, or another door."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    @classmethod
    async def at(cls, house: Whole, net: SimNet, door: str = "mx", source: str = CLIENT) -> Caller:
        talk = Talk(await house.connect(net, door, source))
        assert (await talk.reply()).startswith("220")
        hello = "LHLO" if door == "lmtp" else "EHLO"
        assert (await talk.say(f"{hello} client.example")).startswith("250")
        return cls(talk)

    async def rcpt(self, *recipients: str, sender: str = BOB, more: str = "") -> list[str]:
        """The answer to each, in a transaction of their own."""
        await self.talk.say("RSET")
        assert (await self.talk.say(f"MAIL FROM:<{sender}>{more}")).startswith("250")
        return [await self.talk.say(f"RCPT TO:<{each}>") for each in recipients]

    async def data(self, content: bytes) -> str:
        answer = await self.talk.say("DATA")
        if not answer.startswith("354"):
            return answer
        self.talk.stream.write(content)
        return await self.talk.say(".")

    async def hand(
        self, content: bytes, *recipients: str, sender: str = BOB, more: str = ""
    ) -> str:
        """The answer to the message, or to the first RCPT that is refused."""
        for answer in await self.rcpt(*recipients, sender=sender, more=more):
            if not answer.startswith("250"):
                return answer
        return await self.data(content)


async def journal(house: Whole, person: str) -> list[knocks.Knock]:
    await asyncio.sleep(3.5)  # no DNS says who a client is
    await house.built.receiving.journal.flush()
    account = house.accounts[person].id
    return list(await house.store.read(lambda tx: knocks.knocks(tx, account)))


async def let_in(house: Whole, person: str, knock: knocks.Knock) -> None:
    """As the owner of the account does it."""
    receiving = house.built.receiving
    now = int(house.world.clock.now() * 1000)
    id = house.built.ids.next()

    def unit(tx: Tx) -> None:
        account = accounts.account_by_id(tx, house.accounts[person].id)
        assert account is not None
        letting.grant(tx, receiving.book, account, knock.id, now, id=id)

    await house.store.run(unit)


# -- greylisting -----------------------------------------------------------------------------------


def test_a_stranger_comes_again_and_is_known() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        answer = await bob.hand(PLAIN, EVA)
        assert answer == "451 4.7.1 Greylisted: try again in 300 seconds [greylisted]"
        # Who does not want it, gets it.
        assert (await bob.hand(PLAIN, ANA)).startswith("250")
        [row] = await journal(house, "eva")
        assert (row.cause, row.times, row.arrived, row.sender) == ("greylisted", 1, 0, BOB)
        assert row.detail.subject == ""  # nothing was known of the message
        await asyncio.sleep(290)
        assert (await bob.hand(PLAIN, EVA)).startswith("451 4.7.1 Greylisted: try again in ")
        again = await Caller.at(house, net)
        await asyncio.sleep(10)
        assert (await again.hand(PLAIN, EVA)).startswith("250")
        [row] = await journal(house, "eva")
        assert row.times == 2
        assert row.arrived
        assert (await again.hand(PLAIN, EVA)).startswith("250")
        assert len(await house.inbox("eva")) == 2
        assert await journal(house, "ana") == []

    with_house(work, {EVA: Rules(greylist=True)})


def test_the_null_sender_and_exempt_networks_do_not_wait() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.hand(PLAIN, EVA, sender="")).startswith("250")
        assert (await bob.hand(PLAIN, EVA)).startswith("451")
        near = await Caller.at(house, net, source=TRUSTED)
        assert (await near.hand(PLAIN, EVA)).startswith("250")
        lmtp = await Caller.at(house, net, "lmtp")
        assert (await lmtp.hand(PLAIN, EVA)).startswith("250")

    with_house(work, {"": Rules(greylist=True)}, exempt_networks=[f"{TRUSTED}/32"])


def test_a_refusal_speaks_the_language_of_the_domain() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        def spanish(tx: Tx) -> None:
            accounts.set_domain(tx, HOST, language="es")

        await house.store.run(spanish)
        bob = await Caller.at(house, net)
        help = "https://mx.example/ayuda"
        assert await bob.rcpt(f"nadie@{HOST}") == [
            f"550 5.1.1 <nadie@{HOST}>: aqui no existe ese buzon [unknown-user] {help}"
        ]
        assert await bob.rcpt(f"nadie@{HOST}", more=" SMTPUTF8") == [
            f"550 5.1.1 <nadie@{HOST}>: aquí no existe ese buzón [unknown-user] {help}"
        ]
        assert await bob.rcpt(EVA) == [
            f"451 4.7.1 Lista gris: intentelo de nuevo dentro de 300 segundos [greylisted] {help}"
        ]
        assert (await bob.hand(film(), ANA)) == (
            "554 5.7.1 Aqui no se aceptan adjuntos de tipo .mov: verano.mov"
            f" [policy-attachment] {help}"
        )
        # Of somebody else's domain nothing is known.
        assert await bob.rcpt("ana@elsewhere.example") == [
            "550 5.7.1 <ana@elsewhere.example>: we do not relay for you [relay-denied]"
        ]

    with_house(
        work,
        {
            HOST: Rules(help="https://mx.example/ayuda"),
            EVA: Rules(greylist=True),
            ANA: NO_MOV,
        },
    )


# -- what a message holds --------------------------------------------------------------------------


def test_a_film_is_refused_and_let_in_once() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        refused = "554 5.7.1 Attachments of type .mov are not accepted here: verano.mov"
        assert (await bob.hand(film(), EVA)) == f"{refused} [policy-attachment]"
        assert (await bob.hand(PLAIN, EVA)).startswith("250")
        [row] = await journal(house, "eva")
        assert row.cause == "policy-attachment"
        assert row.detail.subject == "A film"
        assert row.detail.finding == "verano.mov"
        await let_in(house, "eva", row)
        # For nobody else, and for no other account.
        assert (await bob.hand(film(), EVA, sender=EVE)).startswith("554")
        assert (await bob.hand(film(), ANA)).startswith("554")
        other = await Caller.at(house, net, source=TRUSTED)  # of the same network
        assert (await other.hand(film(), EVA)).startswith("250")
        assert (await bob.hand(film(), EVA)).startswith("554")
        assert len(await house.inbox("eva")) == 2
        rows = await journal(house, "eva")
        assert {(row.cause, row.sender) for row in rows} == {
            ("policy-attachment", BOB),
            ("policy-attachment", EVE),
        }

    with_house(work, {"": NO_MOV})


def test_one_who_is_let_in_may_name_an_account_twice() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.hand(film(), EVA)).startswith("554")
        [row] = await journal(house, "eva")
        await let_in(house, "eva", row)
        assert (await bob.hand(film(), EVA, f"eva+films@{HOST}", EVA)).startswith("250")
        assert len(await house.inbox("eva")) == 1
        assert (await bob.hand(film(), EVA)).startswith("554")

    with_house(work, {"": NO_MOV})


def test_who_is_refused_after_the_message_has_not_arrived() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert [each[:3] for each in await bob.rcpt(EVA, ANA, more=" PRDR")] == ["451", "250"]
        await asyncio.sleep(301)
        bob = await Caller.at(house, net)
        assert [each[:3] for each in await bob.rcpt(EVA, ANA, more=" PRDR")] == ["250", "250"]
        assert (await bob.data(film())).startswith("353")
        assert (await bob.talk.reply()).startswith("554")
        assert (await bob.talk.reply()).startswith("250")
        assert {row.cause: row.arrived for row in await journal(house, "eva")} == {
            "greylisted": 0,
            "policy-attachment": 0,
        }

    with_house(work, {EVA: Rules(greylist=True, blocked_types=(".mov",))})


def test_what_only_an_administrator_may_stays_out() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.hand(film(), EVA)).startswith("554 5.7.1 Attachments")
        [row] = await journal(house, "eva")
        await let_in(house, "eva", row)
        lottery = film().replace(b"A film", b"A lottery")
        answer = await bob.hand(lottery, EVA)
        assert answer == "554 5.7.1 Message refused by policy: no lotteries [policy]"
        # It was not used up by that.
        assert (await bob.hand(film(), EVA)).startswith("250")

    header = HeaderRule("Subject", "(?i)lottery", "no lotteries")
    with_house(work, {"": Rules(blocked_types=(".mov",), headers=(header,))})


def test_a_pattern_that_would_take_for_ever_takes_no_time() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        subject = b"Subject: " + b"a" * 900 + b"\r\n\r\nx\r\n"
        assert (await bob.hand(subject, EVA)).startswith("250")

    with_house(work, {"": Rules(headers=(HeaderRule("Subject", "^(a+)+$b", ""),))})


def test_one_answer_stands_for_all_so_all_are_judged_alike() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        first, second, third = await bob.rcpt(EVA, ANA, f"small@{HOST}")
        assert first.startswith("250")
        assert second == (
            f"452 4.5.3 <{ANA}>: send this recipient a message of its own [too-many-recipients]"
        )
        assert third.startswith("250")  # its rules are others, and judge what a message holds alike
        assert (await bob.data(film())).startswith("554")
        assert (await bob.hand(film(), ANA)).startswith("250")
        assert await journal(house, "ana") == []

    with_house(
        work,
        {EVA: NO_MOV, f"small@{HOST}": Rules(blocked_types=(".mov",), quota_full="reject")},
    )


@pytest.mark.parametrize("door", ["lmtp", "mx"])
def test_where_each_is_answered_each_is_judged(door: str) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net, door)
        more = " PRDR" if door == "mx" else ""
        answers = await bob.rcpt(EVA, ANA, more=more)
        assert all(each.startswith("250") for each in answers)
        first = await bob.data(film())
        if door == "mx":
            assert first.startswith("353")
            first = await bob.talk.reply()
        assert first.startswith("554 5.7.1 Attachments of type .mov"), first
        assert (await bob.talk.reply()).startswith("250")
        if door == "mx":
            assert (await bob.talk.reply()).startswith("250")
        assert len(await house.inbox("ana")) == 1
        assert await house.inbox("eva") == []
        assert await house.ledger() == [f"{'smtp' if door == 'mx' else door} <{BOB}> {ANA} stored"]
        [row] = await journal(house, "eva")
        assert row.cause == "policy-attachment"

    with_house(work, {EVA: NO_MOV})


# -- size, room, encryption ------------------------------------------------------------------------


def test_size_is_judged_by_what_is_said_and_by_what_comes() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        refused = f"552 5.3.4 <{EVA}>: message too big, the limit is 1000 octets"
        assert await bob.rcpt(EVA, more=" SIZE=1001") == [f"{refused} [message-too-large]"]
        large = PLAIN + b"x" * 990 + b"\r\n"
        assert (await bob.hand(large, EVA)) == f"{refused} [message-too-large]"
        assert (await bob.hand(PLAIN, EVA, more=" SIZE=900")).startswith("250")
        [row] = await journal(house, "eva")
        assert (row.cause, row.times) == ("message-too-large", 2)
        await let_in(house, "eva", row)
        assert (await bob.hand(large, EVA, more=f" SIZE={len(large)}")).startswith("250")
        assert (await bob.hand(large, EVA)).startswith("552")

    with_house(work, {EVA: Rules(size_max=1000)})


def test_a_full_mailbox_defers_or_rejects() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        full, small = f"full@{HOST}", f"small@{HOST}"
        assert await bob.rcpt(full) == [
            f"452 4.2.2 <{full}>: mailbox full, try again later [mailbox-full]"
        ]
        refused = f"552 5.2.2 <{small}>: mailbox full [mailbox-full]"
        assert await bob.rcpt(small, more=" SIZE=5000") == [refused]
        half = PLAIN + (b"x" * 78 + b"\r\n") * 15
        assert (await bob.hand(half, small)).startswith("250")
        assert await bob.rcpt(small, more=" SIZE=1300") == [refused]
        assert (await bob.hand(half, small)) == refused
        rows = {row.cause: (row.times, row.arrived) for row in await journal(house, "small")}
        assert rows == {"mailbox-full": (3, 0)}

    with_house(work, {f"small@{HOST}": Rules(quota_full="reject")})


def test_a_mailbox_with_much_room_is_not_looked_at_again_after_the_message() -> None:
    """A look costs as much as all other policies together; the unit that places it looks anyway."""

    async def work(house: Whole, net: SimNet) -> None:
        reads = 0
        read = house.store.read

        async def counted(unit: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(unit)

        house.store.read = counted  # type: ignore[method-assign]
        looks = []
        for left in (QUOTA_LOOK_OCTETS // 2, QUOTA_LOOK_OCTETS * 2):
            id = house.accounts["ana"].id
            await house.store.run(lambda tx, i=id, q=left: accounts.set_account(tx, i, quota=q))
            caller = await Caller.at(house, net)
            await caller.rcpt(ANA)
            before = reads
            assert (await caller.data(PLAIN)).startswith("250")
            looks.append(reads - before)
        assert looks[0] - looks[1] == 1

    with_house(work)


def test_who_wants_encryption_gets_no_mail_in_the_clear() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        [answer] = await bob.rcpt(EVA)
        assert answer == (
            f"550 5.7.10 <{EVA}>: takes mail over encrypted connections only, say STARTTLS"
            " [encryption-needed]"
        )
        await bob.talk.say("RSET")
        assert (await bob.talk.say("STARTTLS")).startswith("220")
        await bob.talk.stream.start_tls(SimClientTls(verify=False))
        assert (await bob.talk.say("EHLO client.example")).startswith("250")
        assert (await bob.hand(PLAIN, EVA)).startswith("250")
        lmtp = await Caller.at(house, net, "lmtp")
        assert (await lmtp.hand(PLAIN, EVA)).startswith("250")

    with_house(work, {EVA: Rules(tls=True)})


# -- strangers -------------------------------------------------------------------------------------


def test_a_rate_puts_off_and_an_owner_lets_one_in() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.hand(PLAIN, EVA)).startswith("250")
        assert (await bob.hand(PLAIN, EVA)).startswith("250")
        answer = await bob.hand(PLAIN, EVA)
        assert answer == "450 4.7.1 Too many messages: try again in 30 seconds [rate-limited]"
        [row] = await journal(house, "eva")
        assert (row.cause, row.arrived) == ("rate-limited", 0)
        await let_in(house, "eva", row)
        assert (await bob.hand(PLAIN, EVA)).startswith("250")
        assert (await bob.hand(PLAIN, EVA)).startswith("450")
        await asyncio.sleep(31)
        assert (await bob.hand(PLAIN, EVA)).startswith("250")
        [row] = await journal(house, "eva")
        assert row.arrived

    with_house(work, network="2/1m")


def test_lists_of_our_own() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert await bob.rcpt(EVA, sender="x@bad.example") == [
            "554 5.7.1 Mail from bad.example is refused, mx.example lists it [sender-rejected]"
        ]
        trusted = await Caller.at(house, net, source=TRUSTED)
        assert (await trusted.hand(PLAIN, EVA)).startswith("250")  # greylisting does not count
        assert (await bob.hand(PLAIN, ANA, sender="x@bad.example")).startswith("250")
        [row] = await journal(house, "eva")
        assert row.cause == "sender-rejected"

    with_house(
        work,
        {"": Rules(greylist=True), ANA: Rules(lists=False, greylist=False)},
        block_domains=["bad.example"],
        allow_networks=[f"{TRUSTED}/32"],
    )


def test_who_guesses_addresses_learns_nothing_more() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        answers = await bob.rcpt(*(f"guess{n}@{HOST}" for n in range(4)))
        assert [each[:9] for each in answers] == ["550 5.1.1"] * 3 + ["421 4.7.0"]
        again = await Caller.at(house, net)
        # Whoever is there is not told from who is not.
        [there] = await again.rcpt(EVA)
        again = await Caller.at(house, net, source=TRUSTED)
        [not_there] = await again.rcpt(f"guess9@{HOST}")
        assert there == not_there
        await asyncio.sleep(21)
        again = await Caller.at(house, net)
        assert (await again.hand(PLAIN, EVA)).startswith("250")

    with_house(work, unknown_recipients="3/1m")


def test_an_alias_is_noted_for_each_who_stands_behind_it() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.hand(film(), f"team@{HOST}")).startswith("554")
        for person in ("ana", "eva"):
            [row] = await journal(house, person)
            assert row.named == f"team@{HOST}"

    with_house(work, {HOST: NO_MOV})


def test_our_own_people_are_told_at_once_in_their_language() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        def spanish(tx: Tx) -> None:
            accounts.set_account(tx, house.accounts["ana"].id, language="es")

        await house.store.run(spanish)
        talk = Talk(await house.connect(net, "submissions"))
        await talk.begin(tls=True, login=ANA)
        message = film().replace(BOB.encode(), ANA.encode())
        answer = await talk.hand(ANA, [EVA, "bob@remote.example"], message)
        assert answer == (
            "554 5.7.1 Aqui no se aceptan adjuntos de tipo .mov: verano.mov [policy-attachment]"
        )
        assert (await talk.hand(ANA, ["bob@remote.example"], message)).startswith("250")
        assert (await talk.hand(ANA, [f"small@{HOST}"], message)).startswith("250")
        assert await journal(house, "eva") == []  # who is here is asked

    with_house(work, {EVA: NO_MOV})


# -- several recipients ----------------------------------------------------------------------------


def test_an_alias_of_one_is_no_way_round_its_rules() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.hand(film(), f"sales@{HOST}")).startswith("554")
        [row] = await journal(house, "ana")
        assert row.named == f"sales@{HOST}"
        await let_in(house, "ana", row)
        assert (await bob.hand(film(), f"sales@{HOST}")).startswith("250")
        # An address of several is not for one of them to open.
        assert (await bob.hand(film(), f"team@{HOST}", sender=EVE)).startswith("554")
        [row] = [row for row in await journal(house, "ana") if row.sender == EVE]
        with pytest.raises(NotLetIn, match="shared"):
            await let_in(house, "ana", row)

    with_house(work, {HOST: NO_MOV})


def test_a_full_mailbox_keeps_nobody_else_from_a_message() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        small = f"small@{HOST}"
        half = PLAIN + (b"x" * 78 + b"\r\n") * 15
        assert (await bob.hand(half, small)).startswith("250")
        # Beside one with room: taken, and nobody was put off.
        assert (await bob.hand(half, small, ANA)).startswith("250")
        assert await journal(house, "small") == []
        assert await bob.rcpt(small) == [
            f"452 4.2.2 <{small}>: mailbox full, try again later [mailbox-full]"
        ]

    with_house(work)


def test_who_was_told_to_come_alone_is_not_kept_waiting_by_a_full_mailbox() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        small = f"small@{HOST}"
        half = PLAIN + (b"x" * 78 + b"\r\n") * 15
        assert (await bob.hand(half, small)).startswith("250")
        first, second = await bob.rcpt(small, EVA)
        assert (first[:3], second[:9]) == ("250", "452 4.5.3")
        # Else a client that keeps its order would never come to her.
        assert (await bob.data(half)).startswith("250")
        assert (await bob.hand(half, EVA)).startswith("250")

    with_house(work, {EVA: NO_MOV})


def test_who_is_too_late_refuses_nobody_else() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net, "lmtp")
        assert (await bob.hand(film(), EVA)).startswith("554")
        [row] = await journal(house, "eva")
        await let_in(house, "eva", row)
        answers = await bob.rcpt(EVA, ANA)
        assert [each[:3] for each in answers] == ["250", "250"]
        assert (await bob.talk.say("DATA")).startswith("354")
        bob.talk.stream.write(film())

        def used_up(tx: Tx) -> None:
            tx.run("UPDATE admission SET used = 1")

        # Between the look and the unit somebody else's message comes in by it.
        run_before(house, used_up)
        assert (await bob.talk.say(".")).startswith("554 5.7.1 Attachments")
        assert await bob.talk.reply() == (
            f"450 4.2.1 <{ANA}>: mailbox busy, try again later [not-now]"
        )
        rows = [row for row in await journal(house, "eva") if row.cause == "policy-attachment"]
        assert [(row.times, row.detail.subject) for row in rows] == [(2, "A film")]
        assert await journal(house, "ana") == []

    with_house(work, {EVA: NO_MOV})


def run_before(house: Whole, unit: Callable[[Tx], None]) -> None:
    """`unit` is done before the next one, which is the acceptance."""
    inner = house.store.inner
    accept = inner.run

    async def first(work: Any, **given: Any) -> Any:
        inner.run = accept
        await accept(unit)
        return await accept(work, **given)

    inner.run = first


def test_what_one_may_let_in_is_not_anothers_verdict() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        for person, address in (("eva", EVA), ("ana", ANA)):
            assert (await bob.hand(film(), address)).startswith("554")
            [row] = await journal(house, person)
            await let_in(house, person, row)
        await said(house, ANA, Rules(let_in=("greylist",)))
        first, second = await bob.rcpt(EVA, ANA)
        assert (first[:3], second[:9]) == ("250", "452 4.5.3")
        assert (await bob.data(film())).startswith("250")

    with_house(work, {"": NO_MOV})


# -- who can always be reached, and what is always noted -------------------------------------------


def test_postmaster_is_reached_by_whoever_is_refused() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.rcpt(ANA))[0].startswith("550 5.7.10")
        for address in ("postmaster", f"postmaster@{HOST}", f"Postmaster@{HOST}"):
            assert (await bob.hand(PLAIN, address, sender="x@bad.example")).startswith("250")
        assert len(await house.inbox("eva")) == 3

    with_house(work, {"": Rules(greylist=True, tls=True)}, block_domains=["bad.example"])


def test_who_is_disabled_and_what_the_session_refuses_is_noted() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        bob = await Caller.at(house, net)
        assert (await bob.rcpt(f"luis@{HOST}"))[0].startswith("550 5.2.1")
        [row] = await journal(house, "luis")
        assert row.cause == "mailbox-disabled"
        assert (await bob.hand(b"Subject: x\n\nbare\r\n", EVA)).startswith("550 5.5.2")
        [row] = await journal(house, "eva")
        assert row.cause == "malformed-message"

    with_house(work)


def test_who_forges_a_domain_does_not_use_up_what_it_may_send() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        forger = await Caller.at(house, net)
        assert (await forger.hand(PLAIN, EVA)).startswith("250")
        assert (await forger.hand(PLAIN, EVA)).startswith("450")
        other = await Caller.at(house, net, source=ELSEWHERE)
        assert (await other.hand(PLAIN, EVA)).startswith("250")

    with_house(work, sender_domain="1/1h")
