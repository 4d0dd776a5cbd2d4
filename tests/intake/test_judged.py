"""Judged: verdicts on a whole message, and units of others, as they are answered and kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.support.whole import MESSAGE, Talk, Whole, whole

from estafeta.deliver.inbound import InboundRole
from estafeta.intake.answers import last_word, tellable
from estafeta.intake.prepared import RefusedInUnit
from estafeta.mail.outcome import Reply
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.store.engine import Tx
from estafeta.wire import replies

pytestmark = pytest.mark.usefixtures("each_engine")

ANA, EVA = "ana@mx.example", "eva@mx.example"
FULL = replies.MAILBOX_FULL(address=ANA)
GONE_FULL = replies.MAILBOX_FULL_FOR_GOOD(address=EVA)
MOVIE = replies.ATTACHMENT_TYPE(type=".mov", name="a.mov")
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 400

Verdicts = Sequence[Reply | None]


def with_house(work: Callable[[Whole, SimNet], Awaitable[Any]], **how: Any) -> None:
    async def main() -> None:
        async with whole(queue=False, **how) as (house, net):
            await work(house, net)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert not logged.lines


def judging(
    monkeypatch: pytest.MonkeyPatch,
    verdicts: Verdicts,
    unit: Callable[[Tx], None] | None = None,
) -> list[int]:
    """Inbound roles judge so. Gives the sizes of what they were asked about."""
    sizes: list[int] = []

    async def judge(self: Any, client: Any, transaction: Any, body: Any) -> Verdicts:
        sizes.append(body.size)
        if unit is not None:
            transaction.units.append(unit)
        return verdicts

    monkeypatch.setattr(InboundRole, "judge", judge)
    return sizes


async def handed(
    house: Whole, net: SimNet, *, prdr: bool = False, lmtp: bool = False, content: bytes = MESSAGE
) -> list[str]:
    """What was said of a message to Ana and Eva."""
    talk = Talk(await house.connect(net, "lmtp" if lmtp else "mx"))
    await talk.reply()
    await talk.say("LHLO me" if lmtp else "EHLO me")
    await talk.say("MAIL FROM:<bob@b.example>" + " PRDR" * prdr)
    for address in (ANA, EVA):
        assert (await talk.say(f"RCPT TO:<{address}>")).startswith("250")
    assert (await talk.say("DATA")).startswith("354")
    talk.stream.write(content + b".\r\nQUIT\r\n")
    answers = []
    while not (answer := await talk.reply()).startswith("221"):
        answers.append(answer)
    return answers


def codes(answers: list[str]) -> str:
    return " ".join(answer[:3] for answer in answers)


@pytest.mark.parametrize(
    ("verdicts", "plain", "lmtp", "prdr", "stored"),
    [
        ((), "250", "250 250", "353 250 250 250", "ana eva"),
        ((None, None), "250", "250 250", "353 250 250 250", "ana eva"),
        ((MOVIE, MOVIE), "554", "554 554", "353 554 554 554", ""),
        ((MOVIE, None), "554", "554 250", "353 554 250 250", "eva"),
        ((FULL, None), "250", "452 250", "353 452 250 250", "eva"),
        ((FULL, GONE_FULL), "452", "452 552", "353 452 552 450", ""),
        ((GONE_FULL, GONE_FULL), "552", "552 552", "353 552 552 554", ""),
        ((FULL, MOVIE), "554", "452 554", "353 452 554 450", ""),
    ],
)
@pytest.mark.parametrize("content", [MESSAGE, LARGE], ids=["small", "large"])
def test_as_each_may_be_told(
    monkeypatch: pytest.MonkeyPatch,
    verdicts: Verdicts,
    plain: str,
    lmtp: str,
    prdr: str,
    stored: str,
    content: bytes,
) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        for said, how in ((plain, {}), (lmtp, {"lmtp": True}), (prdr, {"prdr": True})):
            before = {name: len(await house.inbox(name)) for name in ("ana", "eva")}
            answers = await handed(house, net, content=content, **how)
            assert codes(answers) == said
            came = {name: len(await house.inbox(name)) - before[name] for name in before}
            # One answer for all: who alone is full is not told, and keeps nobody from it.
            kept = stored if how else ("ana eva" if said == "250" else "")
            assert " ".join(name for name, count in came.items() if count) == kept
            assert set(came.values()) <= {0, 1}
        assert len(sizes) == 3
        assert min(sizes) > len(content)  # with Received

    sizes = judging(monkeypatch, verdicts)
    with_house(work)


def test_the_words_of_each_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        follow, ana, eva, last = await handed(house, net, prdr=True)
        assert follow == "353 An answer for each recipient follows, in the order of RCPT"
        assert ana == str(MOVIE)
        assert eva.startswith("250 2.0.0 <eva@mx.example>: message accepted, queue id ")
        assert last == f"250 2.0.0 Message accepted, queue id {eva.rpartition(' ')[2]}"

    judging(monkeypatch, (MOVIE, None))
    with_house(work)


@pytest.mark.parametrize("how", [{}, {"lmtp": True}, {"prdr": True}])
def test_a_unit_of_others_stands_and_falls_with_the_acceptance(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    def unit(tx: Tx) -> None:
        # The acceptance is there already.
        assert tx.row("SELECT count(*) FROM acceptance")[0] == len(done) + 1
        tx.run("UPDATE account SET name = 'seen' WHERE address = ?", (ANA,))
        if refusing:
            raise RefusedInUnit(replies.VERDICT_UNAVAILABLE)

    async def name(house: Whole) -> str:
        row = await house.store.read(
            lambda tx: tx.row("SELECT name FROM account WHERE address = ?", (ANA,))
        )
        return str(row[0])

    async def work(house: Whole, net: SimNet) -> None:
        said = codes(await handed(house, net, content=LARGE, **how)).split()
        assert set(said) <= {"451", "353", "450"}
        assert await name(house) == ""
        assert await house.ledger() == []
        refusing.clear()
        assert codes(await handed(house, net, **how)).endswith("250")
        assert await name(house) == "seen"
        assert len(await house.ledger()) == 2

    done: list[int] = []
    refusing = [True]
    judging(monkeypatch, (), unit)
    with_house(work)


def test_prdr_is_not_offered_where_it_is_off() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = Talk(await house.connect(net))
        await talk.begin()
        assert (await talk.say("MAIL FROM:<b@b.example> PRDR")).startswith("555")

    with_house(work, prdr=False)


def test_what_can_be_told() -> None:
    assert tellable((), each=False) == ()
    assert tellable((FULL, MOVIE, None), each=True) == (FULL, MOVIE, None)
    assert list(tellable((FULL, MOVIE, None), each=False)) == [MOVIE] * 3
    assert list(tellable((GONE_FULL, FULL), each=False)) == [FULL] * 2
    assert not any(tellable((GONE_FULL, None), each=False))


def test_the_last_word_takes_no_hope_from_anybody() -> None:
    assert last_word(1, [FULL, replies.OK]).code == 250
    assert last_word(1, [MOVIE, GONE_FULL]).code == 554
    assert last_word(1, [MOVIE, FULL]).code == 450
