"""Bodies and garbage: small and large, and when they go."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.mail.protocols import Bytes
from estafeta.store import bodies, ledger, messages
from estafeta.store.bodies import INLINE_MAX, Body, BodyMissing, path_of
from estafeta.store.garbage import collect_garbage
from estafeta.store.rows import Relayed

pytestmark = pytest.mark.usefixtures("each_engine")

DAY = 86_400_000


@pytest.mark.parametrize("size", [0, 1, 65_536, INLINE_MAX, INLINE_MAX + 1, 700_000])
def test_what_is_written_is_read(tmp_path: Path, size: int) -> None:
    async def work(stand: Stand) -> None:
        dice = random.Random(size)
        data = dice.randbytes(size)
        writer = stand.bodies.writer()
        at = 0
        while at < size:
            step = dice.randrange(1, 100_000)
            writer.write(data[at : at + step])
            at += step
        assert writer.size == size
        body = await writer.finish()
        large = size > INLINE_MAX
        assert (tmp_path / "files" / path_of(body.id)).exists() == large
        await stand.run(lambda tx: bodies.put(tx, body))
        stored = await stand.read(lambda tx: stand.bodies.content(tx, body.id))
        for content in (body, stored):
            assert content.size == size
            assert content.read() == data
            assert content.read(3, 9) == data[3:9]
            assert content.read(size) == b""
            pieces = list(content.chunks())
            assert b"".join(pieces) == data
            assert all(len(piece) <= 65_536 for piece in pieces)
        await stand.run(lambda tx: bodies.put(tx, stored))  # has a row already

    with_stand(tmp_path, work)


def test_discarded_leaves_nothing(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        for data in (b"x", b"x" * (INLINE_MAX + 1)):
            writer = stand.bodies.writer()
            writer.write(data)
            writer.discard()
            writer.discard()
            assert not (tmp_path / "files" / path_of(writer.id)).exists()

    with_stand(tmp_path, work)


def test_a_missing_body_says_so(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        with pytest.raises(BodyMissing):
            await stand.read(lambda tx: stand.bodies.content(tx, 5))
        assert stand.bodies.known(5, Bytes(b"abc")).read() == b"abc"

    with_stand(tmp_path, work)


def test_garbage_is_what_nobody_needs(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        for data in (b"one", b"two", b"x" * 300_000, b"y" * 300_000):
            await stand.append(account, inbox, data)
        await stand.run(lambda tx: messages.copy(tx, account, inbox, [2], 2))
        waiting = await stand.accept(("bob@b.example", None))
        child = await stand.accept(("bob@b.example", None), body=waiting.body, parent=waiting.id)
        sent = await stand.accept(("bob@b.example", Relayed("mx", "250")))
        orphan = await stand.bodies.from_bytes(b"z" * 300_000)  # its unit never came

        async def left() -> tuple[int, int]:
            count = await stand.read(lambda tx: tx.value("SELECT count(*) FROM body_data"))
            files = sum(1 for p in (tmp_path / "files").rglob("*") if p.is_file())
            return count, files

        async def collect() -> tuple[int, int]:
            done = await collect_garbage(stand.store, stand.bodies, stand.clock.ms)
            return done.bodies, done.files

        await stand.run(lambda tx: messages.expunge(tx, account, inbox, [1, 2, 3]))
        assert await collect() == (0, 0)  # all are young
        stand.clock.ms += DAY + 2
        fresh = await stand.bodies.from_bytes(b"new")
        await stand.run(lambda tx: bodies.put(tx, fresh))
        # "one", the first large one and the sent one (with both that were put beside `body=`).
        assert await collect() == (4, 1)
        assert not (tmp_path / "files" / path_of(orphan.id)).exists()
        assert await collect() == (0, 1)  # the file of an expunged message, one run later
        assert await left() == (3, 1)
        assert (await stand.read(lambda tx: stand.bodies.content(tx, waiting.body))).size
        with pytest.raises(BodyMissing):
            await stand.read(lambda tx: stand.bodies.content(tx, sent.body))
        for row in (waiting, child):
            assert await collect() == (0, 0)
            await stand.run(lambda tx, row=row: ledger.end(tx, row.id, 0, Relayed("mx", "250"), 1))
        assert await collect() == (1, 0)

    with_stand(tmp_path, work)


def test_what_came_back_to_life_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        body: Body = await stand.bodies.from_bytes(b"back")
        await stand.run(lambda tx: bodies.put(tx, body))
        stand.clock.ms += 2 * DAY
        run = stand.store.run
        placed = []

        async def late(unit, **given):  # type: ignore[no-untyped-def]
            if getattr(unit, "func", None) is not None and unit.func.__name__ == "_remove":
                placed.append(
                    await run(
                        lambda tx: messages.append(
                            tx,
                            account,
                            inbox,
                            body=body.id,
                            size=4,
                            prefix=b"",
                            text=messages.Text(b"", b"", b"", b"", "", "", ""),
                            received=1,
                        )
                    )
                )
            return await run(unit, **given)

        monkeypatch.setattr(stand.store, "run", late)
        assert (await collect_garbage(stand.store, stand.bodies, stand.clock.ms)).bodies == 0
        assert placed
        assert (await stand.read(lambda tx: stand.bodies.content(tx, body.id))).read() == b"back"

    with_stand(tmp_path, work)
