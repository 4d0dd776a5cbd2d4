"""Bodies in objects: names that are taken, a store that is away, what is bounded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from tests.support.stores import StandingClock

from estafeta.sim.disk import SimDisk
from estafeta.sim.loop import run
from estafeta.sim.objects import SimBucket, SimObjects
from estafeta.store.bodies import (
    Bodies,
    BodiesUnavailable,
    BodyMissing,
    NotBrought,
    bring,
    bring_each,
    names,
)
from estafeta.store.ids import Ids
from estafeta.store.limits import (
    BODY_TRANSFER_SECONDS_MAX,
    HEAD_OCTETS_MAX,
    HEADS_AT_ONCE,
    OBJECT_OCTETS_MAX,
    PARTS_AT_ONCE,
    TRANSFERS_AT_ONCE,
)

PART = OBJECT_OCTETS_MAX
LARGE = bytes(range(256)) * 2000  # 512,000 octets


class Meter:
    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        self.counted[" ".join((name, *labels.values()))] += int(by)

    def observe(self, name: str, value: float, **labels: str) -> None:
        return

    def gauge(self, name: str, value: float, **labels: str) -> None:
        return


class Place:
    """Bodies over a bucket, without a store."""

    def __init__(self, bucket: SimBucket, *, seed: int = 1, cache: int = 10**9) -> None:
        self.clock = StandingClock()
        self.disk = SimDisk()
        self.meter = Meter()
        self.ids = Ids(self.clock, random.Random(seed))
        self.bodies = Bodies(
            self.disk,
            self.ids,
            objects=SimObjects(bucket),
            large="s3",
            cache_octets=cache,
            meter=self.meter,
        )

    def again(self, id: int, size: int) -> Any:
        return self.bodies.made(id, size, names.IN_OBJECT, None)


def test_two_that_draw_the_same_name() -> None:
    """Two processes, the same millisecond, the same dice: each message keeps its own octets."""

    async def main() -> None:
        bucket = SimBucket()
        one, two = Place(bucket), Place(bucket)
        datas = [bytes([n]) * (2 * PART + n) for n in (1, 2)]
        made = await asyncio.gather(
            *(p.bodies.from_bytes(d) for p, d in zip((one, two), datas, strict=True))
        )
        assert made[0].id != made[1].id
        fresh = Place(bucket)
        for body, data in zip(made, datas, strict=True):
            found = fresh.again(body.id, len(data))
            await bring(found)
            assert found.read() == data

    run(main())


def test_an_answer_that_is_lost() -> None:
    """What was put then is garbage; the message goes under another name."""

    async def main() -> None:
        bucket = SimBucket()
        place = Place(bucket)
        put_ = SimObjects.put

        async def twice(self: SimObjects, name: str, data: bytes) -> None:
            if not bucket.objects:  # as a client does that tries again
                await put_(self, name, data)
            await put_(self, name, data)

        place.bodies.shelf._objects.put = twice.__get__(place.bodies.shelf._objects)
        body = await place.bodies.from_bytes(LARGE)
        assert len(bucket.objects) == 2
        found = Place(bucket).again(body.id, len(LARGE))
        await bring(found)
        assert found.read() == LARGE

    run(main())


def test_nothing_is_stored_where_the_store_is_away() -> None:
    async def main() -> None:
        bucket = SimBucket()
        place = Place(bucket)
        body = await place.bodies.from_bytes(LARGE)
        assert await place.bodies.trouble() == ""
        bucket.down = True
        with pytest.raises(BodiesUnavailable, match="does not answer"):
            await place.bodies.from_bytes(LARGE)
        small = await place.bodies.from_bytes(b"small")
        assert small.read() == b"small"
        other = Place(bucket)
        found = other.again(body.id, len(LARGE))
        for end in (10, None):
            with pytest.raises(BodiesUnavailable):
                await bring(found, end)
        with pytest.raises(NotBrought):
            found.read()
        assert "does not answer" in await place.bodies.trouble()
        bucket.down = False
        assert await place.bodies.trouble() == ""
        await bring(found)
        assert found.read() == LARGE
        assert place.meter.counted["objects put failed"] == 1

    run(main())


def test_a_store_that_never_answers() -> None:
    async def main() -> None:
        bucket = SimBucket()
        place = Place(bucket)
        body = await place.bodies.from_bytes(LARGE)
        never = asyncio.Event()

        async def hang(self: SimObjects) -> int:
            await never.wait()
            raise AssertionError

        SimObjects_arrive = SimObjects._arrive
        SimObjects._arrive = hang  # type: ignore[method-assign]
        try:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            found = Place(bucket).again(body.id, len(LARGE))
            # More than may be on their way: who has to wait for his turn waits no longer.
            works = [place.bodies.from_bytes(LARGE) for _ in range(2 * TRANSFERS_AT_ONCE)]
            done = await asyncio.gather(bring(found), *works, return_exceptions=True)
            assert all(isinstance(error, BodiesUnavailable) for error in done)
            assert loop.time() - begun == pytest.approx(BODY_TRANSFER_SECONDS_MAX)
        finally:
            SimObjects._arrive = SimObjects_arrive  # type: ignore[method-assign]
        assert (await place.bodies.from_bytes(LARGE)).size == len(LARGE)

    run(main())


def test_how_much_is_on_its_way() -> None:
    async def main() -> None:
        bucket = SimBucket()
        place = Place(bucket, cache=0)
        now = most = 0

        def begun(_: int) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)

        def ended(_: int) -> None:
            nonlocal now
            now -= 1

        arrive = SimObjects._arrive

        async def counted(self: SimObjects) -> int:
            begun(0)
            return await arrive(self)

        SimObjects._arrive = counted  # type: ignore[method-assign]
        bucket.after = ended
        try:
            data = bytes(3 * PART + 1)
            made = await asyncio.gather(*(place.bodies.from_bytes(data) for _ in range(12)))
            assert PARTS_AT_ONCE < most <= TRANSFERS_AT_ONCE * PARTS_AT_ONCE
            most = 0
            found = [place.again(body.id, body.size) for body in made]
            await asyncio.gather(*map(bring, found))
            assert PARTS_AT_ONCE < most <= TRANSFERS_AT_ONCE * PARTS_AT_ONCE
            most = 0
            many = [place.again(made[0].id, made[0].size) for _ in range(3 * HEADS_AT_ONCE)]
            await bring_each((each, 100) for each in many)
            assert 1 < most <= HEADS_AT_ONCE
        finally:
            SimObjects._arrive = arrive  # type: ignore[method-assign]

    run(main())


def test_what_several_want_is_fetched_once_and_kept() -> None:
    async def main() -> None:
        bucket = SimBucket()
        body = await Place(bucket).bodies.from_bytes(LARGE)
        place = Place(bucket)
        calls = bucket.calls
        tasks = [asyncio.create_task(bring(place.again(body.id, len(LARGE)))) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # its client has gone; the others still want it
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == [None] * 4
        await bring(place.again(body.id, len(LARGE)), 100)  # from the cache too
        assert bucket.calls == calls + 1
        assert place.meter.counted["bodies_cache hit"] == 1

    run(main())


def test_the_cache_has_an_end() -> None:
    async def main() -> None:
        bucket = SimBucket()
        place = Place(bucket, cache=3 * len(LARGE))
        made = [await place.bodies.from_bytes(LARGE) for _ in range(5)]
        shelf = place.bodies.shelf
        assert shelf is not None
        kept = [shelf.cached(body.id) is not None for body in made]
        assert kept == [False, False, True, True, True]
        shelf.cached(made[2].id)  # used last
        await place.bodies.from_bytes(LARGE)
        assert shelf.cached(made[2].id) is not None
        assert shelf.cached(made[3].id) is None
        assert made[0].read() == LARGE  # whoever holds one reads on
        huge = await place.bodies.from_bytes(bytes(4 * len(LARGE)))
        assert shelf.cached(huge.id) is None
        assert shelf.cached(made[2].id) is not None  # not driven out by it

    run(main())


def test_no_room_for_what_is_fetched() -> None:
    async def main() -> None:
        bucket = SimBucket()
        body = await Place(bucket).bodies.from_bytes(LARGE)
        place = Place(bucket)
        place.disk.capacity = 1000
        with pytest.raises(BodiesUnavailable, match="no space left"):
            await bring(place.again(body.id, len(LARGE)))
        found = place.again(body.id, len(LARGE))
        await bring(found, HEAD_OCTETS_MAX)  # that much needs none
        assert found.read(0, 256) == LARGE[:256]

    run(main())


def test_a_part_that_is_lost_or_short() -> None:
    async def main() -> None:
        bucket = SimBucket()
        data = bytes(2 * PART + 5)
        body = await Place(bucket).bodies.from_bytes(data)
        name = names.object_of(body.id, 2)
        bucket.objects[name] = b"shor"
        with pytest.raises(BodyMissing, match="shorter"):
            await bring(Place(bucket).again(body.id, len(data)))
        del bucket.objects[name]
        with pytest.raises(BodyMissing, match="no such object"):
            await bring(Place(bucket).again(body.id, len(data)))

    run(main())


def test_it_cannot_be_read_without_a_bucket() -> None:
    async def main() -> None:
        place = Place(SimBucket())
        without = Bodies(place.disk, place.ids)
        body = without.made(5, 1000, names.IN_OBJECT, None)
        with pytest.raises(BodiesUnavailable, match="names no bucket"):
            await bring(body)
        with_setting_alone = Bodies(place.disk, place.ids, large="s3")
        with pytest.raises(BodiesUnavailable):
            await with_setting_alone.from_bytes(LARGE)

    run(main())


def test_what_took_too_long_to_come_is_not_kept() -> None:
    """Else garbage might take its file for an old one, before the unit that refers to it."""

    async def main() -> None:
        place = Place(SimBucket())
        place.bodies.large = "files"
        writer = place.bodies.writer()
        writer.write(LARGE)
        place.clock.ms += 13 * 3_600_000
        with pytest.raises(BodiesUnavailable, match="too long"):
            await writer.finish()
        writer.discard()
        place.bodies.large = "s3"
        writer = place.bodies.writer()
        writer.write(LARGE)
        place.clock.ms += 13 * 3_600_000
        body = await writer.finish()  # an object gets its name when it is put
        place.bodies.must_be_young(body.id)

    run(main())


def test_names() -> None:
    dice = random.Random(3)
    ids = sorted(dice.getrandbits(63) for _ in range(200))
    found = [names.object_of(id, 0) for id in ids]
    assert found == sorted(found)
    for id in ids[:20]:
        assert names.parse_object(names.object_of(id, 12)) == (id, 12)
    good = names.object_of(ids[5], 1)
    for bad in (good[:-2], good + "x", good.lower(), "x/" + good, good.replace("-1", "-01"), "a"):
        with pytest.raises(ValueError, match=r"queue id|name of a body|invalid literal"):
            names.parse_object(bad)
    sizes = (0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1)
    assert [names.parts_of(size) for size in sizes] == [1, 1, 1, 1, 2, 2, 3]


def test_what_is_thrown_away_goes_beside() -> None:
    async def main() -> None:
        bucket = SimBucket()
        place = Place(bucket)
        body = await place.bodies.from_bytes(bytes(2 * PART + 1))
        other = await place.bodies.from_bytes(LARGE)
        assert len(bucket.objects) == 4
        place.bodies.discard(body)
        place.bodies.discard(place.again(other.id, len(LARGE)))  # it has a row
        await asyncio.sleep(1)
        assert bucket.names() == [names.object_of(other.id, 0)]
        bucket.down = True
        place.bodies.discard(other)
        await asyncio.sleep(1)

    run(main())
