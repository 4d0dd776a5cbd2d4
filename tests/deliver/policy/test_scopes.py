"""Book, change and replay over a store: who says what, who may, and what it would have done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.deliver.policy.letters import attached
from tests.support.stores import Stand

from estafeta.deliver.policy import replay as replay_file
from estafeta.deliver.policy.book import Book
from estafeta.deliver.policy.change import NotYours, Scope, change, said, scope_of
from estafeta.deliver.policy.check import RulesError
from estafeta.deliver.policy.limits import LOOK_SECONDS
from estafeta.deliver.policy.replay import replay
from estafeta.deliver.policy.rules import HeaderRule, Rules
from estafeta.store import accounts, policies
from estafeta.store.accounts import NoSuchAccount, NoSuchDomain
from estafeta.store.engine import Tx
from estafeta.store.rows import Acceptance

pytestmark = pytest.mark.usefixtures("each_engine")
ANA = "ana@a.example"


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Stand], Coroutine[Any, Any, None]]], None]:
    """Runs a story over a store with one account."""

    def run(story: Callable[[Stand], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            stand = Stand(tmp_path)
            try:
                await stand.account(ANA)
                await story(stand)
            finally:
                await stand.store.close()
                stand.clear()

        asyncio.run(main())

    return run


async def say(stand: Stand, rules: Rules, **where: str) -> None:
    def unit(tx: Tx) -> None:
        change(tx, scope_of(tx, **where), rules, who="administrator", now=stand.clock.ms)

    await stand.run(unit)


async def held(stand: Stand, book: Book, domain: str = "a.example", address: str = ANA) -> Any:
    return await stand.read(lambda tx: book.of(tx, domain, accounts.account(tx, address)))


def test_a_change_counts_within_a_second(play: Any) -> None:
    async def story(stand: Stand) -> None:
        book, other = Book(stand.clock), Book(stand.clock)
        assert (await held(stand, book)).size_max == 0
        await held(stand, other)
        await say(stand, Rules(size_max=5))
        stand.clock.ms += int(LOOK_SECONDS * 1000)
        assert (await held(stand, book)).size_max == (await held(stand, other)).size_max == 5
        await say(stand, Rules(size_max=7), domain="a.example")
        await say(stand, Rules(tls=True), account=ANA)
        stand.clock.ms += int(LOOK_SECONDS * 1000)
        found = await held(stand, book)
        assert (found.size_max, found.tls) == (7, True)
        assert (await held(stand, book, "b.example", "nobody@b.example")).size_max == 5

    play(story)


def test_what_is_known_is_not_read_again(play: Any) -> None:
    async def story(stand: Stand) -> None:
        book = Book(stand.clock)
        first = await held(stand, book)

        class Nothing:
            """No transaction at all."""

        account = await stand.read(lambda tx: accounts.account(tx, ANA))
        assert book.of(Nothing(), "a.example", account) is first  # type: ignore[arg-type]
        stand.clock.ms -= 3_600_000  # set back: looked again, not for ever remembered
        await say(stand, Rules(size_max=5))
        assert (await held(stand, book)).size_max == 5

    play(story)


def test_an_address_of_another_domain_is_ruled_by_both(play: Any) -> None:
    async def story(stand: Stand) -> None:
        await stand.run(lambda tx: accounts.add_domain(tx, "b.example", stand.clock.ms))
        await say(stand, Rules(size_max=5, tls=True), domain="b.example")
        await say(stand, Rules(size_max=7), domain="a.example")
        found = await held(stand, Book(stand.clock), "b.example")
        assert (found.size_max, found.tls) == (7, True)

    play(story)


def test_what_cannot_be_read_says_nothing(play: Any) -> None:
    async def story(stand: Stand) -> None:
        await stand.run(lambda tx: policies.put(tx, "", "{", "x", 1))
        await stand.run(
            lambda tx: policies.put(tx, "a.example", '{"size_max":5,"of_tomorrow":1}', "x", 1)
        )
        assert (await held(stand, Book(stand.clock))).size_max == 5

    play(story)


def test_scopes_must_be_there(play: Any) -> None:
    async def story(stand: Stand) -> None:
        with pytest.raises(NoSuchDomain):
            await stand.read(lambda tx: scope_of(tx, domain="c.example"))
        with pytest.raises(NoSuchAccount):
            await stand.read(lambda tx: scope_of(tx, account="eva@a.example"))
        found = await stand.read(lambda tx: scope_of(tx, account=ANA))
        assert found == Scope(ANA, ("", "a.example"))

    play(story)


def test_owners_say_what_is_theirs_and_loosen_nothing(play: Any) -> None:
    async def story(stand: Stand) -> None:
        def own(rules: Rules, *unset: str) -> Callable[[Tx], Rules]:
            return lambda tx: change(
                tx, scope_of(tx, account=ANA), rules, unset=unset, who=ANA, now=1, owner=True
            )

        assert await stand.run(own(Rules(blocked_types=(".mov",)))) == Rules(
            blocked_types=(".mov",)
        )
        for rules in (
            Rules(let_in=("type",)),
            Rules(locked=("tls",)),
            Rules(help="https://x"),
            Rules(headers=(HeaderRule("Subject", "a"),)),
        ):
            with pytest.raises(NotYours):
                await stand.run(own(rules))
        await say(stand, Rules(locked=("blocked_types",)), account=ANA)
        with pytest.raises(NotYours):
            await stand.run(own(Rules(blocked_types=())))
        with pytest.raises(NotYours):
            await stand.run(own(Rules(), "blocked_types"))
        await say(stand, Rules(size_max=100, locked=("size_max",)), domain="a.example")
        with pytest.raises(RulesError, match=r"a\.example has locked it"):
            await stand.run(own(Rules(size_max=200)))
        await stand.run(own(Rules(size_max=50)))
        assert (await held(stand, Book(stand.clock))).size_max == 50

    play(story)


def test_a_scope_that_says_nothing_has_no_row(play: Any) -> None:
    async def story(stand: Stand) -> None:
        await say(stand, Rules(size_max=5))
        before = await stand.read(policies.number)
        await stand.run(lambda tx: change(tx, Scope(), Rules(), unset=["size_max"], who="x", now=1))
        assert await stand.read(policies.policies) == []
        assert await stand.read(policies.number) > before

    play(story)


def test_a_policy_goes_where_its_account_goes(play: Any) -> None:
    async def story(stand: Stand) -> None:
        await say(stand, Rules(tls=True), account=ANA)
        account = await stand.read(lambda tx: accounts.account(tx, ANA))
        await stand.run(lambda tx: accounts.set_account(tx, account.id, address="eva@a.example"))
        assert (await stand.read(lambda tx: said(tx, "eva@a.example"))).tls
        assert await stand.read(lambda tx: policies.policy(tx, ANA)) is None
        await stand.run(lambda tx: accounts.remove_account(tx, account.id))
        assert await stand.read(policies.policies) == []

    play(story)


def test_two_who_change_do_not_lose_each_others_words(play: Any) -> None:
    async def story(stand: Stand) -> None:
        await asyncio.gather(
            *(
                say(stand, msgspec.structs.replace(Rules(), **{name: 5}))
                for name in ("size_max", "depth_max", "parts_max")
            )
        )
        assert await stand.read(lambda tx: said(tx, "")) == Rules(
            size_max=5, depth_max=5, parts_max=5
        )

    play(story)


def test_replay_tells_what_would_change(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_file, "REPLAY_SLICE_ROWS", 2)
    monkeypatch.setattr(replay_file, "REPLAY_CASES_MAX", 3)

    async def story(stand: Stand) -> None:
        account = await stand.account("eva@a.example")
        inbox = await stand.inbox(account)
        old = await stand.append(account, inbox, attached("a.mov"))
        assert old.uid == 1
        stand.clock.ms += 10_000
        since = stand.clock.ms
        for n in range(5):
            await stand.append(account, inbox, attached("a.mov" if n != 2 else "a.txt"))
        told: list[tuple[int, int]] = []
        found = await replay(
            stand.store,
            stand.bodies,
            stand.world,
            Scope(),
            Rules(blocked_types=(".mov",)),
            since=since,
            report=lambda behind, total: told.append((behind, total)),
        )
        assert (found.looked, found.refused, found.let_in, found.left_out) == (5, 4, 0, 1)
        assert [case.uid for case in found.cases] == [2, 3, 5]
        assert told[-1] == (6, 6)
        assert await stand.read(policies.policies) == []

    play(story)


def test_replay_knows_what_came_in_clear(play: Any) -> None:
    async def story(stand: Stand) -> None:
        account = (await stand.read(lambda tx: accounts.account(tx, ANA))).id
        row, _ = await stand.deliver(account, await stand.inbox(account))
        assert isinstance(row, Acceptance)
        scope = await stand.read(lambda tx: scope_of(tx, account=ANA))
        found = await replay(
            stand.store, stand.bodies, stand.world, scope, Rules(tls=True), since=0
        )
        assert [case.after.kind for case in found.cases if case.after] == ["tls"]
        await stand.run(lambda tx: tx.run("UPDATE acceptance SET tls = 'TLSv1.3'"))
        found = await replay(
            stand.store, stand.bodies, stand.world, scope, Rules(tls=True), since=0
        )
        assert (found.looked, found.refused) == (1, 0)

    play(story)


def test_replay_goes_on_where_a_body_is_missing(play: Any) -> None:
    async def story(stand: Stand) -> None:
        account = (await stand.read(lambda tx: accounts.account(tx, ANA))).id
        await stand.append(account, await stand.inbox(account), attached("a.mov"))
        await stand.append(account, await stand.inbox(account), attached("a.mov"))
        await stand.run(
            lambda tx: tx.run(
                "DELETE FROM body_data WHERE id = (SELECT body FROM message WHERE uid = 1)"
            )
        )
        found = await replay(
            stand.store,
            stand.bodies,
            stand.world,
            Scope(),
            Rules(blocked_types=(".mov",)),
            since=0,
        )
        assert (found.looked, found.missing, found.refused) == (2, 1, 1)

    play(story)
