"""Letting in: who is known again on port 25, and who only says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import TEXT, Stand, with_stand

from estafeta.deliver.journal import Journal, Knock
from estafeta.deliver.letting import admitted, grant, lets_in, used
from estafeta.deliver.policy.book import Book, write_rules
from estafeta.deliver.policy.rules import Rules
from estafeta.deliver.visitor import Visitor
from estafeta.intake.prepared import RefusedInUnit
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.store import accounts, admissions, bodies, knocks, ledger, messages, policies
from estafeta.store.admissions import Admission, NotLetIn
from estafeta.store.engine import Tx
from estafeta.store.rows import Acceptance, Stored

pytestmark = pytest.mark.usefixtures("each_engine")

REFUSAL = Reply(554, "5.7.1", "Attachments of type .mov are not accepted here")
THEIRS = Visitor("192.0.2.7", "192.0.2.0/24", "mx.mail.example", "mail.example")


class Case:
    """ana, whose journal tells of one who came from `visitor` as `sender`."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    async def begin(self, visitor: Visitor, sender: str, cause: str = "greylisted") -> None:
        stand = self.stand
        self.ana = await stand.account()
        journal = Journal(stand.store, stand.clock, stand.ids)
        journal.note(
            Knock(
                account=self.ana,
                who=visitor.who,
                network=visitor.network,
                organisation=visitor.organisation,
                sender=sender,
                named="ana@a.example",
                cause=cause,
                reply=str(REFUSAL),
                hello="mx",
                aligned=visitor.aligned(sender.rpartition("@")[2]),
            )
        )
        await journal.flush()
        (row,) = await stand.read(lambda tx: knocks.knocks(tx, self.ana))
        self.row = row.id

    async def say(self, scope: str, **rules: object) -> None:
        text = write_rules(Rules(**rules))  # type: ignore[arg-type]
        await self.stand.run(lambda tx: policies.put(tx, scope, text, "test", self.stand.clock.ms))

    async def grant(self) -> Admission:
        stand, id = self.stand, self.stand.ids.next()
        ana = await stand.read(lambda tx: accounts.account_by_id(tx, self.ana))
        book = Book(stand.clock)
        made: Admission = await stand.run(
            lambda tx: grant(tx, book, ana, self.row, stand.clock.ms, id=id)
        )
        return made

    async def admitted(self, visitor: Visitor, sender: str) -> Admission | None:
        found: Admission | None = await self.stand.read(
            lambda tx: admitted(tx, self.ana, visitor, sender, self.stand.clock.ms)
        )
        return found


def with_case(folder: Path, work: Callable[[Case], Awaitable[None]]) -> None:
    with_stand(folder, lambda stand: work(Case(stand)))


def test_the_same_sender_is_known_again_and_whoever_only_says_so_is_not(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.begin(THEIRS, "prvs=1234abcdef=maria@x.example")
        made = await case.grant()
        other_network = Visitor("198.51.100.7", "198.51.100.0/24")
        assert await case.admitted(THEIRS, "prvs=9876abcdef=Maria@x.example") == made
        assert await case.admitted(Visitor("192.0.2.99", "192.0.2.0/24"), "maria@x.example") == made
        # Forged: another network, another sender, the same network with another sender.
        assert await case.admitted(other_network, "maria@x.example") is None
        assert await case.admitted(other_network, "luis@x.example") is None
        for sender in ("luis@x.example", "maria@y.example", "maria.x@example", ""):
            assert await case.admitted(THEIRS, sender) is None

    with_case(tmp_path, work)


def test_who_is_proven_comes_from_any_server_of_theirs_and_nobody_else_does(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.begin(THEIRS, "maria@mail.example")
        made = await case.grant()
        elsewhere = Visitor("203.0.113.5", "203.0.113.0/24", "out.mail.example", "mail.example")
        assert await case.admitted(elsewhere, "luis@sub.mail.example") == made
        # A customer of theirs, who writes as somebody else; a server that nothing proves, be it in
        # the same network; a name that only looks alike.
        assert await case.admitted(elsewhere, "maria@x.example") is None
        assert (
            await case.admitted(Visitor("192.0.2.7", "192.0.2.0/24"), "maria@mail.example") is None
        )
        alike = Visitor("203.0.113.6", "203.0.113.0/24", "mx.xmail.example", "xmail.example")
        assert await case.admitted(alike, "maria@mail.example") is None
        assert await case.admitted(alike, "maria@xmail.example") is None

    with_case(tmp_path, work)


def test_only_what_the_policy_leaves_to_the_owner(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        await case.begin(THEIRS, "maria@x.example", "policy-attachment")
        for scope, rules in (
            ("", {"let_in": ("greylist",)}),
            ("a.example", {"let_in": ()}),
            ("ana@a.example", {"let_in": ("size", "rate")}),
            ("", {"blocked_types": (".mov",), "locked": ("blocked_types",)}),
        ):
            await case.say(scope, **rules)
            with pytest.raises(NotLetIn) as refused:
                await case.grant()
            assert refused.value.why == "policy"
            await case.stand.run(lambda tx, scope=scope: policies.drop(tx, scope))
        await case.say("ana@a.example", let_in=("type",))
        assert await case.grant()

    with_case(tmp_path, work)


def test_what_it_lets_in_is_for_the_policy_of_now_to_say() -> None:
    made = Admission(1, 2, 3, "", "192.0.2.0/24", "maria@x.example", 0, 1)
    everything = ("greylist", "rate", "type", "size")
    for cause in ("greylisted", "rate-limited", "policy-attachment", "message-too-large"):
        assert lets_in(made, cause, everything)
        assert not lets_in(made, cause, ())
        assert not lets_in(None, cause, everything)
    for cause in (
        *("blocked-ip", "sender-rejected", "mailbox-disabled", "mailbox-full", "policy-content"),
        *("encryption-needed", "unknown-user", "server-busy", "other", ""),
    ):
        assert not lets_in(made, cause, everything)


def test_two_messages_at_the_same_instant_on_two_workers_one_comes_in(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        stand = case.stand
        await case.begin(THEIRS, "maria@x.example", "policy-attachment")
        inbox = await stand.inbox(case.ana)
        other = stand.open()

        async def accept(store: Any) -> bool:
            """As a worker does: looks, prepares, and writes all of it in one unit."""
            found = await store.read(
                lambda tx: admitted(tx, case.ana, THEIRS, "maria@x.example", stand.clock.ms)
            )
            await asyncio.sleep(0.01)  # the message comes; both have found it
            assert found is not None
            body = await stand.bodies.from_bytes(b"Subject: x\r\n\r\nhello\r\n")
            id = stand.ids.next()
            use = used(found, id, stand.clock.ms, REFUSAL)

            def unit(tx: Tx) -> None:
                bodies.put(tx, body)
                placed = messages.append(
                    tx,
                    case.ana,
                    inbox,
                    body=body,
                    size=body.size,
                    prefix=b"",
                    text=TEXT,
                    received=stand.clock.ms,
                )
                row = Acceptance(id, stand.clock.ms, "smtp", "maria@x.example", body.id, 24, 1)
                fate = Stored(case.ana, placed.mailbox, placed.uid)
                ledger.open_acceptance(tx, row, [Recipient("ana@a.example")], [fate])
                use(tx)

            try:
                await store.run(unit, accounts=(case.ana,))
            except RefusedInUnit as refused:
                return refused.reply != REFUSAL
            return True

        try:
            for n in range(5):
                made = await case.grant()
                came_in = await asyncio.gather(accept(stand.store), accept(other))
                assert sorted(came_in) == [False, True]
                count = await stand.read(lambda tx: tx.value("SELECT count(*) FROM message"))
                assert count == n + 1
                newest = (await stand.read(lambda tx: admissions.admissions(tx, case.ana)))[0]
                assert newest.id == made.id
                accepted = await stand.read(lambda tx: tx.value("SELECT max(id) FROM acceptance"))
                assert newest.used == accepted
        finally:
            await other.close()

    with_case(tmp_path, work)
