"""Mailboxes: names, parents, renames, INBOX, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import audit, mailboxes, messages
from estafeta.store.mailboxes import (
    MailboxExists,
    MailboxHasChildren,
    MailboxLimit,
    MailboxNameInvalid,
    MailboxProtected,
    NoSuchMailbox,
)

pytestmark = pytest.mark.usefixtures("each_engine")


async def names(stand: Stand, account: int) -> list[str]:
    boxes = await stand.read(lambda tx: mailboxes.mailboxes(tx, account))
    first = {name for name, _ in mailboxes.FIRST}
    return [box.name for box in boxes if box.name not in first]


def test_parents_are_made_too(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()

        async def create(name: str, **given: Any) -> Any:
            return await stand.run(lambda tx: mailboxes.create(tx, account, name, **given))

        made = await create("Año/2026/März/")
        assert made.name == "Año/2026/März"
        assert await names(stand, account) == ["Año", "Año/2026", "Año/2026/März"]
        assert (await create("inbox/Sub")).name == "INBOX/Sub"
        for taken in ("Año", "INBOX", "inbox", "inbox/Sub", "Sent"):
            with pytest.raises(MailboxExists):
                await create(taken)
        for bad in ("", "/", "a//b", "/a", "a\rb", "a\x7f", "x" * 1001, "a/" * 33 + "a", "\ud800"):
            with pytest.raises(MailboxNameInvalid):
                await create(bad)
        with pytest.raises(MailboxExists):
            await create("Sent items", role="sent")
        roles = await stand.read(lambda tx: mailboxes.by_role(tx, account, "sent"))
        assert roles.name == "Sent"
        assert await stand.read(lambda tx: mailboxes.by_role(tx, account, "none")) is None

    with_stand(tmp_path, work)


def test_rename_takes_the_children_along(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        for name in ("a/b/c", "a0", "a.b", "ab"):
            await stand.run(lambda tx, n=name: mailboxes.create(tx, account, n))
        box = await stand.read(lambda tx: mailboxes.mailbox_by_name(tx, account, "a/b"))
        await stand.append(account, box.id)
        await stand.run(lambda tx: mailboxes.rename(tx, account, "a", "x/y"))
        assert await names(stand, account) == ["a.b", "a0", "ab", "x", "x/y", "x/y/b", "x/y/b/c"]
        same = await stand.read(lambda tx: mailboxes.mailbox(tx, account, box.id))
        assert (same.name, same.uidvalidity, same.messages) == ("x/y/b", box.uidvalidity, 1)
        for old, new, error in (
            ("none", "z", NoSuchMailbox),
            ("ab", "a0", MailboxExists),
            ("x", "x/y/z", MailboxNameInvalid),
            ("ab", "", MailboxNameInvalid),
            ("ab", "inbox", MailboxExists),
        ):
            with pytest.raises(error):
                await stand.run(lambda tx, o=old, n=new: mailboxes.rename(tx, account, o, n))

    with_stand(tmp_path, work)


def test_inbox_hands_over_its_messages_and_keeps_name_and_children(tmp_path: Path) -> None:
    """RFC 3501 §6.3.5."""

    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        await stand.run(lambda tx: mailboxes.create(tx, account, "INBOX/Sub"))
        await stand.append(account, inbox)
        await stand.run(lambda tx: mailboxes.rename(tx, account, "inbox", "Old/Mail"))
        old = await stand.read(lambda tx: mailboxes.mailbox_by_name(tx, account, "Old/Mail"))
        new = await stand.read(lambda tx: mailboxes.mailbox_by_name(tx, account, "INBOX"))
        assert (old.id, old.messages) == (inbox, 1)
        assert (new.messages, new.uidnext) == (0, 1)
        assert new.uidvalidity > old.uidvalidity
        assert await names(stand, account) == ["INBOX/Sub", "Old", "Old/Mail"]
        assert await stand.read(audit.audit_open) == []

    with_stand(tmp_path, work)


def test_delete_erases_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        box = await stand.run(lambda tx: mailboxes.create(tx, account, "a/b"))
        for _ in range(5):
            await stand.append(account, box.id)
        await stand.run(lambda tx: messages.expunge(tx, account, box.id, [2]))
        with pytest.raises(MailboxHasChildren):
            await stand.run(lambda tx: mailboxes.delete(tx, account, "a"))
        with pytest.raises(MailboxProtected):
            await stand.run(lambda tx: mailboxes.delete(tx, account, "InBox"))
        with pytest.raises(NoSuchMailbox):
            await stand.run(lambda tx: mailboxes.delete(tx, account, "none"))
        monkeypatch.setattr(mailboxes.erase_slice, "__defaults__", (2,))
        await stand.run(lambda tx: mailboxes.delete(tx, account, "a/b"))
        assert await stand.read(lambda tx: messages.quota(tx, account)) == (0, 0)
        assert await stand.read(mailboxes.unerased) == [(account, box.id)]
        done = [
            await stand.run(lambda tx: mailboxes.erase_slice(tx, account, box.id)) for _ in range(2)
        ]
        assert done == [False, True]
        assert await stand.read(mailboxes.unerased) == []
        for table in ("message", "message_text", "expunged"):
            count = await stand.read(lambda tx, t=table: tx.value(f"SELECT count(*) FROM {t}"))
            assert count == 0
        again = await stand.run(lambda tx: mailboxes.create(tx, account, "a/b"))
        assert again.uidvalidity > box.uidvalidity
        assert again.id > box.id

    with_stand(tmp_path, work)


def test_subscriptions_are_names(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        for name in ("no/such", "inbox", "no/such"):
            await stand.run(lambda tx, n=name: mailboxes.subscribe(tx, account, n))
        await stand.run(lambda tx: mailboxes.unsubscribe(tx, account, "Sent"))
        await stand.run(lambda tx: mailboxes.unsubscribe(tx, account, "never"))
        assert await stand.read(lambda tx: mailboxes.subscriptions(tx, account)) == [
            "Archive",
            "Drafts",
            "INBOX",
            "Junk",
            "Trash",
            "no/such",
        ]

    with_stand(tmp_path, work)


def test_there_are_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "MAILBOXES_MAX", 8)
    monkeypatch.setattr(mailboxes, "SUBSCRIPTIONS_MAX", 7)

    async def work(stand: Stand) -> None:
        account = await stand.account()
        await stand.run(lambda tx: mailboxes.create(tx, account, "a/b"))
        with pytest.raises(MailboxLimit):
            await stand.run(lambda tx: mailboxes.create(tx, account, "c"))
        await stand.run(lambda tx: mailboxes.subscribe(tx, account, "a"))
        with pytest.raises(MailboxLimit):
            await stand.run(lambda tx: mailboxes.subscribe(tx, account, "b"))

    with_stand(tmp_path, work)
