"""House: where bodies are made and found again."""

from __future__ import annotations

import contextlib
from typing import Literal

from estafeta.mail.protocols import Content, Meter, NoMeter
from estafeta.store import meta
from estafeta.store.bodies.body import Body, BodyMissing
from estafeta.store.bodies.files import FileContent
from estafeta.store.bodies.names import IN_FILE, IN_OBJECT, folder_of, path_of
from estafeta.store.bodies.objects import BodiesUnavailable, ObjectContent, Shelf
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids, milliseconds, queue_id
from estafeta.store.limits import BODY_CACHE_OCTETS, BODY_MADE_MS_MAX, INLINE_BODY_OCTETS_MAX
from estafeta.world.seams import Disk, Objects, ScratchFile, WritableFile

INLINE_MAX = INLINE_BODY_OCTETS_MAX

Large = Literal["files", "s3"]
"""Where new large bodies go."""


class BodyWriter:
    """Takes the bytes of one message as they come. Raises OSError (ENOSPC, EROFS).

    At the end either `finish` or `discard`. On their way to an object they lie in a scratch file:
    so they can be sent again when the network fails, and need not be fetched to be looked at.
    """

    __slots__ = ("_file", "_house", "_pieces", "_scratch", "id", "size")

    def __init__(self, house: Bodies, id: int) -> None:
        self._house = house
        self._pieces: list[bytes] = []
        self._file: WritableFile | None = None
        self._scratch: ScratchFile | None = None
        self.id = id
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._file is not None:
            self._file.write(data)
            return
        if self._scratch is not None:
            self._scratch.write(data)
            return
        self._pieces.append(data)
        if self.size > INLINE_MAX:
            self._spill()

    def _spill(self) -> None:
        house = self._house
        large: WritableFile | ScratchFile
        if house.large == "s3":
            large = self._scratch = house.disk.scratch()
        else:
            large = self._file = house.disk.create(path_of(self.id))
        for piece in self._pieces:
            large.write(piece)
        self._pieces = []

    async def finish(self) -> Body:
        """A large body is durable when this returns; a small one with the unit that puts it.

        Raises BodiesUnavailable.
        """
        house = self._house
        if self._scratch is not None:
            return await house.to_objects(self._scratch, self.size)
        if self._file is None:
            pieces = self._pieces
            return Body(self.id, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        house.must_be_young(self.id)
        await self._file.sync()
        self._file.close()
        self._file = None
        await house.disk.sync_directory(folder_of(self.id))
        return Body(self.id, FileContent(house.disk, path_of(self.id), self.size))

    def discard(self) -> None:
        """Nothing stays."""
        self._pieces = []
        self._scratch = None
        if self._file is not None:
            self._file.close()
            self._file = None
            with contextlib.suppress(OSError):  # else it is garbage, and found as such
                self._house.disk.remove(path_of(self.id))


class Bodies:
    """disk: root for large bodies. ids: of the same installation as acceptances' ids.

    objects: the object store, where one is named. large: where new large bodies go from now on;
    old ones are found where they are. cache_octets: kept on disk of what lies in objects.
    """

    def __init__(
        self,
        disk: Disk,
        ids: Ids,
        *,
        objects: Objects | None = None,
        large: Large = "files",
        cache_octets: int = BODY_CACHE_OCTETS,
        meter: Meter | None = None,
    ) -> None:
        self._disk = disk
        self._ids = ids
        self.large: Large = large
        self.shelf = None
        self._owned = False
        self._store: Store | None = None  # whose bucket it must be, once somebody has asked
        if objects is not None:
            self.shelf = Shelf(
                objects, disk, ids, cache_octets=cache_octets, meter=meter or NoMeter()
            )

    async def own(self, store: Store) -> None:
        """Makes sure, once, that the object store is this installation's and can be written.

        Raises BodiesRefused, BodiesUnavailable. Nothing is removed there before.
        """
        self._store = store
        if self.shelf is None or self._owned:
            return
        new = queue_id(self._ids.next())
        await self.shelf.own(await store.run(lambda tx: meta.agreed(tx, "installation", new)))
        self._owned = True

    async def trouble(self) -> str:
        """What keeps the object store from working now; "" where nothing does."""
        if self.shelf is None or not self.shelf.trouble:
            return ""
        try:
            # Where no large message comes nothing would show that it is well again.
            await self.shelf.names("", 1)
        except BodiesUnavailable as error:
            return str(error)
        return ""

    @property
    def disk(self) -> Disk:
        return self._disk

    def writer(self) -> BodyWriter:
        return BodyWriter(self, self._ids.next())

    async def from_bytes(self, data: bytes) -> Body:
        """Raises OSError, BodiesUnavailable when it is large."""
        if len(data) <= INLINE_MAX:
            return Body(self._ids.next(), data)
        writer = self.writer()
        try:
            writer.write(data)
            return await writer.finish()
        except BaseException:
            writer.discard()
            raise

    async def to_objects(self, file: ScratchFile, size: int) -> Body:
        """Raises BodiesUnavailable."""
        if self.shelf is None:
            raise BodiesUnavailable("large bodies are to go to an object store, but none is named")
        if self._store is not None:
            # Where the store was away at the start: another installation would take for garbage
            # what we put among its own.
            await self.own(self._store)
        id = await self.shelf.put(file, size)
        return self._distant(id, ObjectContent(self.shelf, id, size, file))

    def must_be_young(self, id: int) -> None:
        """Garbage goes by age: a body that took half a day to come might be taken for it before
        its row is there. Raises BodiesUnavailable."""
        if milliseconds(self._ids.next()) - milliseconds(id) > BODY_MADE_MS_MAX:
            raise BodiesUnavailable(f"body {queue_id(id)} took too long to come")

    def discard(self, body: Body) -> None:
        """The file or objects of a body that no unit has put, and none will: to be called only
        where that is certain. Else it is garbage, and found as such."""
        if body.stored:
            return
        if body.filed == IN_OBJECT and self.shelf is not None:
            self.shelf.discard(body.id, body.size)
        if body.filed == IN_FILE:
            with contextlib.suppress(OSError):  # else it is garbage, and found as such
                self._disk.remove(path_of(body.id))

    def known(self, id: int, content: Content) -> Body:
        """A body that is in the store already."""
        distant = content.distant if isinstance(content, Body) else None
        return Body(id, content, stored=True, distant=distant)

    def content(self, tx: Tx, id: int) -> Body:
        """In memory, or where it lies; it may be read after the transaction, once it was brought
        (see body.bring). Raises BodyMissing."""
        row = tx.row(
            "SELECT size, filed, data FROM body LEFT JOIN body_data ON body_data.id = body.id"
            " WHERE body.id = ?",
            (id,),
        )
        return self.made(id, *(row or (None, None, None)))

    def made(self, id: int, size: int | None, filed: int | None, data: bytes | None) -> Body:
        """From the columns of its rows. Raises BodyMissing."""
        if data is not None:
            return Body(id, data, stored=True)
        if size is not None and filed == IN_FILE:
            return Body(id, FileContent(self._disk, path_of(id), size), stored=True)
        if size is not None and filed == IN_OBJECT:
            return self._distant(id, ObjectContent(self.shelf, id, size), stored=True)
        raise BodyMissing(f"body {queue_id(id)} is missing")

    def _distant(self, id: int, content: ObjectContent, *, stored: bool = False) -> Body:
        return Body(id, content, stored=stored, distant=content)
