"""Garbage in a bucket: what is ours and old goes, and the audit finds what is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand

from estafeta.sim.objects import SimBucket, SimObjects
from estafeta.store.audit import audit_full
from estafeta.store.bodies import Bodies, BodiesRefused, BodiesUnavailable, names, objects, put
from estafeta.store.garbage import collect_garbage

pytestmark = pytest.mark.usefixtures("each_engine")

DAYS = 2 * 86_400_000
LARGE = bytes(range(256)) * 2000  # 512,000 octets


class Whole:
    """A stand with its bodies in a bucket."""

    def __init__(self, folder: Path, bucket: SimBucket) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stand = Stand(folder)
        self.bucket = bucket
        self.stand.bodies = Bodies(
            self.stand.disk, self.stand.ids, objects=SimObjects(bucket), large="s3"
        )

    async def close(self) -> None:
        await self.stand.store.close()
        self.stand.clear()

    @property
    def bodies(self) -> Bodies:
        return self.stand.bodies

    async def collect(self) -> int:
        done = await collect_garbage(self.stand.store, self.bodies, self.stand.clock.ms)
        return done.objects


def with_whole(folder: Path, work: Any) -> None:
    async def main() -> None:
        whole = Whole(folder / "one", SimBucket())
        try:
            await work(whole)
        finally:
            await whole.close()

    asyncio.run(main())


def test_garbage_leaves_what_is_not_ours(tmp_path: Path) -> None:
    async def work(whole: Whole) -> None:
        whole.bucket.objects["bodies/readme"] = b"somebody's"
        old = names.object_of(1 << 40, 0)
        whole.bucket.objects[old] = b"an orphan"
        account = await whole.stand.account()
        inbox = await whole.stand.inbox(account)
        await whole.stand.append(account, inbox, LARGE)
        whole.stand.clock.ms += DAYS
        assert await whole.collect() == 1
        assert old not in whole.bucket.objects
        assert "bodies/readme" in whole.bucket.objects
        other = Whole(tmp_path / "two", whole.bucket)
        with pytest.raises(BodiesRefused, match="another installation"):
            await other.collect()
        with pytest.raises(BodiesRefused, match="another installation"):
            await other.bodies.own(other.stand.store)
        await other.close()
        assert len(whole.bucket.objects) == 3
        assert not [x async for x in audit(whole)]

    with_whole(tmp_path, work)


def test_nothing_is_put_before_the_bucket_is_known_to_be_ours(tmp_path: Path) -> None:
    """It was away at the start; meanwhile somebody else has taken it, or has had it all along."""

    async def work(whole: Whole) -> None:
        whole.bucket.down = True
        with pytest.raises(BodiesUnavailable):
            await whole.bodies.own(whole.stand.store)
        whole.bucket.objects[objects.OWNER] = b"another"
        whole.bucket.down = False
        with pytest.raises(BodiesRefused, match="another installation"):
            await whole.bodies.from_bytes(LARGE)
        assert whole.bucket.names() == [objects.OWNER]
        del whole.bucket.objects[objects.OWNER]
        await whole.bodies.from_bytes(LARGE)
        assert len(whole.bucket.objects) == 2

    with_whole(tmp_path, work)


def audit(whole: Whole) -> Any:
    return audit_full(whole.stand.store, whole.stand.disk, whole.bodies.shelf)


def test_parts_that_another_left_under_a_living_name(tmp_path: Path) -> None:
    async def work(whole: Whole) -> None:
        body = await whole.bodies.from_bytes(LARGE)
        account = await whole.stand.account()
        inbox = await whole.stand.inbox(account)
        whole.bucket.objects[names.object_of(body.id, 1)] = b"of one that lost"
        await whole.stand.run(lambda tx: put(tx, body))
        await whole.stand.append(account, inbox, LARGE)
        whole.stand.clock.ms += DAYS
        assert await whole.collect() == 1
        assert names.object_of(body.id, 0) in whole.bucket.objects

    with_whole(tmp_path, work)


def test_garbage_goes_through_a_full_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More objects than one listing gives, orphans among them."""
    monkeypatch.setattr("estafeta.store.garbage.OBJECTS_LISTED", 7)
    monkeypatch.setattr(objects, "OBJECTS_LISTED", 7)

    async def work(whole: Whole) -> None:
        account = await whole.stand.account()
        inbox = await whole.stand.inbox(account)
        for n in range(20):
            whole.stand.clock.ms += 1
            if n % 3:
                await whole.stand.append(account, inbox, LARGE)
            else:
                await whole.bodies.from_bytes(LARGE)
        whole.stand.clock.ms += DAYS
        young = await whole.bodies.from_bytes(LARGE)
        assert await whole.collect() == 7
        assert len(whole.bucket.objects) == 13 + 1 + 1
        assert names.object_of(young.id, 0) in whole.bucket.objects
        assert not [x async for x in audit(whole)]
        gone = [name for name in whole.bucket.names() if "-" in name][4]
        del whole.bucket.objects[gone]
        (finding,) = [x async for x in audit(whole)]
        assert finding.kind == "body-missing"
        assert "its objects are missing" in finding.text
        (finding,) = [x async for x in audit_full(whole.stand.store, whole.stand.disk)]
        assert "no object store is named" in finding.text

    with_whole(tmp_path, work)


def test_a_bucket_that_is_away_keeps_no_other_garbage(tmp_path: Path) -> None:
    async def work(whole: Whole) -> None:
        body = await whole.bodies.from_bytes(b"small")
        await whole.stand.run(lambda tx: put(tx, body))
        whole.stand.clock.ms += DAYS
        whole.bucket.down = True
        with pytest.raises(BodiesUnavailable):
            await whole.collect()
        assert await whole.stand.read(lambda tx: tx.value("SELECT count(*) FROM body")) == 0

    with_whole(tmp_path, work)


def test_a_server_that_replaces_objects_is_refused(tmp_path: Path) -> None:
    async def work(whole: Whole) -> None:
        async def replace(name: str, data: bytes) -> None:
            whole.bucket.objects[name] = data

        assert whole.bodies.shelf is not None
        whole.bodies.shelf._objects.put = replace  # type: ignore[method-assign]
        with pytest.raises(BodiesRefused, match="If-None-Match"):
            await whole.bodies.own(whole.stand.store)

    with_whole(tmp_path, work)


def test_two_collectors_meet_at_a_file(tmp_path: Path) -> None:
    async def work(whole: Whole) -> None:
        whole.bodies.large = "files"
        for _ in range(3):
            await whole.bodies.from_bytes(LARGE)
        whole.stand.clock.ms += DAYS
        remove = whole.stand.disk.remove
        taken: list[str] = []

        def first_by_another(path: str) -> None:
            if not taken:
                taken.append(path)
                remove(path)
            remove(path)

        whole.stand.disk.remove = first_by_another  # type: ignore[method-assign]
        done = await collect_garbage(whole.stand.store, whole.bodies, whole.stand.clock.ms)
        assert done.files == 2
        assert taken

    with_whole(tmp_path, work)
