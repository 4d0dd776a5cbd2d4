"""Garbage under crashes: whichever step is the last one, nothing that is referred to is missing
afterwards, and all that is not goes in the end.

One story of deliveries, deletions and collections is told again and again; each time the machine
dies at another step: a write, sync or deletion of SQLite, a call to the disk, a request to the
object store (before it is carried out, or after, with its answer lost).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import TEXT, StandingClock

from estafeta.mail.envelope import Recipient
from estafeta.mail.protocols import NoMeter
from estafeta.sim import vfs
from estafeta.sim.disk import SimDisk
from estafeta.sim.loop import run
from estafeta.sim.objects import SimBucket, SimObjects
from estafeta.store import accounts, ledger, mailboxes, messages
from estafeta.store.audit import audit_full
from estafeta.store.bodies import Bodies, Body, bring, house, names, objects, put
from estafeta.store.engine import Store, Tx
from estafeta.store.garbage import collect_garbage
from estafeta.store.ids import Ids
from estafeta.store.rows import Acceptance, Relayed
from estafeta.store.sqlite import open_sqlite

DAYS = 2 * 86_400_000
SMALL, LARGE, LARGER = 400, 900, 2_500  # octets: in the database, one object, three


class Died(BaseException):
    """The machine is gone; BaseException, because nobody has a chance to deal with it."""


class Steps:
    """Counts all that reaches disk or network, and ends it at step `last`."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.count = 0
        self.kill: Callable[[], None] = lambda: None

    def __call__(self, *_: object) -> None:
        self.count += 1
        if self.count == self.last:
            self.kill()
        if self.count >= self.last:
            raise Died


class SteppedDisk(SimDisk):
    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self._step = step

    def create(self, path: str) -> Any:
        self._step()
        return super().create(path)

    def grow(self, inode: Any, data: bytes) -> None:
        self._step()
        super().grow(inode, data)

    async def sync(self, inode: Any) -> None:
        self._step()
        await super().sync(inode)

    async def sync_directory(self, path: str) -> None:
        self._step()
        await super().sync_directory(path)

    def remove(self, path: str) -> None:
        self._step()
        super().remove(path)


class Life:
    """A store with its bodies, from opening to its end."""

    def __init__(
        self, domain: vfs.PowerDomain, disk: SimDisk, bucket: SimBucket, clock: StandingClock
    ) -> None:
        self.clock = clock
        self.disk = disk
        self.ids = Ids(clock, random.Random(clock.ms))
        self.bodies = Bodies(
            disk, self.ids, objects=SimObjects(bucket), cache_octets=5_000, meter=NoMeter()
        )
        self.store: Store = open_sqlite(f"{domain.root}/estafeta.db", clock=clock, inline=True)

    async def message(self, where: str, data: bytes) -> int:
        """Appended; its uid."""
        body = await self.orphan(where, data)

        def unit(tx: Tx) -> int:
            put(tx, body)
            placed = messages.append(
                tx,
                1,
                inbox(tx),
                body=body.id,
                size=len(data),
                prefix=b"",
                text=TEXT,
                received=self.clock.ms,
            )
            return placed.uid

        return await self.store.run(unit)

    async def queued(self, where: str, data: bytes) -> int:
        """Accepted for somebody elsewhere; the id."""
        body = await self.orphan(where, data)
        row = Acceptance(self.ids.next(), self.clock.ms, "smtp", "", body.id, len(data), 1)

        def unit(tx: Tx) -> None:
            put(tx, body)
            ledger.open_acceptance(tx, row, [Recipient("bob@b.example")], [None])

        await self.store.run(unit)
        return row.id

    async def orphan(self, where: str, data: bytes) -> Body:
        """Made durable; where its unit never comes, nobody's."""
        self.bodies.large = "s3" if where == "s3" else "files"
        return await self.bodies.from_bytes(data)

    async def collect(self) -> None:
        await collect_garbage(self.store, self.bodies, self.clock.ms)


def inbox(tx: Tx) -> int:
    found = mailboxes.mailbox_by_name(tx, 1, "INBOX")
    assert found is not None
    return found.id


class Model:
    """What the outside was told. there: octets by uid; leaving: uids whose deletion was asked for
    and not answered yet; queued: octets by acceptance."""

    def __init__(self) -> None:
        self.there: dict[int, bytes] = {}
        self.leaving: dict[int, bytes] = {}
        self.queued: dict[int, bytes] = {}


async def prologue(life: Life, model: Model) -> None:
    """Before the crashes begin: something old of every kind."""

    def people(tx: Tx) -> None:
        accounts.add_domain(tx, "a.example", life.clock.ms)
        assert accounts.add_account(tx, "ana@a.example", life.clock.ms).id == 1

    await life.store.run(people)
    dice = random.Random(1)
    for where, size in (("files", SMALL), ("files", LARGE), ("s3", LARGE), ("s3", LARGER)):
        for _ in range(2):
            data = dice.randbytes(size)
            model.there[await life.message(where, data)] = data
        await life.orphan(where, dice.randbytes(size))
    data = dice.randbytes(LARGER)
    model.queued[await life.queued("s3", data)] = data
    await life.collect()  # it also takes hold of the bucket


async def story(life: Life, model: Model, *, collectors: int) -> None:
    async def at_once(*works: Coroutine[Any, Any, None]) -> None:
        for error in await asyncio.gather(*works, return_exceptions=True):
            if error is not None:
                raise error

    async def collect() -> None:
        await at_once(*(life.collect() for _ in range(collectors)))

    async def deliver(where: str, size: int) -> None:
        data = dice.randbytes(size)
        model.there[await life.message(where, data)] = data

    async def expunge(uids: list[int]) -> None:
        for uid in uids:
            model.leaving[uid] = model.there.pop(uid)
        await life.store.run(lambda tx: messages.expunge(tx, 1, inbox(tx), uids))
        model.leaving.clear()

    dice = random.Random(2)
    await expunge([1, 3, 5, 7])
    life.clock.ms += DAYS
    await at_once(deliver("s3", LARGER), collect(), deliver("s3", LARGE))
    await deliver("files", LARGE)
    await collect()
    # Another message with the same body, and then the first one goes: the body must stay.
    box = await life.store.read(inbox)
    copied = await life.store.run(lambda tx: messages.copy(tx, 1, box, [8], box))
    model.there[copied.uids[0][1]] = model.there[8]
    await expunge([8])
    accepted = next(iter(model.queued))
    model.queued.pop(accepted)
    await life.store.run(lambda tx: ledger.end(tx, accepted, 0, Relayed("mx", "250"), 1))
    life.clock.ms += DAYS
    await collect()
    await collect()


async def check(life: Life, model: Model) -> None:
    """All that was answered is there whole."""
    findings = [found async for found in audit_full(life.store, life.disk, life.bodies.shelf)]
    kinds = {found.kind for found in findings}
    assert "body-missing" not in kinds, findings
    box = await life.store.read(inbox)
    rows = await life.store.read(lambda tx: messages.rows(tx, 1, box, 1, 1000))
    there = {row.uid for row in rows}
    assert model.there.keys() <= there
    for row in rows:
        found = await life.store.read(
            lambda tx, uid=row.uid: messages.content(tx, life.bodies, 1, box, uid)
        )
        await bring(found[1])
        data = found[1].read()
        assert len(data) == row.size
        known = model.there.get(row.uid, model.leaving.get(row.uid))
        assert known is None or data == known
    for id, data in model.queued.items():
        row = await life.store.read(lambda tx, i=id: ledger.acceptance(tx, i))
        body = await life.store.read(lambda tx, r=row: life.bodies.content(tx, r.body))
        await bring(body)
        assert body.read() == data


async def check_clean(life: Life, bucket: SimBucket) -> None:
    """There is nothing besides what is referred to."""

    def look(tx: Tx) -> tuple[list[tuple[int, int, int]], set[int], int]:
        rows = [(r[0], r[1], r[2]) for r in tx.rows("SELECT id, filed, size FROM body")]
        used = {r[0] for r in tx.rows("SELECT body FROM message")}
        used |= {
            r[0]
            for r in tx.rows(
                "SELECT acceptance.body FROM acceptance JOIN recipient"
                " ON recipient.acceptance = acceptance.id WHERE fate IS NULL"
            )
        }
        return rows, used, tx.value("SELECT count(*) FROM body_data")

    rows, used, datas = await life.store.read(look)
    assert {id for id, _, _ in rows} == used
    assert datas == sum(filed == names.IN_ROW for _, filed, _ in rows)
    files = {
        f"{names.FOLDER}/{folder}/{name}"
        for folder in life.disk.list(names.FOLDER)
        for name in life.disk.list(f"{names.FOLDER}/{folder}")
    }
    assert files == {names.path_of(id) for id, filed, _ in rows if filed == names.IN_FILE}
    expected = {
        names.object_of(id, part)
        for id, filed, size in rows
        if filed == names.IN_OBJECT
        for part in range(names.parts_of(size))
    }
    assert set(bucket.names()) == expected | {objects.OWNER}


def told(folder: Path, last: int, death: str, collectors: int = 1) -> int:
    """The story, ended at step `last` by `death`; steps taken."""

    async def main() -> int:
        vfs.install()
        clock = StandingClock()
        bucket = SimBucket()
        steps = Steps(10**9)
        disk: SimDisk = SteppedDisk(steps)
        (folder / "1").mkdir(parents=True)
        domain = vfs.PowerDomain(folder / "1")
        model = Model()
        life = Life(domain, disk, bucket, clock)
        await prologue(life, model)

        before = domain.before

        def stepped(operation: Any, name: str) -> None:
            with contextlib.suppress(Died):  # SQLite knows its own errors alone
                steps()
            before(operation, name)

        def kill() -> None:
            domain.dead = disk.dead = True

        domain.before = stepped  # type: ignore[method-assign]
        bucket.before = bucket.after = steps
        steps.count, steps.last, steps.kill = 0, last, kill
        try:
            await story(life, model, collectors=collectors)
        except BaseException:
            if steps.count < last:
                raise
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        taken = steps.count
        bucket.before = bucket.after = lambda number: None
        dice = random.Random(last) if death == "torn" else None
        lost = death != "crash"
        domain = domain.move(folder / "2", power_lost=lost, torn=dice)
        disk = disk.after(power_lost=lost, torn=dice)

        clock.ms += 1000
        life = Life(domain, disk, bucket, clock)
        await check(life, model)
        for _ in range(3):
            clock.ms += DAYS
            await life.collect()
        await check(life, model)
        await check_clean(life, bucket)
        await life.store.close()
        domain.close()
        return taken

    return run(main())


@pytest.fixture(autouse=True)
def small_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same story with a few hundred octets in place of megabytes."""
    monkeypatch.setattr(house, "INLINE_MAX", 500)
    monkeypatch.setattr(names, "OBJECT_OCTETS_MAX", 1000)
    monkeypatch.setattr(objects, "OBJECT_OCTETS_MAX", 1000)
    monkeypatch.setattr(objects, "HEAD_OCTETS_MAX", 100)


def test_told_to_its_end(tmp_path: Path) -> None:
    told(tmp_path / "alone", 10**6, "crash")
    told(tmp_path / "both", 10**6, "crash", 2)


@pytest.mark.parametrize(("death", "collectors"), [("crash", 1), ("power", 2), ("torn", 2)])
def test_a_death_at_each_step(tmp_path: Path, death: str, collectors: int) -> None:
    steps = told(tmp_path / "all", 10**6, death, collectors)
    assert steps > 100
    for last in range(1, steps + 1):
        assert told(tmp_path / str(last), last, death, collectors) >= last
