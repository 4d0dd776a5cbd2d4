"""Accounts: domains, people, aliases, identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import accounts, mailboxes
from estafeta.store.accounts import AccountsError, NoSuchAccount, NoSuchDomain
from estafeta.store.garbage import collect_garbage

pytestmark = pytest.mark.usefixtures("each_engine")


def test_domains_come_change_and_go(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await stand.run(
            lambda tx: accounts.add_domain(
                tx, "a.example", 1, separator="-", catch_all="X@A.example"
            )
        )
        with pytest.raises(AccountsError, match="already"):
            await stand.run(lambda tx: accounts.add_domain(tx, "a.example", 1))
        found = await stand.read(lambda tx: accounts.domain(tx, "a.example"))
        assert (found.separator, found.catch_all) == ("-", "x@a.example")
        await stand.run(
            lambda tx: accounts.set_domain(
                tx, "a.example", separator="", catch_all="", language="es"
            )
        )
        (found,) = await stand.read(accounts.domains)
        assert (found.separator, found.catch_all, found.language) == ("", "", "es")
        await stand.account("ana@a.example")
        with pytest.raises(AccountsError, match="still has accounts"):
            await stand.run(lambda tx: accounts.remove_domain(tx, "a.example"))
        id = (await stand.read(accounts.accounts))[0].id
        await stand.run(lambda tx: accounts.remove_account(tx, id))
        await stand.run(lambda tx: accounts.remove_domain(tx, "a.example"))
        for change in (accounts.set_domain, accounts.remove_domain):
            with pytest.raises(NoSuchDomain):
                await stand.run(lambda tx, change=change: change(tx, "a.example"))

    with_stand(tmp_path, work)


def test_an_account_begins_with_its_mailboxes(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        id = await stand.account("Ana.B@a.example", name="Ana", quota=7, language="es")
        found = await stand.read(lambda tx: accounts.account(tx, "ana.b@a.example"))
        assert (found.id, found.name, found.quota, found.language) == (id, "Ana", 7, "es")
        assert await stand.read(lambda tx: accounts.account_by_id(tx, id)) == found
        boxes = await stand.read(lambda tx: mailboxes.mailboxes(tx, id))
        assert [(b.name, b.role) for b in boxes] == [
            ("Archive", "archive"),
            ("Drafts", "drafts"),
            ("INBOX", ""),
            ("Junk", "junk"),
            ("Sent", "sent"),
            ("Trash", "trash"),
        ]
        assert len({b.uidvalidity for b in boxes}) == 6
        # Made again, a store does not give the UIDVALIDITY of the one before.
        assert min(b.uidvalidity for b in boxes) > stand.clock.ms // 1000
        assert await stand.read(lambda tx: mailboxes.subscriptions(tx, id)) == [
            b.name for b in boxes
        ]
        with pytest.raises(AccountsError, match="already"):
            await stand.account("ana.b@a.example")
        with pytest.raises(NoSuchDomain):
            await stand.run(lambda tx: accounts.add_account(tx, "x@other.example", 1))

    with_stand(tmp_path, work)


def test_changes_work_at_once(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        id = await stand.account("ana@a.example")
        await stand.account("bob@a.example")

        async def change(**given: Any) -> Any:
            await stand.run(lambda tx: accounts.set_account(tx, id, **given))
            return await stand.read(lambda tx: accounts.account_by_id(tx, id))

        assert (await change(name="N", language="en", quota=5)).quota == 5
        assert (await change(disabled=True)).disabled
        assert not (await change(disabled=False)).disabled
        assert (await change(address="EVA@a.example")).address == "eva@a.example"
        for taken in ("bob@a.example", "x@other.example"):
            with pytest.raises(AccountsError):
                await change(address=taken)
        with pytest.raises(NoSuchAccount):
            await stand.run(lambda tx: accounts.set_account(tx, 99, name="x"))
        assert [
            a.address for a in await stand.read(lambda tx: accounts.accounts(tx, "a.example"))
        ] == [
            "bob@a.example",
            "eva@a.example",
        ]
        assert await stand.read(lambda tx: accounts.accounts(tx, "b.example")) == []

    with_stand(tmp_path, work)


def test_aliases_lead_to_several(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await stand.account("ana@a.example")
        for target in ("Ana@a.example", "Else@b.example"):
            await stand.run(lambda tx, t=target: accounts.add_alias(tx, "Sales@a.example", t))
        await stand.run(lambda tx: accounts.add_alias(tx, "sales@a.example", "ana@a.example"))
        assert await stand.read(lambda tx: accounts.targets(tx, "sales@a.example")) == [
            "Else@b.example",
            "ana@a.example",
        ]
        assert len(await stand.read(lambda tx: accounts.aliases(tx, "a.example"))) == 2
        assert await stand.read(lambda tx: accounts.aliases(tx, "b.example")) == []
        for bad in (("ana@a.example", "x@b.example"), ("x@other.example", "x@b.example")):
            with pytest.raises(AccountsError):
                await stand.run(lambda tx, b=bad: accounts.add_alias(tx, *b))
        with pytest.raises(AccountsError, match="alias"):
            await stand.account("sales@a.example")
        await stand.run(lambda tx: accounts.remove_alias(tx, "sales@a.example", "Else@b.example"))
        await stand.run(lambda tx: accounts.remove_alias(tx, "sales@a.example"))
        with pytest.raises(AccountsError):
            await stand.run(lambda tx: accounts.remove_alias(tx, "sales@a.example"))

    with_stand(tmp_path, work)


def test_who_may_write_as_whom(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        id = await stand.account("ana@a.example")
        await stand.account("bob@a.example")
        ana = await stand.read(lambda tx: accounts.account_by_id(tx, id))

        def given(tx: Any) -> None:
            accounts.add_alias(tx, "info@a.example", "ana@a.example")
            accounts.add_alias(tx, "all@a.example", "ana@a.example")
            accounts.add_alias(tx, "all@a.example", "bob@a.example")
            accounts.add_identity(tx, id, "Old.Name@b.example")

        await stand.run(given)

        async def may(address: str) -> bool:
            return bool(await stand.read(lambda tx: accounts.may_write_as(tx, ana, address)))

        for address in ("ana@a.example", "ANA@a.example", "Ana+x@a.example", "info@a.example"):
            assert await may(address), address
        assert await may("old.name@b.example")
        for address in ("bob@a.example", "all@a.example", "ana+x@b.example", "anax@a.example", ""):
            assert not await may(address), address
        await stand.run(lambda tx: accounts.set_domain(tx, "a.example", separator=""))
        assert not await may("ana+x@a.example")
        await stand.run(lambda tx: accounts.remove_identity(tx, id, "old.name@b.example"))
        assert not await may("old.name@b.example")
        assert await stand.read(lambda tx: accounts.identities(tx, id)) == []
        with pytest.raises(NoSuchAccount):
            await stand.run(lambda tx: accounts.add_identity(tx, 99, "x@b.example"))

    with_stand(tmp_path, work)


def test_a_removed_account_leaves_nothing_and_its_id_is_not_reused(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        id = await stand.account("ana@a.example")
        inbox = await stand.inbox(id)
        await stand.append(id, inbox)
        await stand.run(lambda tx: accounts.add_identity(tx, id, "x@b.example"))
        await stand.run(lambda tx: accounts.add_alias(tx, "i@a.example", "ana@a.example"))
        await stand.run(lambda tx: accounts.remove_account(tx, id))
        with pytest.raises(NoSuchAccount):
            await stand.run(lambda tx: accounts.remove_account(tx, id))
        stand.clock.ms += 3 * 86_400_000
        await collect_garbage(stand.store, stand.bodies, stand.clock.ms)
        for table in (
            "message",
            "message_text",
            "mailbox",
            "subscription",
            "identity",
            "alias",
            "body",
            "body_data",
            "account",
        ):
            count = await stand.read(lambda tx, t=table: tx.value(f"SELECT count(*) FROM {t}"))
            assert count == 0, table
        again = await stand.account("ana@a.example")
        assert again > id
        assert await stand.inbox(again) > inbox

    with_stand(tmp_path, work)
