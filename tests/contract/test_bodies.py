"""Bodies: the same for whoever writes and reads them, wherever they lie."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.support.s3 import S3Server, s3_server
from tests.support.stores import Stand, with_stand

from estafeta.sim.objects import SimBucket, SimObjects
from estafeta.store.bodies import INLINE_MAX, Bodies, Body, BodyMissing, NotBrought, bring, put
from estafeta.store.limits import HEAD_OCTETS_MAX, OBJECT_OCTETS_MAX
from estafeta.world.seams import Objects

SIZES = (
    0,
    INLINE_MAX,
    INLINE_MAX + 1,
    OBJECT_OCTETS_MAX - 1,
    OBJECT_OCTETS_MAX,
    OBJECT_OCTETS_MAX + 1,
    3 * OBJECT_OCTETS_MAX + 12_345,
)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


Make = Callable[[Stand], Bodies]


@pytest.fixture(params=["files", "simulated", "s3"])
def make(request: pytest.FixtureRequest) -> Make:
    """Bodies with a cache of their own, over the same place at each call."""
    objects: Objects | None = None
    if request.param == "simulated":
        bucket = SimBucket()
        objects = SimObjects(bucket)
    elif request.param == "s3":
        objects = request.getfixturevalue("server").objects(prefix=f"{request.node.name}/")

    def made(stand: Stand) -> Bodies:
        return Bodies(stand.disk, stand.ids, objects=objects, large="s3" if objects else "files")

    return made


async def write(bodies: Bodies, data: bytes, dice: random.Random) -> Body:
    writer = bodies.writer()
    at = 0
    while at < len(data):
        step = dice.randrange(1, 500_000)
        writer.write(data[at : at + step])
        at += step
    body = await writer.finish()
    assert body.size == len(data)
    assert body.read() == data  # whoever has just written it need not fetch it
    return body


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(tmp_path: Path, make: Make, size: int) -> None:
    async def work(stand: Stand) -> None:
        dice = random.Random(size)
        data = dice.randbytes(size)
        bodies = make(stand)
        made = await write(bodies, data, dice)
        await stand.run(lambda tx: put(tx, made))
        for other in (bodies, make(stand)):
            body = await stand.read(lambda tx, b=other: b.content(tx, made.id))
            await bring(body)
            for content in (made, body):
                assert content.size == size
                assert content.read() == data
                assert content.read(3, 9) == data[3:9]
                assert content.read(size - 1) == data[size - 1 :] or not size
                assert content.read(size, size + 5) == b""
                low, high = sorted((dice.randrange(size + 1), dice.randrange(size + 1)))
                assert content.read(low, high) == data[low:high]
                pieces = list(content.chunks())
                assert b"".join(pieces) == data
                assert all(len(piece) <= 65_536 for piece in pieces)
            await stand.run(lambda tx, b=body: put(tx, b))  # has a row already

    with_stand(tmp_path, work)


def test_a_header_alone(tmp_path: Path, make: Make) -> None:
    async def work(stand: Stand) -> None:
        data = random.Random(1).randbytes(3_000_000)
        bodies = make(stand)
        id = (await write(bodies, data, random.Random(2))).id
        row = await bodies.from_bytes(data)
        await stand.run(lambda tx: put(tx, row))
        body = await stand.read(lambda tx: make(stand).content(tx, row.id))
        await bring(body, 100)
        assert body.read(0, 100) == data[:100]
        await bring(body, HEAD_OCTETS_MAX)
        assert body.read(50, HEAD_OCTETS_MAX) == data[50:HEAD_OCTETS_MAX]
        await bring(body, HEAD_OCTETS_MAX + 1)
        assert body.read() == data
        assert id != row.id

    with_stand(tmp_path, work)


def test_gone_is_told(tmp_path: Path, make: Make) -> None:
    async def work(stand: Stand) -> None:
        body = make(stand).made(stand.ids.next(), 1_000_000, 2, None)
        with pytest.raises(BodyMissing if make(stand).shelf else Exception):
            await bring(body)
        with pytest.raises((BodyMissing, NotBrought, FileNotFoundError)):
            body.read()
        with pytest.raises(BodyMissing):
            await stand.read(lambda tx: make(stand).content(tx, 5))

    with_stand(tmp_path, work)


def test_many_at_once(tmp_path: Path, make: Make) -> None:
    """More than may be on their way at the same time."""

    async def work(stand: Stand) -> None:
        dice = random.Random(5)
        datas = [dice.randbytes(300_000 + n) for n in range(24)]
        bodies = make(stand)
        made = await asyncio.gather(*(bodies.from_bytes(data) for data in datas))
        assert len({body.id for body in made}) == len(made)
        await stand.run(lambda tx: [put(tx, body) for body in made] and None)
        fresh = make(stand)

        async def fetch(id: int) -> bytes:
            body = await stand.read(lambda tx: fresh.content(tx, id))
            await bring(body)
            return bytes(body.read())

        asked: list[Awaitable[bytes]] = [fetch(body.id) for body in made for _ in range(3)]
        got = await asyncio.gather(*asked)
        assert got == [data for data in datas for _ in range(3)]

    with_stand(tmp_path, work)
