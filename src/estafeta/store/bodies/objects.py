"""Objects: bodies in an object store, and the way there and back.

Promises: `put` returns once every octet is durable there; memory is bounded by TRANSFERS_AT_ONCE,
disk by the cache's size and by what is in use; what several ask for is fetched once; every wait
ends, in BodiesUnavailable at the latest.

A body is cut into objects of OBJECT_OCTETS_MAX: each is whole or not there, so nothing half-done
can hide in the bucket, and a listing shows all there is. The first one claims the body's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from estafeta.mail.protocols import Meter
from estafeta.store.bodies.body import BodyMissing, NotBrought, all_of
from estafeta.store.bodies.cache import Cache
from estafeta.store.bodies.names import FOLDER, IN_OBJECT, object_of, parse_object, parts_of
from estafeta.store.engine import StoreError
from estafeta.store.ids import Ids, queue_id
from estafeta.store.limits import (
    BODY_PIECE_OCTETS,
    BODY_TRANSFER_SECONDS_MAX,
    HEAD_OCTETS_MAX,
    HEADS_AT_ONCE,
    OBJECT_NAMES_TRIED_MAX,
    OBJECT_OCTETS_MAX,
    OBJECTS_LISTED,
    OWN_SECONDS_MAX,
    PARTS_AT_ONCE,
    TRANSFERS_AT_ONCE,
)
from estafeta.world.seams import (
    Disk,
    ObjectExists,
    ObjectMissing,
    Objects,
    ObjectsError,
    ObjectsRefused,
    ScratchFile,
)

T = TypeVar("T")

OWNER = "installation"
"""The object that says whose the place is: garbage is what *our* rows do not know."""


class BodiesUnavailable(StoreError):
    """The object store does not do it now. SMTP: 451 4.3.0."""


class BodiesRefused(BodiesUnavailable):
    """Bucket, rights or credentials are wrong: a person must see to it."""


class ObjectContent:
    """A Content in objects. shelf: None where no object store is named any more. file: where all of
    it lies already."""

    __slots__ = ("_file", "_head", "_id", "_shelf", "size")

    filed = IN_OBJECT

    def __init__(
        self, shelf: Shelf | None, id: int, size: int, file: ScratchFile | None = None
    ) -> None:
        self._shelf = shelf
        self._id = id
        self._file = file
        self._head = b""
        self.size = size

    async def bring(self, end: int) -> None:
        """A header is fetched alone; who wants more gets all of it."""
        if self._file is not None or end <= len(self._head):
            return
        if self._shelf is None:
            raise BodiesUnavailable(
                f"body {queue_id(self._id)} lies in an object store, but [s3] names no bucket"
            )
        self._file = self._shelf.cached(self._id)
        if self._file is None:
            if end <= HEAD_OCTETS_MAX < self.size:
                self._head = await self._shelf.head(self._id, HEAD_OCTETS_MAX)
            else:
                self._file = await self._shelf.bring(self._id, self.size)

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, self.size, BODY_PIECE_OCTETS):
            yield self.read(start, start + BODY_PIECE_OCTETS)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        end = self.size if end is None else min(end, self.size)
        if start >= end:
            return b""
        if self._file is not None:
            return self._file.read(start, end)
        if end > len(self._head):
            raise NotBrought(f"body {queue_id(self._id)} was read before it was brought")
        return self._head[start:end]


class Shelf:
    """The object store as bodies see it."""

    def __init__(
        self, objects: Objects, disk: Disk, ids: Ids, *, cache_octets: int, meter: Meter
    ) -> None:
        self._objects = objects
        self._disk = disk
        self._ids = ids
        self._meter = meter
        self._cache = Cache(cache_octets)
        self._transfers = asyncio.Semaphore(TRANSFERS_AT_ONCE)
        self._heads = asyncio.Semaphore(HEADS_AT_ONCE)
        self._coming: dict[int, asyncio.Task[ScratchFile]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.trouble = ""  # of the last request that got no answer, until one gets one

    # -- there ---------------------------------------------------------------------------------

    async def put(self, file: ScratchFile, size: int) -> int:
        """Makes `size` octets of `file` durable; their id. Raises BodiesUnavailable."""
        with _told():
            async with asyncio.timeout(BODY_TRANSFER_SECONDS_MAX), self._transfers:
                for _ in range(OBJECT_NAMES_TRIED_MAX):
                    # Young, whatever time the octets took to come: garbage goes by age.
                    id = self._ids.next()
                    try:
                        await self._put_as(id, file, size)
                    except ObjectExists:
                        # Of another process in the same millisecond; or our own, whose answer was
                        # lost: that one becomes garbage.
                        continue
                    self._cache.keep(id, file, size)
                    return id
        raise BodiesUnavailable("the object store takes no new name")

    async def _put_as(self, id: int, file: ScratchFile, size: int) -> None:
        parts = range(parts_of(size))
        await self._put_part(id, file, size, 0)
        for first in range(1, len(parts), PARTS_AT_ONCE):
            await all_of(
                self._put_part(id, file, size, part)
                for part in parts[first : first + PARTS_AT_ONCE]
            )

    async def _put_part(self, id: int, file: ScratchFile, size: int, part: int) -> None:
        start = part * OBJECT_OCTETS_MAX
        data = file.read(start, min(size, start + OBJECT_OCTETS_MAX))
        await self._timed("put", self._objects.put(object_of(id, part), data))

    def discard(self, id: int, size: int) -> None:
        """Removes, beside, what `put` has just stored. Nobody waits, and it may fail."""
        task = asyncio.create_task(self._discard(id, size))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _discard(self, id: int, size: int) -> None:
        with suppress(StoreError):  # else it is garbage, and found as such
            await self.delete([object_of(id, part) for part in range(parts_of(size))])

    # -- and back ------------------------------------------------------------------------------

    def cached(self, id: int) -> ScratchFile | None:
        """Where a body lies whole, if it does."""
        file = self._cache.find(id)
        if file is not None:
            self._meter.count("bodies_cache", result="hit")
        return file

    async def head(self, id: int, end: int) -> bytes:
        """The octets [0, end), end at most OBJECT_OCTETS_MAX, of a body that has them."""
        with _told():
            async with asyncio.timeout(BODY_TRANSFER_SECONDS_MAX), self._heads:
                return bytes(await self._get(id, 0, end))

    async def bring(self, id: int, size: int) -> ScratchFile:
        """All of a body. Raises BodiesUnavailable, BodyMissing."""
        self._meter.count("bodies_cache", result="miss")
        task = self._coming.get(id)
        if task is None:
            task = self._coming[id] = asyncio.create_task(self._bring(id, size))
            task.add_done_callback(lambda done: self._came(id, done))
        # Who waits may be cancelled; the others wait on.
        return await asyncio.shield(task)

    def _came(self, id: int, done: asyncio.Task[ScratchFile]) -> None:
        del self._coming[id]
        if not done.cancelled():
            done.exception()  # seen, even where nobody waits any more

    async def _bring(self, id: int, size: int) -> ScratchFile:
        parts = parts_of(size)
        with _told():
            async with asyncio.timeout(BODY_TRANSFER_SECONDS_MAX), self._transfers:
                file = self._disk.scratch()
                for first in range(0, parts, PARTS_AT_ONCE):
                    for data in await all_of(
                        self._get(id, part, min(OBJECT_OCTETS_MAX, size - part * OBJECT_OCTETS_MAX))
                        for part in range(first, min(parts, first + PARTS_AT_ONCE))
                    ):
                        file.write(data)
        self._cache.keep(id, file, size)
        return file

    async def _get(self, id: int, part: int, octets: int) -> bytes | memoryview:
        """The first so many of an object."""
        name = object_of(id, part)
        data = await self._timed("get", self._objects.get(name, 0, octets))
        if len(data) != octets:
            raise BodyMissing(f"body {queue_id(id)}: {name} is shorter than its row says")
        return data

    # -- for garbage and audit -----------------------------------------------------------------

    async def names(self, after: str, limit: int) -> Sequence[tuple[str, int]]:
        """(name, octets) of the next objects, in the order of ids. Raises BodiesUnavailable."""
        with _told():
            async with asyncio.timeout(BODY_TRANSFER_SECONDS_MAX):
                return await self._timed("list", self._objects.list(FOLDER + "/", after, limit))

    async def sizes(self, first: int, last: int) -> dict[int, dict[int, int]]:
        """Octets by body from `first` to `last`, and by part. Raises BodiesUnavailable."""
        found: dict[int, dict[int, int]] = {}
        after = object_of(first, 0)[:-1]
        while True:
            some = await self.names(after, OBJECTS_LISTED)
            for name, octets in some:
                try:
                    id, part = parse_object(name)
                except ValueError:
                    continue
                if id > last:
                    return found
                found.setdefault(id, {})[part] = octets
            if len(some) < OBJECTS_LISTED:
                return found
            after = some[-1][0]

    async def delete(self, names: Sequence[str]) -> None:
        """Those that are there. Raises BodiesUnavailable."""
        with _told():
            async with asyncio.timeout(BODY_TRANSFER_SECONDS_MAX):
                await self._timed("delete", self._objects.delete(names))

    async def own(self, owner: str) -> None:
        """Writes down whose the place is, or compares it. Raises BodiesRefused where it is not
        `owner`'s, BodiesUnavailable."""
        mark = owner.encode("ascii")
        with _told():
            async with asyncio.timeout(OWN_SECONDS_MAX):
                try:
                    await self._objects.put(OWNER, mark)
                    await self._objects.put(OWNER, mark)
                except ObjectExists:
                    found = await self._objects.get(OWNER, 0, len(mark))
                else:
                    raise BodiesRefused(
                        "the object store ignores If-None-Match, without which two messages could "
                        "get one name"
                    )
        if bytes(found) != mark:
            raise BodiesRefused(
                "the bucket holds the bodies of another installation; choose another bucket or "
                "[s3] prefix"
            )

    # -- inside --------------------------------------------------------------------------------

    async def _timed(self, operation: str, work: Awaitable[T]) -> T:
        clock = asyncio.get_running_loop().time
        begun, result = clock(), "failed"
        try:
            done = await work
            result, self.trouble = "ok", ""
        except (ObjectExists, ObjectMissing):
            result, self.trouble = "ok", ""
            raise
        except ObjectsError as error:
            self.trouble = str(error)
            raise
        except asyncio.CancelledError:
            self.trouble = f"{operation} takes too long"
            raise
        finally:
            self._meter.count("objects", operation=operation, result=result)
            self._meter.observe("objects_seconds", clock() - begun, operation=operation)
        return done


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong outside, as the store says it."""
    try:
        yield
    except ObjectMissing as error:
        raise BodyMissing(str(error)) from error
    except ObjectsRefused as error:
        raise BodiesRefused(str(error)) from error
    except ObjectsError as error:
        raise BodiesUnavailable(str(error)) from error
    except TimeoutError as late:
        raise BodiesUnavailable("the object store is too slow") from late
    except OSError as error:
        raise BodiesUnavailable(f"no place for the body on its way: {error}") from error
