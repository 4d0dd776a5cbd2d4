"""The journey of a sent message in any IMAP client: keywords on the copies its sender has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.intake.test_claims import arrives, dsn
from tests.read.rig import Client
from tests.support.whole import PASSWORD, Attempts, Report, Talk, Whole, whole

from estafeta.mail.outcome import Deferred, Delivered, Refused, Reply
from estafeta.office.journey import tell
from estafeta.office.story import read_story
from estafeta.queue.hand import Cancel, Chosen
from estafeta.queue.handling import Hand
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.sim.tls import SimClientTls
from estafeta.store import accounts, mailboxes
from estafeta.store.engine import Tx
from estafeta.store.ids import parse_queue_id

pytestmark = pytest.mark.usefixtures("each_engine")

ANA, EVA, BOB, CARL = (
    "ana@mx.example",
    "eva@mx.example",
    "bob@remote.example",
    "carl@other.example",
)
MESSAGE = b"From: Ana <ana@mx.example>\r\nMessage-ID: <one@client.example>\r\n\r\nhello\r\n"
BUSY = Deferred(Reply(451, "4.3.0", "busy"), "server-busy")
GONE = Refused(Reply(550, "5.1.1", "nobody"), "unknown-user")
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), "mx.remote.example")
SOON = 2.0
"""Seconds within which a client must have been told."""


class Ana:
    """She submits and reads."""

    def __init__(self, house: Whole, net: SimNet) -> None:
        self.house = house
        self.net = net

    async def reads(self, mailbox: str = "Sent") -> Client:
        stream = await self.house.connect(self.net, "imaps")
        await stream.start_tls(SimClientTls(verify=False))
        client = Client(stream)  # type: ignore[arg-type]
        assert (await client.line()).startswith(b"* OK")
        await client.ok(f'LOGIN {ANA} "{PASSWORD}"')
        await client.ok(f"SELECT {mailbox}")
        return client

    async def submits(self, *recipients: str, message: bytes = MESSAGE) -> str:
        talk = Talk(await self.house.connect(self.net, "submissions"))
        await talk.begin(tls=True, login=ANA)
        answer = await talk.hand(ANA, recipients, message)
        assert answer.startswith("250"), answer
        await talk.say("QUIT")
        return answer

    async def saves_sent(self) -> None:
        id = self.house.accounts["ana"].id
        await self.house.store.run(lambda tx: accounts.set_account(tx, id, save_sent=True))


def with_ana(work: Callable[[Ana], Awaitable[Any]], **how: Any) -> None:
    async def main() -> None:
        async with whole(**how) as (house, net):
            await work(Ana(house, net))
            await house.balanced()

    with quiet():
        run(main())


async def flags(client: Client, number: int = 1) -> set[str]:
    """System flags and keywords, without \\Recent."""
    line = (await client.ok(f"FETCH {number} FLAGS"))[0]
    return set(line.partition(b"FLAGS (")[2].rstrip(b")").decode().split()) - {"\\Recent"}


async def heard(client: Client, keyword: str, seconds: float = SOON) -> None:
    """In IDLE, that the first message bears `keyword` and none other of ours."""
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        try:
            line = await asyncio.wait_for(client.line(), 1)
        except TimeoutError:
            continue
        if line.startswith(b"* 1 FETCH"):
            told = [word.strip("()") for word in line.decode().split() if "$" in word]
            assert told == [keyword], line
            return
    raise AssertionError(f"{keyword} was not told")


async def idles(client: Client) -> None:
    client.send(b"i IDLE\r\n")
    assert (await client.line()).startswith(b"+")


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


# save_sent -------------------------------------------------------------------------------------


async def whole_message(client: Client, number: int = 1) -> bytes:
    (line, _) = await client.ok(f"FETCH {number} BODY.PEEK[]")
    return line.partition(b"}\r\n")[2].rstrip(b")")


def test_the_server_files_the_copy() -> None:
    written = MESSAGE.replace(b"Message-ID", b"Bcc: Carl <carl@other.example>\r\nMessage-ID")

    async def work(ana: Ana) -> None:
        await ana.submits(EVA, message=MESSAGE.replace(b"one@", b"zero@"))
        client = await ana.reads()
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH"  # off, unless asked for
        await ana.saves_sent()
        await ana.submits(EVA, CARL, message=written)
        await ana.house.settled()
        await client.ok("NOOP")
        assert await flags(client) == {"\\Seen", "$Delivered"}
        copy = await whole_message(client)
        assert copy.startswith(b"Bcc: Carl <carl@other.example>\r\nReceived: ")
        assert copy.count(b"Bcc:") == 1
        assert copy.endswith(b"\r\n\r\nhello\r\n")
        (line, _) = await client.ok("FETCH 1 (ENVELOPE RFC822.SIZE)")
        assert b'(("Carl" NIL "carl" "other.example"))' in line
        assert b"RFC822.SIZE %d" % len(copy) in line
        assert b"Bcc" not in (await ana.house.inbox("eva"))[-1]
        assert all(b"Bcc" not in content for _, _, content in ana.house.attempts.made)

    with_ana(work)


def test_who_got_a_blind_copy_is_told_by_the_envelope() -> None:
    """Of a client that keeps Bcc to itself."""
    message = MESSAGE.replace(b"Message-ID", b"To: Eva <EVA@mx.example>\r\nMessage-ID")

    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA, BOB, CARL, message=message)
        copy = await whole_message(await ana.reads())
        assert copy.startswith(b"Bcc: bob@remote.example, carl@other.example\r\n")

    with_ana(work)


@pytest.mark.parametrize(
    "appended",
    [
        MESSAGE,
        MESSAGE.removesuffix(b"\r\n"),
        MESSAGE.replace(b"Message-ID", b"Bcc: bob@remote.example\r\nMessage-ID"),
    ],
)
def test_a_client_appends_the_same(appended: bytes) -> None:
    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA)
        client = await ana.reads()
        before = await whole_message(client)
        (*_, answer) = await client.ok("APPEND Sent (\\Seen \\Answered mine $Bounced)", appended)
        (uid, _) = await client.ok("FETCH 1 UID")
        assert answer.split()[3].rstrip(b"]") == uid.split()[-1].rstrip(b")")
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"
        assert await whole_message(client) == before
        assert await flags(client) == {"\\Seen", "\\Answered", "mine", "$Delivered"}

    with_ana(work)


@pytest.mark.parametrize(
    ("appended", "wait"),
    [
        (MESSAGE.replace(b"hello", b"hallo"), 0),
        (MESSAGE.replace(b"hello", b"hello, and more"), 0),
        (MESSAGE.replace(b"hello\r\n", b""), 0),
        (MESSAGE.replace(b"Message-ID", b"Subject: x\r\nMessage-ID"), 0),
        (MESSAGE.replace(b"Ana <ana@mx.example>", b"ana@mx.example"), 0),
        (MESSAGE, 301),
    ],
)
def test_a_client_appends_another(appended: bytes, wait: int) -> None:
    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA)
        await asyncio.sleep(wait)
        client = await ana.reads()
        await client.ok("APPEND Sent", appended)
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1 2"
        assert await flags(client, 2) == {"$Delivered"}

    with_ana(work)


def test_the_client_was_faster() -> None:
    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(EVA)
        await ana.submits(EVA)  # once more
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"
        assert await flags(client) == {"$Delivered"}

    with_ana(work)


def test_a_large_message_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    large = MESSAGE + b"".join(b"line %d of many\r\n" % n for n in range(40_000))

    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA, message=large)
        client = await ana.reads()
        await client.ok("APPEND Sent", large)
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"
        await client.ok("APPEND Sent", large[:-3] + b"!\r\n")
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1 2"

    with_ana(work)


@pytest.mark.parametrize("there", ["", "Sent"])
def test_where_there_is_no_sent(there: str) -> None:
    """It is made; one of that name becomes it."""

    async def work(ana: Ana) -> None:
        id = ana.house.accounts["ana"].id
        await ana.house.store.run(lambda tx: mailboxes.delete(tx, id, "Sent"))
        if there:
            await ana.house.store.run(lambda tx: mailboxes.create(tx, id, there))
        await ana.saves_sent()
        await ana.submits(EVA)
        client = await ana.reads("Sent")
        assert await flags(client) == {"\\Seen", "$Delivered"}
        listed = (await client.ok('LIST "" Sent'))[0]
        assert b"\\Sent" in listed

    with_ana(work)


def test_an_account_without_room_sends_all_the_same() -> None:
    async def work(ana: Ana) -> None:
        id = ana.house.accounts["ana"].id
        await ana.saves_sent()
        await ana.submits(EVA, message=MESSAGE + b"x" * 500 + b"\r\n")
        await ana.house.store.run(lambda tx: accounts.set_account(tx, id, quota=500))
        await ana.submits(EVA, message=MESSAGE.replace(b"one@", b"two@"))
        client = await ana.reads()
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"

    with_ana(work)


# The hand of operators -------------------------------------------------------------------------


def hand_of(house: Whole) -> Hand:
    return Hand(
        house.store,  # type: ignore[arg-type]
        ids=house.built.ids,
        clock=house.world.clock,
        bodies=house.built.bodies,
        acceptor=house.acceptor,
    )


def test_what_an_operator_does_is_told() -> None:
    async def work(ana: Ana) -> None:
        hand = hand_of(ana.house)
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        answer = await ana.submits(BOB, EVA)
        acceptance = parse_queue_id(answer.split()[-1])
        await asyncio.sleep(1)
        assert await flags(client) == {"$Delayed"}
        await idles(client)
        await hand.touch(Cancel(), Chosen(acceptance=acceptance, addresses=(BOB,)), "op")
        await heard(client, "$PartlyDelivered")
        await hand.correct(acceptance, [(BOB, CARL)], "op")
        await heard(client, "$Queued")
        await heard(client, "$Delivered")

    with_ana(work, attempts=Attempts(plan={BOB: [BUSY]}))


# Reports from outside, and the trace ------------------------------------------------------------


def test_a_wish_that_is_granted_where_no_host_had_time_is_told() -> None:
    class Slow(Attempts):
        async def attempt(self, destination: str, envelope: Any, content: Any, sent: Any) -> Any:
            await asyncio.sleep(5)
            many = len(envelope.recipients)
            return Report([BUSY] * many, untried=True, blocked=["mx.remote.example"])

    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(BOB)
        await asyncio.sleep(1)
        await hand_of(ana.house).touch(Cancel(), Chosen(addresses=(BOB,)), "op")
        await asyncio.sleep(20)
        assert await flags(await ana.reads()) == {"$Bounced", "\\Seen"}

    with_ana(work, attempts=Slow())


def test_a_report_that_our_token_proves_moves_it() -> None:
    """The fate stays: the next server took it. One without a token is a claim and no more."""

    async def work(ana: Ana) -> None:
        house = ana.house
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(BOB, CARL)
        await house.settled()
        assert await flags(client) == {"$Delivered"}
        envid = next(each.envid for _, each, _ in house.attempts.made if BOB in _to(each))
        await arrives(house, ana.net, dsn(BOB, returned="<one@client.example>"))
        assert await flags(client) == {"$Delivered"}
        await arrives(house, ana.net, dsn(BOB, envid=envid, action="delayed"))
        assert await flags(client) == {"$Delivered"}
        await idles(client)
        await arrives(house, ana.net, dsn(BOB, envid=envid))
        await heard(client, "$PartlyDelivered")
        assert (await house.ledger())[0].endswith("relayed")
        await arrives(house, ana.net, dsn(BOB, envid=envid, action="delivered"))
        await heard(client, "$Delivered")

    with_ana(work)


def _to(envelope: Any) -> list[str]:
    return [recipient.address for recipient in envelope.recipients]


def test_the_trace_tells_what_the_copies_say() -> None:
    async def work(ana: Ana) -> None:
        client = await ana.reads()
        answer = await ana.submits(BOB, "team@mx.example")
        id = parse_queue_id(answer.split()[-1])

        async def story() -> Any:
            bodies = ana.house.built.bodies
            return await ana.house.store.read(lambda tx: read_story(tx, bodies, id))

        before = tell(await story(), "en")
        assert before.tracker == "$Queued"
        assert not any("copy" in line for line in before.steps[2].lines)
        await client.ok("APPEND Sent", MESSAGE)
        await client.ok("COPY 1 Archive")
        await client.ok("COPY 1 Archive")
        gate.set()
        await ana.house.settled()
        after = tell(await story(), "es")
        assert after.tracker == "$Delivered"
        assert after.steps[2].lines[-2:] == (
            "la copia del remitente en Sent dice $Delivered",
            "la copia del remitente en Archive dice $Delivered",
        )
        (child,) = (await story()).known.children
        bodies = ana.house.built.bodies
        below = await ana.house.store.read(lambda tx: read_story(tx, bodies, child.id))
        assert (below.tracker, below.copies) == ("$Delivered", ())

    attempts = Attempts()
    gate = attempts.gates["remote.example"] = asyncio.Event()
    with_ana(work, attempts=attempts)
