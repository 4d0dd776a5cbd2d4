"""Files: bodies in the data folder."""

from __future__ import annotations

from collections.abc import Iterator

from estafeta.store.limits import BODY_PIECE_OCTETS
from estafeta.world.seams import Disk


class FileContent:
    """A Content in a file of `disk`."""

    __slots__ = ("_disk", "_path", "size")

    def __init__(self, disk: Disk, path: str, size: int) -> None:
        self._disk = disk
        self._path = path
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, self.size, BODY_PIECE_OCTETS):
            end = min(start + BODY_PIECE_OCTETS, self.size)
            yield self._disk.read(self._path, start, end)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        end = self.size if end is None else min(end, self.size)
        return self._disk.read(self._path, start, end) if start < end else b""
