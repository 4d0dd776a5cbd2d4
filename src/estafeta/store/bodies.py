"""Bodies: the bytes of messages; small ones are rows, large ones a file each.

Promises: a file and its name are synced before the unit that refers to it begins. Ids come before
any reference; there are no counters: garbage.py finds what nothing refers to. A body is written
once and never changes, so one may be shared by any number of messages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from estafeta.mail.protocols import Content
from estafeta.store.engine import StoreError, Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.limits import INLINE_BODY_OCTETS_MAX
from estafeta.world.seams import Disk, WritableFile

INLINE_MAX = INLINE_BODY_OCTETS_MAX
FOLDER = "bodies"
_PIECE = 65536
_PUT = "INSERT INTO body (id, size, filed) VALUES (?, ?, ?)"
_PUT_DATA = "INSERT INTO body_data (id, data) VALUES (?, ?)"


class BodyMissing(StoreError):
    """A body that something refers to is not there: a matter for `audit --full`."""


def folder_of(body: int) -> str:
    """One folder for every 4.7 hours."""
    return f"{FOLDER}/{queue_id(body)[:4]}"


def path_of(body: int) -> str:
    return f"{folder_of(body)}/{queue_id(body)}"


class Body:
    """Content with an id. `stored`: its row is committed already, `put` has nothing to do."""

    __slots__ = ("_content", "data", "id", "size", "stored")

    def __init__(self, id: int, content: Content | bytes, *, stored: bool = False) -> None:
        self.id = id
        self.stored = stored
        if isinstance(content, bytes):
            self.data: bytes | None = content
            self._content: Content | None = None
            self.size = len(content)
        else:
            self.data = None
            self._content = content
            self.size = content.size

    def chunks(self) -> Iterator[bytes]:
        if self.data is None:
            assert self._content is not None
            yield from self._content.chunks()
        elif len(self.data) <= _PIECE:
            yield self.data
        else:
            for start in range(0, len(self.data), _PIECE):
                yield self.data[start : start + _PIECE]

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        if self.data is None:
            assert self._content is not None
            return self._content.read(start, end)
        if start == 0 and end is None:
            return self.data
        return self.data[start:end]


class FileContent:
    """A Content in a file of `disk`."""

    __slots__ = ("_disk", "_path", "size")

    def __init__(self, disk: Disk, path: str, size: int) -> None:
        self._disk = disk
        self._path = path
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, self.size, _PIECE):
            yield self._disk.read(self._path, start, min(start + _PIECE, self.size))

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        end = self.size if end is None else min(end, self.size)
        return self._disk.read(self._path, start, end) if start < end else b""


class BodyWriter:
    """Takes the bytes of one message as they come. Raises OSError (ENOSPC, EROFS).

    At the end either `finish` or `discard`.
    """

    __slots__ = ("_disk", "_file", "_pieces", "id", "size")

    def __init__(self, disk: Disk, id: int) -> None:
        self._disk = disk
        self._pieces: list[bytes] = []
        self._file: WritableFile | None = None
        self.id = id
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._file is not None:
            self._file.write(data)
            return
        self._pieces.append(data)
        if self.size > INLINE_MAX:
            self._file = self._disk.create(path_of(self.id))
            for piece in self._pieces:
                self._file.write(piece)
            self._pieces = []

    async def finish(self) -> Body:
        """A large body is durable when this returns; a small one with the unit that puts it."""
        if self._file is None:
            pieces = self._pieces
            return Body(self.id, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        await self._file.sync()
        self._file.close()
        self._file = None
        await self._disk.sync_directory(folder_of(self.id))
        return Body(self.id, FileContent(self._disk, path_of(self.id), self.size))

    def discard(self) -> None:
        """Nothing stays."""
        self._pieces = []
        if self._file is not None:
            self._file.close()
            self._file = None
            with contextlib.suppress(OSError):  # else it is garbage, and found as such
                self._disk.remove(path_of(self.id))


class Bodies:
    """disk: root for large bodies. ids: of the same installation as acceptances' ids."""

    def __init__(self, disk: Disk, ids: Ids) -> None:
        self._disk = disk
        self._ids = ids

    def writer(self) -> BodyWriter:
        return BodyWriter(self._disk, self._ids.next())

    async def from_bytes(self, data: bytes) -> Body:
        """Raises OSError when it needs a file."""
        if len(data) <= INLINE_MAX:
            return Body(self._ids.next(), data)
        writer = self.writer()
        try:
            writer.write(data)
            return await writer.finish()
        except OSError:
            writer.discard()
            raise

    def discard(self, body: Body) -> None:
        """The file of a body that no unit has put, and none will."""
        if not body.stored and body.data is None:
            with contextlib.suppress(OSError):  # else it is garbage, and found as such
                self._disk.remove(path_of(body.id))

    @property
    def disk(self) -> Disk:
        return self._disk

    def known(self, id: int, content: Content) -> Body:
        """A body that is in the store already."""
        return Body(id, content, stored=True)

    def content(self, tx: Tx, id: int) -> Body:
        """In memory, or in its file; it may be read after the transaction. Raises BodyMissing."""
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
        if size is None or not filed:
            raise BodyMissing(f"body {queue_id(id)} is missing")
        return Body(id, FileContent(self._disk, path_of(id), size), stored=True)


def put(tx: Tx, body: Body) -> None:
    """Its row, unless it has one."""
    if not body.stored:
        tx.run(_PUT, (body.id, body.size, int(body.data is None)))
        if body.data is not None:
            tx.run(_PUT_DATA, (body.id, body.data))
