"""Messages: append, flags, copy, move, expunge, sync; against a model of a mailbox."""

# ruff: noqa: B023  (every unit made in a loop is run before the next turn)

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import TEXT, Stand, with_stand

from estafeta.store import accounts, audit, mailboxes, messages
from estafeta.store.flags import ANSWERED, DELETED, FLAGGED, SEEN, KeywordError
from estafeta.store.mailboxes import NoSuchMailbox
from estafeta.store.messages.runs import conditions, runs

pytestmark = pytest.mark.usefixtures("each_engine")


def test_append_counts_what_it_places(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        data = b"Subject: x\r\n\r\n" + b"y" * 300_000  # a file
        first = await stand.append(account, inbox, prefix=b"Return-Path: <>\r\n")
        second = await stand.append(account, inbox, data, flags=SEEN, keywords="$A b")
        box = await stand.read(lambda tx: mailboxes.mailbox(tx, account, inbox))
        assert (first.uid, second.uid, box.uidnext) == (1, 2, 3)
        assert first.modseq < second.modseq == box.modseq
        assert first.uidvalidity == box.uidvalidity
        small = len(b"Return-Path: <>\r\nSubject: x\r\n\r\nhello\r\n")
        assert (box.messages, box.unseen, box.bytes) == (2, 1, small + len(data))
        assert await stand.read(lambda tx: messages.quota(tx, account)) == (box.bytes, 0)
        rows = await stand.read(lambda tx: messages.rows(tx, account, inbox, 1, 9))
        assert [(r.uid, r.flags, r.keywords, r.size) for r in rows] == [
            (1, 0, "", small),
            (2, SEEN, "$A b", len(data)),
        ]
        prefix, body = await stand.read(
            lambda tx: messages.content(tx, stand.bodies, account, inbox, 1)
        )
        assert prefix + body.read() == b"Return-Path: <>\r\nSubject: x\r\n\r\nhello\r\n"
        _, body = await stand.read(lambda tx: messages.content(tx, stand.bodies, account, inbox, 2))
        assert body.read() == data
        assert b"".join(body.chunks()) == data
        assert body.read(5, 20) == data[5:20]
        assert (
            await stand.read(lambda tx: messages.content(tx, stand.bodies, account, inbox, 3))
            is None
        )
        texts = await stand.read(
            lambda tx: messages.texts_for(tx, account, inbox, [2, 7], ["envelope", "subject"])
        )
        assert texts == [(2, TEXT.envelope, TEXT.subject)]
        with pytest.raises(ValueError, match="columns"):
            await stand.read(lambda tx: messages.texts_for(tx, account, inbox, [2], ["uid; --"]))
        with pytest.raises(NoSuchMailbox):
            await stand.append(account, 99)

    with_stand(tmp_path, work)


def test_recent_is_told_to_one_session(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        for _ in range(3):
            await stand.append(account, inbox)
        assert await stand.run(lambda tx: messages.take_recent(tx, account, inbox)) == (1, 4)
        assert await stand.run(lambda tx: messages.take_recent(tx, account, inbox)) == (4, 4)
        await stand.append(account, inbox)
        assert await stand.run(lambda tx: messages.take_recent(tx, account, inbox)) == (4, 5)

    with_stand(tmp_path, work)


def test_keywords_are_one_whatever_their_case(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        await stand.append(account, inbox, keywords="$Work alpha")

        async def store(mode: Any, *keywords: str) -> str:
            await stand.run(
                lambda tx: messages.store_flags(
                    tx, account, inbox, [1], mode=mode, flags=0, keywords=frozenset(keywords)
                )
            )
            return (await stand.read(lambda tx: messages.rows(tx, account, inbox, 1, 1)))[
                0
            ].keywords

        assert await store("add", "ALPHA", "beta") == "$Work alpha beta"
        assert await store("remove", "$WORK", "none") == "alpha beta"
        assert await store("set", "Z", "a") == "Z a"
        assert await store("set") == ""
        with pytest.raises(KeywordError):
            await store("set", *(f"k{n}" for n in range(65)))

    with_stand(tmp_path, work)


def test_unchanged_since_fails_what_is_newer(tmp_path: Path) -> None:
    """RFC 7162 §3.1.3."""

    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        placed = [await stand.append(account, inbox) for _ in range(4)]
        since = placed[1].modseq
        result = await stand.run(
            lambda tx: messages.store_flags(
                tx, account, inbox, [1, 2, 3, 4], mode="add", flags=SEEN, unchanged_since=since
            )
        )
        assert [row.uid for row in result.changed] == [1, 2]
        assert result.failed == [3, 4]
        quiet = await stand.run(
            lambda tx: messages.store_flags(
                tx, account, inbox, [3], mode="add", flags=SEEN, echo=False
            )
        )
        assert quiet.changed == []
        assert quiet.modseq > result.modseq
        same = await stand.run(
            lambda tx: messages.store_flags(tx, account, inbox, [3], mode="add", flags=SEEN)
        )
        assert (same.changed, same.modseq) == ([], 0)
        box = await stand.read(lambda tx: mailboxes.mailbox(tx, account, inbox))
        assert (box.unseen, box.modseq) == (1, quiet.modseq)

    with_stand(tmp_path, work)


def test_runs_cover_exactly_the_uids() -> None:
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    for _ in range(200):
        wanted = {dice.randrange(1, 300) for _ in range(dice.choice((0, 1, 5, 100, 280)))}
        covered = [uid for low, high in runs(wanted) for uid in range(low, high + 1)]
        assert covered == sorted(wanted), seed
        selected: set[int] = set()
        for condition, given in conditions(wanted):
            assert condition.count("?") == len(given)
            selected |= set(range(given[0], given[1] + 1)) if "BETWEEN" in condition else set(given)
        assert selected == wanted, seed
    assert list(runs(range(5, 9))) == [(5, 8)]
    assert list(runs(range(5, 5))) == []


KINDS = ("append", "append", "append", "flags", "flags", "copy", "move", "expunge")


class Model:
    """One account's mailboxes as dictionaries."""

    def __init__(self, boxes: list[int]) -> None:
        self.boxes: dict[int, dict[int, int]] = {box: {} for box in boxes}  # uid -> flags
        self.uidnext = dict.fromkeys(boxes, 1)
        self.gone: dict[int, set[int]] = {box: set() for box in boxes}

    def add(self, box: int, flags: int) -> int:
        uid = self.uidnext[box]
        self.uidnext[box] += 1
        self.boxes[box][uid] = flags
        return uid


class Session:
    """What a client keeps of a mailbox; `sync` must bring it to what is there."""

    def __init__(self) -> None:
        self.modseq = 0
        self.flags: dict[int, int] = {}

    def take(self, changes: messages.Changes) -> None:
        for row in changes.changed:
            assert row.modseq > self.modseq
            self.flags[row.uid] = row.flags
        for uid in changes.expunged:
            self.flags.pop(uid, None)
        self.modseq = changes.modseq


@pytest.mark.parametrize("round", range(3))
def test_many_random_changes_agree_with_the_model(tmp_path: Path, round: int) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)

    async def work(stand: Stand) -> None:
        account = await stand.account()
        boxes = [box.id for box in await stand.read(lambda tx: mailboxes.mailboxes(tx, account))][
            :3
        ]
        model = Model(boxes)
        sessions = {box: Session() for box in boxes}
        for step in range(120):
            box, other = dice.sample(boxes, 2)
            here = model.boxes[box]
            some = dice.sample(sorted(here), min(len(here), dice.choice((1, 2, 5, 40))))
            asked = [*some, 9999]
            match dice.choice(
                ("append", "append", "append", "flags", "flags", "copy", "move", "expunge")
            ):
                case "append":
                    for _ in range(dice.choice((1, 2, 50))):
                        flags = dice.choice((0, SEEN, FLAGGED))
                        placed = await stand.append(account, box, flags=flags)
                        assert placed.uid == model.add(box, flags)
                case "flags":
                    mode: Any = dice.choice(("set", "add", "remove"))
                    flags = dice.choice((SEEN, FLAGGED | DELETED, ANSWERED | SEEN))
                    result = await stand.run(
                        lambda tx: messages.store_flags(
                            tx, account, box, asked, mode=mode, flags=flags
                        )
                    )
                    expected = []
                    for uid in sorted(some):
                        old = here[uid]
                        here[uid] = {"set": flags, "add": old | flags, "remove": old & ~flags}[mode]
                        if here[uid] != old:
                            expected.append((uid, here[uid]))
                    assert [(row.uid, row.flags) for row in result.changed] == expected
                case "copy" | "move" as kind:
                    function = messages.copy if kind == "copy" else messages.move
                    copied = await stand.run(lambda tx: function(tx, account, box, asked, other))
                    assert copied.uids == [
                        (uid, model.add(other, here[uid])) for uid in sorted(some)
                    ]
                    if kind == "move":
                        for uid in some:
                            del here[uid]
                case "expunge":
                    gone = await stand.run(lambda tx: messages.expunge(tx, account, box, asked))
                    assert gone == sorted(some)
                    for uid in some:
                        del here[uid]
            if step % 7 == 0:
                for box in dice.sample(boxes, 2):
                    session = sessions[box]
                    changes = await stand.read(
                        lambda tx: messages.changes_since(tx, account, box, session.modseq)
                    )
                    assert changes.complete
                    session.take(changes)
                    assert session.flags == model.boxes[box]
        for box in boxes:
            held = await stand.read(lambda tx: messages.uids_with_flags(tx, account, box))
            assert dict(zip(held.uids, held.flags, strict=True)) == model.boxes[box]
            uids = await stand.read(lambda tx: messages.uids(tx, account, box))
            assert list(uids) == sorted(model.boxes[box])
            every = await stand.read(lambda tx: messages.rows_for(tx, account, box, uids))
            assert [row.uid for row in every] == list(uids)
            assert [row.modseq for row in every] == list(held.modseqs)
        # Audit knows the counters by heart.
        assert [f async for f in audit.audit_full(stand.store, stand.disk)] == []
        used, _ = await stand.read(lambda tx: messages.quota(tx, account))
        all_boxes = await stand.read(lambda tx: mailboxes.mailboxes(tx, account))
        assert used == sum(box.bytes for box in all_boxes)

    with_stand(tmp_path, work)


def test_folded_tombstones_ask_for_a_full_comparison(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        for _ in range(6):
            await stand.append(account, inbox)
        box = await stand.read(lambda tx: mailboxes.mailbox(tx, account, inbox))
        for uid in (1, 2, 3, 4):
            await stand.run(lambda tx, uid=uid: messages.expunge(tx, account, inbox, [uid]))
        middle = await stand.read(lambda tx: tx.value("SELECT modseq FROM expunged WHERE uid = 2"))
        assert await stand.run(lambda tx: messages.fold_tombstones(tx, account, inbox, 2)) == 2
        old = await stand.read(lambda tx: messages.changes_since(tx, account, inbox, box.modseq))
        assert not old.complete
        new = await stand.read(lambda tx: messages.changes_since(tx, account, inbox, middle))
        assert new.complete
        assert new.expunged == [3, 4]
        assert await stand.run(lambda tx: messages.fold_tombstones(tx, account, inbox, 2)) == 0

    with_stand(tmp_path, work)


def test_quota_is_overrun_once(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account(quota=100)
        inbox = await stand.inbox(account)

        async def full(size: int = 0, id: int = account) -> bool:
            found = await stand.read(lambda tx: accounts.account_by_id(tx, id))
            assert found is not None
            return accounts.is_full(found, size)

        assert not await full(100)
        assert await full(101)
        await stand.append(account, inbox, b"x" * 90)
        assert await full(11)  # of a size that is known
        assert not await full()
        await stand.append(account, inbox, b"x" * 90)
        assert await full()
        free = await stand.account("free@a.example")
        assert not await full(1 << 40, free)

    with_stand(tmp_path, work)
