"""What the recipients of a message come to, and which copies say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import NOON, TEXT, Stand, with_stand

from estafeta.mail.message import summary
from estafeta.store import (
    accounts,
    audit,
    bodies,
    flags,
    ledger,
    mailboxes,
    messages,
    sent,
    tracker,
)
from estafeta.store.engine import Tx
from estafeta.store.limits import KEYWORDS_MAX
from estafeta.store.rows import (
    Acceptance,
    Cancelled,
    Dropped,
    Duplicate,
    Expanded,
    Fate,
    Relayed,
    Returned,
    Stored,
)

pytestmark = pytest.mark.usefixtures("each_engine")

ID = "<one@a.example>"
STORED, RELAYED = Stored(1, 1, 1), Relayed("mx", "250 ok")
RETURNED, DROPPED, CANCELLED = Returned(1), Dropped("notify-never"), Cancelled("ana")
WAITS, BUSY = None, "busy"
"""Of an open recipient: not tried yet, and put off before."""
MESSAGE = b"From: Ana <ana@a.example>\r\nMessage-ID: %b\r\n\r\nhello\r\n" % ID.encode()

Given = Fate | str | None


async def submit(
    stand: Stand, account: int, *fates: Given, names: str = "abcdef", **given: Any
) -> Acceptance:
    """For a@b.example, b@b.example … names: a letter for each."""
    row = await stand.accept(
        *(
            (f"{name}@b.example", None if fate == BUSY else fate)
            for name, fate in zip(names, fates, strict=False)
        ),  # type: ignore[misc]
        **{"account": account, "message_id": ID} | given,
    )
    late = [n for n, fate in enumerate(fates) if fate == BUSY]
    await stand.run(
        lambda tx: tx.run_many(
            "UPDATE queue SET attempts = 1 WHERE acceptance = ? AND n = ?",
            [(row.id, n) for n in late],
        )
    )
    return row


@pytest.mark.parametrize(
    ("fates", "keyword"),
    [
        ([WAITS], flags.QUEUED),
        ([BUSY], flags.DELAYED),
        ([WAITS, BUSY], flags.DELAYED),
        ([WAITS, RELAYED], flags.QUEUED),
        ([WAITS, RETURNED], flags.QUEUED),
        ([BUSY, RETURNED, STORED], flags.DELAYED),
        ([STORED], flags.DELIVERED),
        ([RELAYED], flags.DELIVERED),
        ([STORED, RELAYED], flags.DELIVERED),
        ([RELAYED, RETURNED], flags.PARTLY_DELIVERED),
        ([STORED, DROPPED], flags.PARTLY_DELIVERED),
        ([RELAYED, CANCELLED], flags.PARTLY_DELIVERED),
        ([RETURNED], flags.BOUNCED),
        ([DROPPED], flags.BOUNCED),
        ([CANCELLED, CANCELLED], flags.BOUNCED),
        ([RELAYED, Duplicate(1)], flags.DELIVERED),
        ([RETURNED, Duplicate(1)], flags.BOUNCED),
        ([Expanded(1), RELAYED], flags.DELIVERED),
    ],
)
def test_what_recipients_come_to(tmp_path: Path, fates: list[Given], keyword: str) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        await submit(stand, ana, *fates)
        assert await stand.read(lambda tx: tracker.keyword_of(tx, ana, ID)) == keyword

    with_stand(tmp_path, work)


def test_all_that_came_of_it_counts(tmp_path: Path) -> None:
    """Children, and what was submitted again; not what others did under the same Message-ID."""

    async def work(stand: Stand) -> None:
        ana, luis = await stand.account(), await stand.account("luis@a.example")

        async def keyword() -> str:
            found: str = await stand.read(lambda tx: tracker.keyword_of(tx, ana, ID))
            return found

        assert await keyword() == ""
        await submit(stand, luis, RETURNED)
        await submit(stand, ana, RETURNED, message_id="<two@a.example>")
        assert await keyword() == ""
        first = await submit(stand, ana, Expanded(1))
        await submit(stand, ana, BUSY, RELAYED, origin="alias", parent=first.id)
        assert await keyword() == flags.DELAYED
        assert await stand.read(lambda tx: tracker.keyword_of(tx, ana, "")) == ""

    with_stand(tmp_path, work)


@pytest.mark.parametrize(
    ("first", "second", "keyword"),
    [
        (RETURNED, RELAYED, flags.DELIVERED),
        (RELAYED, RETURNED, flags.DELIVERED),
        (RETURNED, WAITS, flags.QUEUED),
        (RETURNED, RETURNED, flags.BOUNCED),
    ],
)
def test_an_address_that_came_twice(
    tmp_path: Path, first: Given, second: Given, keyword: str
) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        await submit(stand, ana, first)
        await submit(stand, ana, second, names="A")
        assert await stand.read(lambda tx: tracker.keyword_of(tx, ana, ID)) == keyword

    with_stand(tmp_path, work)


def test_one_that_was_corrected_stands_in_another_row(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        row = await submit(stand, ana, CANCELLED, RETURNED)
        await submit(stand, ana, RELAYED, names="z", origin="correction", parent=row.id)

        def note(tx: Tx, n: int) -> str:
            ledger.add_event(tx, stand.ids.next(), row.id, NOON, n, "correct", {})
            return tracker.keyword_of(tx, ana, ID)

        assert await stand.run(lambda tx: note(tx, 0)) == flags.PARTLY_DELIVERED
        assert await stand.run(lambda tx: note(tx, 1)) == flags.DELIVERED

    with_stand(tmp_path, work)


# Copies ----------------------------------------------------------------------------------------


async def sent_box(stand: Stand, account: int) -> int:
    found = await stand.read(lambda tx: mailboxes.by_role(tx, account, "sent"))
    return int(found.id)


async def given(stand: Stand, data: bytes = MESSAGE, keywords: str = "") -> sent.Given:
    made = summary(data)
    text = messages.Text(
        made.envelope,
        made.bodystructure,
        made.body,
        made.index,
        made.message_id,
        made.subject,
        made.preview,
    )
    return sent.Given(await stand.bodies.from_bytes(data), text, 0, keywords, NOON)


async def append(stand: Stand, account: int, mailbox: int, data: bytes = MESSAGE) -> int:
    one = await given(stand, data)

    def unit(tx: Tx) -> int:
        bodies.put(tx, one.body)
        return sent.append(tx, account, mailbox, one).uid

    return int(await stand.run(unit, (account,)))


async def keywords(stand: Stand, account: int, mailbox: int) -> list[str]:
    rows = await stand.read(lambda tx: messages.rows(tx, account, mailbox, 1, 1000))
    return [row.keywords for row in rows]


def test_each_change_is_one_modseq_and_none_for_nothing(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        box = await sent_box(stand, ana)
        await append(stand, ana, box)
        await append(stand, ana, box)
        row = await submit(stand, ana, WAITS)
        before = await stand.read(lambda tx: mailboxes.mailbox(tx, ana, box).modseq)  # type: ignore[union-attr]

        async def follow() -> int:
            await stand.run(lambda tx: tracker.follow(tx, row), (ana,))
            changes = await stand.read(lambda tx: messages.changes_since(tx, ana, box, before))
            assert {r.keywords for r in changes.changed} == {"$Queued"}
            assert [r.modseq for r in changes.changed] == [changes.modseq] * 2
            return int(changes.modseq)

        assert await follow() == await follow() == before + 1
        assert [f async for f in audit.audit_full(stand.store)] == []

    with_stand(tmp_path, work)


def test_nothing_is_left_of_copies_that_are_gone(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        box = await sent_box(stand, ana)
        work_ = (await stand.run(lambda tx: mailboxes.create(tx, ana, "Work"))).id
        for _ in range(4):
            await append(stand, ana, box)
        await stand.run(lambda tx: messages.move(tx, ana, box, [1], work_))
        await stand.run(lambda tx: messages.copy(tx, ana, box, [2, 3], work_))

        async def left() -> list[Any]:
            return list(
                await stand.read(
                    lambda tx: tx.rows("SELECT mailbox, uid FROM sent_copy ORDER BY mailbox, uid")
                )
            )

        assert await left() == [(box, 2), (box, 3), (box, 4), (work_, 1), (work_, 2), (work_, 3)]
        await stand.run(lambda tx: messages.expunge(tx, ana, box, [2, 4]))
        assert await left() == [(box, 3), (work_, 1), (work_, 2), (work_, 3)]
        await stand.run(lambda tx: mailboxes.delete(tx, ana, "Work"))
        row = await submit(stand, ana, RELAYED)
        await stand.run(lambda tx: tracker.follow(tx, row), (ana,))  # it is being erased
        await stand.run(lambda tx: mailboxes.erase_slice(tx, ana, work_))
        assert await left() == [(box, 3)]
        await stand.run(lambda tx: accounts.remove_account(tx, ana))
        await stand.run(lambda tx: tracker.follow(tx, row), (ana,))
        for each in await stand.read(mailboxes.unerased):
            while not await stand.run(lambda tx, e=each: mailboxes.erase_slice(tx, *e)):
                pass
        assert await left() == []

    with_stand(tmp_path, work)


def test_what_the_audit_says_of_them(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        box = await sent_box(stand, ana)
        await submit(stand, ana, RELAYED)
        await append(stand, ana, box)
        await append(stand, ana, box, MESSAGE.replace(b"one@", b"two@"))
        assert await keywords(stand, ana, box) == ["$Delivered", ""]
        assert [f async for f in audit.audit_full(stand.store)] == []
        await stand.run(lambda tx: tx.run("UPDATE message SET keywords = '$Queued' WHERE uid = 1"))
        await stand.run(lambda tx: tx.run("UPDATE message SET keywords = '$Bounced' WHERE uid = 2"))
        found = [f async for f in audit.audit_full(stand.store)]
        assert [(f.kind, f.mailbox, f.uid) for f in found] == [
            ("tracked-untrue", box, 1),
            ("tracked-untrue", box, 2),
        ]
        assert "says $Queued of <one@a.example>, the ledger $Delivered" in found[0].text
        assert "says $Bounced of <two@a.example>, the ledger nothing" in found[1].text
        await stand.run(lambda tx: messages.expunge(tx, ana, box, [1, 2]))
        await stand.run(lambda tx: tracker.link(tx, ana, box, 1, ID))
        found = [f async for f in audit.audit_full(stand.store)]
        assert [(f.kind, f.uid) for f in found] == [("tracked-lost", 1)]
        await stand.run(lambda tx: tracker.link(tx, ana, 999, 1, ID))
        found = [f async for f in audit.audit_full(stand.store)]
        assert [(f.kind, f.mailbox) for f in found] == [
            ("tracked-lost", box),
            ("mailbox-lost", 999),
        ]

    with_stand(tmp_path, work)


def test_keywords_of_ours_are_no_clients(tmp_path: Path) -> None:
    """Whatever asks the store: a session, or what comes later."""

    async def work(stand: Stand) -> None:
        ana = await stand.account()
        box = await sent_box(stand, ana)
        await stand.append(ana, box, keywords="$Queued mine")
        for mode, asked, left in (
            ("set", {"$Bounced", "other"}, "$Queued other"),
            ("add", {"$DELIVERED", "more"}, "$Queued more other"),
            ("remove", {"$queued", "other"}, "$Queued more"),
            ("set", set(), "$Queued"),
            ("add", {"$Bounced"}, "$Queued"),
        ):
            await stand.run(
                lambda tx, m=mode, k=asked: messages.store_flags(
                    tx, ana, box, [1], mode=m, flags=0, keywords=frozenset(k)
                )
            )
            assert await keywords(stand, ana, box) == [left]

    with_stand(tmp_path, work)


def test_one_message_costs_one_message(tmp_path: Path) -> None:
    """Whatever else the account has sent: no look walks all of it."""

    async def work(stand: Stand) -> None:
        if stand.engine == "postgresql":
            return  # it plans by counts, which a store this small has not
        for sql in (tracker._ANY, tracker._COPIES, tracker._STANDING):
            plan = await stand.read(lambda tx, s=sql: tx.rows(f"EXPLAIN QUERY PLAN {s}", (1, ID)))
            first = next(step for *_, step in plan if step.startswith("SEARCH"))
            assert "(account=? AND message_id=?)" in first, plan

    with_stand(tmp_path, work)


def test_ours_take_no_place_of_a_clients(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        box = await sent_box(stand, ana)
        own = [f"k{n}" for n in range(KEYWORDS_MAX)]
        await stand.append(ana, box, keywords=flags.joined(["$Queued", *own]))

        async def add(*more: str) -> None:
            await stand.run(
                lambda tx: messages.store_flags(
                    tx, ana, box, [1], mode="add", flags=0, keywords=frozenset(more)
                )
            )

        await add("k0")
        with pytest.raises(flags.KeywordError):
            await add("one-more")

    with_stand(tmp_path, work)


# Who is the same -------------------------------------------------------------------------------

KEPT = b"Received: from x\r\n\tby y; z\r\n"


@pytest.mark.parametrize(
    ("kept", "appended", "same"),
    [
        (KEPT + MESSAGE, MESSAGE, True),
        (KEPT + b"Date: now\r\n" + MESSAGE, MESSAGE, True),
        (MESSAGE, MESSAGE, True),
        (KEPT + MESSAGE, b"Bcc: a@b.example,\r\n c@d.example\r\n" + MESSAGE, True),
        (KEPT + MESSAGE, MESSAGE.removesuffix(b"\r\n"), True),
        (KEPT + MESSAGE, MESSAGE + b"\r\n", False),
        (KEPT + MESSAGE, MESSAGE.replace(b"hello", b"hallo"), False),
        (KEPT + b"Subject: x\r\n" + MESSAGE, MESSAGE, False),
        (KEPT + b"x\r\n" + MESSAGE, MESSAGE, False),
        (MESSAGE, KEPT + MESSAGE, False),
        (KEPT + MESSAGE, b"", False),
    ],
)
def test_the_same_but_for_bcc(kept: bytes, appended: bytes, same: bool) -> None:
    assert sent.is_same(bodies.Body(1, kept), bodies.Body(2, appended)) == same


def test_text_without_an_author_is_followed_by_nobody(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        owner = await stand.read(lambda tx: accounts.account_by_id(tx, ana))
        for envelope in (TEXT.envelope, b"", b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", b"((("):
            assert await stand.read(lambda tx, e=envelope: tracker.fits(tx, owner, ID, e)) == ""

    with_stand(tmp_path, work)
