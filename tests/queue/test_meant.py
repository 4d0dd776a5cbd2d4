"""Meant: a return names the address that was probably meant, where that gives nobody away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from typing import Any

import msgspec
import pytest
from tests.support.whole import Attempts, Talk, Whole, whole

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Outcome, Refused, Reply
from estafeta.queue.limits import MEANT_INLINE_MAX, MEANT_MAX
from estafeta.queue.meant import meant
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.store import accounts
from estafeta.store.engine import StoreUncertain, Tx
from estafeta.store.rows import Acceptance

pytestmark = pytest.mark.usefixtures("each_engine")

GOOD, TYPED = "amelia@sudominio.example", "amelia@sudomenio.example"
NOWHERE = Refused(Reply(550, "5.1.2", "domain does not exist"), "domain-not-found")
NO_MX = Deferred(Reply(451, "4.4.4", "no mail server"), "no-mail-host")
UNKNOWN = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.sudominio.example")
FULL = Refused(Reply(552, "5.2.2", "full"), "mailbox-full", "mx.sudominio.example")
LETTER = b"From: %b\r\nSubject: hello\r\n\r\nhello\r\n"


def play(work: Callable[[Whole, SimNet], Awaitable[Any]], **plan: list[Outcome]) -> None:
    names = {"typed": TYPED, "person": "amelai@sudominio.example"}
    attempts = Attempts(plan={names.get(name, name): each for name, each in plan.items()})

    async def main() -> None:
        async with whole(attempts=attempts) as (house, net):
            await asyncio.sleep(0.1)
            await work(house, net)

    run(main())


async def send(house: Whole, net: SimNet, *to: str, sender: str = "ana@mx.example") -> None:
    talk = Talk(await house.connect(net, "submissions"))
    await talk.begin(tls=True, login=sender)
    assert (await talk.hand(sender, to, LETTER % sender.encode())).startswith("250")
    await house.settled(400)


def bounce_of(letter: bytes) -> tuple[str, str, list[dict[str, Any]]]:
    """Plain text, HTML, and what the JSON says of recipients."""
    report = message_from_bytes(letter, policy=policy.default)
    # The message itself comes back at the end.
    parts = {part.get_content_type(): part for part in reversed(list(report.walk()))}
    data = msgspec.json.decode(parts["application/json"].get_payload(decode=True))
    texts = [" ".join(parts[f"text/{kind}"].get_content().split()) for kind in ("plain", "html")]
    return texts[0], texts[1], data["recipients"]


def test_a_return_names_what_was_meant() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        await send(house, net, GOOD)
        await send(house, net, TYPED)
        [letter] = await house.inbox("ana")
        text, html, [recipient] = bounce_of(letter)
        assert f"Did you mean {GOOD}?" in text
        assert f"Did you mean {GOOD}?" in html
        assert recipient["suggestion"] == GOOD
        [detail] = await house.store.read(
            lambda tx: [
                row[0]
                for row in tx.rows("SELECT detail FROM event WHERE kind = 'attempt'")
                if "meant" in row[0]
            ]
        )
        assert msgspec.json.decode(detail)["meant"] == [GOOD]

    play(work, typed=[NOWHERE])


def test_in_the_senders_language() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        ana = house.accounts["ana"].id
        await house.store.run(lambda tx: accounts.set_account(tx, ana, language="es"))
        await send(house, net, GOOD)
        await send(house, net, TYPED)
        [letter] = await house.inbox("ana")
        text, _, _ = bounce_of(letter)
        assert f"¿Quiso decir {GOOD}?" in text

    play(work, typed=[NOWHERE])


@pytest.mark.parametrize("outcome", [NO_MX, UNKNOWN])
def test_also_where_it_was_tried_for_long_and_for_people(outcome: Outcome) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        await send(house, net, GOOD)
        await send(house, net, TYPED if outcome is NO_MX else "amelai@sudominio.example")
        [letter] = await house.inbox("ana")
        assert bounce_of(letter)[2][0]["suggestion"] == GOOD

    play(work, typed=[outcome], person=[outcome])


def test_nothing_is_named_to_who_has_not_written_there() -> None:
    """Eva wrote to Amelia; that is not Ana's to know."""

    async def work(house: Whole, net: SimNet) -> None:
        await send(house, net, GOOD, sender="eva@mx.example")
        await send(house, net, TYPED, "amelai@sudominio.example")
        letters = await house.inbox("ana")
        assert letters
        for letter in letters:
            assert all("suggestion" not in each for each in bounce_of(letter)[2])

    play(work, typed=[NOWHERE], person=[UNKNOWN])


# Who is looked up for -----------------------------------------------------------------------


def asked(
    outcome: Outcome, address: str = "bea@mx.exampel", *, orcpt: str = "", **acceptance: Any
) -> tuple[str, ...]:
    found: list[Any] = []

    async def main() -> None:
        async with whole(queue=False) as (house, _):
            known = Acceptance(1, 1, "submission", "ana@mx.example", 1, 1, 1)
            known = msgspec.structs.replace(known, **acceptance)
            found.append(
                await meant(
                    house.store,
                    house.world.cpu,
                    known,
                    [Recipient(address, orcpt=orcpt), Recipient("x@y.example")],
                    [outcome, FULL],
                )
            )

    run(main())
    return tuple(found[0])


def test_our_domains_are_named_to_everybody_but_not_for_what_stands_behind_an_alias() -> None:
    assert asked(NOWHERE) == ("bea@mx.example", "")
    assert asked(NOWHERE, orcpt="rfc822;bea@mx.exampel") == ("bea@mx.example", "")
    assert asked(NOWHERE, origin="alias") == ()
    assert asked(NOWHERE, orcpt="rfc822;team@mx.example") == ()
    assert asked(NOWHERE, reverse_path="") == ()


def test_our_people_are_named_to_nobody() -> None:
    assert asked(UNKNOWN, "eva@mx.exampel") == ()
    assert asked(UNKNOWN, "luiss@mx.example", account=1) == ("", "")


def test_other_refusals_are_no_slips() -> None:
    assert asked(FULL) == ()


def test_a_store_that_cannot_be_read_holds_up_no_return() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        original, failing = house.store.read, []

        async def read(unit: Any) -> Any:
            if "meant" in getattr(unit, "__qualname__", "") and not failing:
                failing.append(unit)
                raise StoreUncertain("away")
            return await original(unit)

        house.store.read = read  # type: ignore[method-assign]
        await send(house, net, TYPED)
        assert failing
        assert len(await house.inbox("ana")) == 1

    play(work, typed=[NOWHERE])


def test_the_ledger_is_not_asked_where_all_arrived() -> None:
    def forbidden(tx: Tx) -> None:
        raise AssertionError

    async def main() -> None:
        async with whole(queue=False) as (house, _):
            house.store.read = forbidden  # type: ignore[assignment, method-assign]
            known = Acceptance(1, 1, "submission", "ana@mx.example", 1, 1, 1)
            found = await meant(
                house.store, house.world.cpu, known, [Recipient("x@y.example")], [FULL]
            )
            assert found == ()

    run(main())


def test_of_many_recipients_some_are_looked_up_and_not_on_the_loop() -> None:
    elsewhere: list[int] = []

    class Apart:
        async def apart(self, work: Any, *given: Any) -> Any:
            elsewhere.append(len(given[1]) + len(given[2]))
            return work(*given)

    async def main() -> None:
        async with whole(queue=False) as (house, _):
            many = MEANT_INLINE_MAX

            def domains(tx: Tx) -> None:
                for n in range(many):
                    accounts.add_domain(tx, f"d{n}.example", 0)

            await house.store.run(domains)
            known = Acceptance(1, 1, "submission", "ana@mx.example", 1, 1, 1)
            to = [Recipient(f"{n}@mx.exampel") for n in range(MEANT_MAX + 5)]
            named = await meant(house.store, Apart(), known, to, [NOWHERE] * len(to))  # type: ignore[arg-type]
            assert sum(map(bool, named)) == MEANT_MAX

    run(main())
    assert elsewhere
