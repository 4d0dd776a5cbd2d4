"""Objects: a bucket in memory that several machines share, with time that passes and faults.

Implements `seams.Objects`. What was put before a crash of a machine stays: the bucket is elsewhere.
A request that is cut by the death of its machine was carried out, or was not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from estafeta.world.seams import ObjectExists, ObjectMissing, ObjectsError

REQUEST_SECONDS = 0.01
"""What a request takes, half of it before it is carried out."""


class SimBucket:
    """down: no request is answered. calls: requests begun, by anybody.

    before: called with the number of a request before it is carried out; after: once it was, and
    before its answer is under way. Where one raises, the request ends so.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.down = False
        self.calls = 0
        self.before: Callable[[int], None] = _nothing
        self.after: Callable[[int], None] = _nothing

    def names(self) -> list[str]:
        return sorted(self.objects)


class SimObjects:
    """One machine's way to a bucket. sure: finds it also when it is away, and in no time, as a
    judge must."""

    def __init__(self, bucket: SimBucket, *, sure: bool = False) -> None:
        self._bucket = bucket
        self._sure = sure

    async def put(self, name: str, data: bytes) -> None:
        number = await self._arrive()
        if name in self._bucket.objects:
            raise ObjectExists(f"put {name}: the name is taken")
        self._bucket.objects[name] = bytes(data)
        await self._answer(number)

    async def get(self, name: str, start: int, end: int) -> bytes:
        number = await self._arrive()
        if name not in self._bucket.objects:
            raise ObjectMissing(f"get {name}: there is no such object")
        data = self._bucket.objects[name][start:end]
        await self._answer(number)
        return data

    async def list(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        number = await self._arrive()
        objects = self._bucket.objects
        names = [name for name in sorted(objects) if name.startswith(prefix) and name > after]
        found = [(name, len(objects[name])) for name in names[:limit]]
        await self._answer(number)
        return found

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            number = await self._arrive()
            self._bucket.objects.pop(name, None)
            await self._answer(number)

    async def _arrive(self) -> int:
        bucket = self._bucket
        bucket.calls += 1
        number = bucket.calls
        if self._sure:
            return number
        await asyncio.sleep(REQUEST_SECONDS / 2)
        if bucket.down:
            raise ObjectsError("the object store does not answer")
        bucket.before(number)
        return number

    async def _answer(self, number: int) -> None:
        if self._sure:
            return
        self._bucket.after(number)
        await asyncio.sleep(REQUEST_SECONDS / 2)


async def unsteady(
    bucket: SimBucket, seconds: float, dice: random.Random, tell: Callable[[str], None]
) -> None:
    """Lets a bucket be away now and then, for so long; it is there at the end."""
    end = asyncio.get_running_loop().time() + seconds
    try:
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(dice.uniform(0, seconds / 3))
            bucket.down = True
            tell("bucket away")
            await asyncio.sleep(dice.uniform(1, seconds / 5))
            bucket.down = False
    finally:
        bucket.down = False


def _nothing(number: int) -> None:
    return
