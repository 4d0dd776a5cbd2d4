"""Disk: files in memory that forget, at a power loss, what was not synced.

Implements `seams.Disk`. A name survives if its directory was synced after it was made, its octets
if the file was synced after they were written; a removal that no directory sync followed is
forgotten. With `torn` the dice decide about each of these instead.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Iterator

from .process import alive

SYNC_SECONDS = 0.002
"""What a sync takes."""


class _Inode:
    __slots__ = ("data", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = b""


class SimDisk:
    """capacity: octets that fit, then ENOSPC; None: no end. read_only: EROFS.

    Whatever a dead process still tries fails.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.read_only = False
        self.dead = False
        self.syncs = 0
        self._names: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}

    def create(self, path: str) -> SimFile:
        self._check(path)
        self._must_write()
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "file exists", path)
        inode = self._names[path] = _Inode()
        return SimFile(self, inode)

    async def sync_directory(self, path: str) -> None:
        await self._pass()
        prefix = path + "/" if path else ""
        for name in [name for name in self._durable if _inside(name, prefix)]:
            if name not in self._names:
                del self._durable[name]
        for name, inode in self._names.items():
            if _inside(name, prefix):
                self._durable[name] = inode

    def read(self, path: str, start: int, end: int) -> bytes:
        return bytes(self._inode(path).data[start:end])

    def size(self, path: str) -> int:
        return len(self._inode(path).data)

    def remove(self, path: str) -> None:
        self._inode(path)
        self._must_write()
        del self._names[path]

    def list(self, path: str) -> Iterator[str]:
        """Names in a directory, sorted; none where it is missing."""
        prefix = path + "/" if path else ""
        found = {
            name[len(prefix) :].partition("/")[0] for name in self._names if name.startswith(prefix)
        }
        yield from sorted(found)

    def scratch(self) -> SimScratch:
        self._must_write()
        return SimScratch(self, _Inode())

    def after(self, *, power_lost: bool, torn: random.Random | None = None) -> SimDisk:
        """The disk of the machine's next life; this one is dead from now on."""
        self.dead = True
        heir = SimDisk(self.capacity)
        if not power_lost:
            survivors = {name: (inode, bytes(inode.data)) for name, inode in self._names.items()}
        else:
            survivors = {
                name: (inode, _survivor(inode, torn)) for name, inode in self._durable.items()
            }
            if torn is not None:
                for name in sorted(self._names.keys() - self._durable.keys()):
                    if torn.random() < 0.5:
                        inode = self._names[name]
                        survivors[name] = (inode, _survivor(inode, torn))
                for name in sorted(self._durable.keys() - self._names.keys()):
                    if torn.random() < 0.5:
                        del survivors[name]
        for name, (_, data) in survivors.items():
            inode = heir._names[name] = heir._durable[name] = _Inode()
            inode.data, inode.synced = bytearray(data), data
        return heir

    def used(self) -> int:
        """Octets of all files."""
        return sum(len(inode.data) for inode in self._names.values())

    # --- inside --------------------------------------------------------------------------------

    def grow(self, inode: _Inode, data: bytes) -> None:
        self._must_write()
        if self.capacity is not None and self.used() + len(data) > self.capacity:
            raise OSError(errno.ENOSPC, "no space left on device")
        inode.data += data

    async def sync(self, inode: _Inode) -> None:
        await self._pass()
        inode.synced = bytes(inode.data)

    async def _pass(self) -> None:
        """Time passes before a sync holds, so that a crash may fall into it."""
        self._must_write()
        await asyncio.sleep(SYNC_SECONDS)
        self._must_write()
        self.syncs += 1

    def _must_write(self) -> None:
        self._must_live()
        if self.read_only:
            raise OSError(errno.EROFS, "read-only file system")

    def _must_live(self) -> None:
        if self.dead or not alive():
            raise OSError(errno.EIO, "the machine is gone, or the process")

    def _inode(self, path: str) -> _Inode:
        self._check(path)
        self._must_live()
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file or directory", path)
        return self._names[path]

    @staticmethod
    def _check(path: str) -> None:
        if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            raise ValueError(f"not a path below the root: {path!r}")


class SimFile:
    """Implements `seams.WritableFile`."""

    def __init__(self, disk: SimDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode

    def write(self, data: bytes) -> None:
        self._disk.grow(self._inode, data)

    async def sync(self) -> None:
        await self._disk.sync(self._inode)

    def close(self) -> None:
        return


class SimScratch:
    """Implements `seams.ScratchFile`: has no name, so nothing of it outlives a life."""

    def __init__(self, disk: SimDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode

    def write(self, data: bytes | memoryview) -> None:
        self._disk.grow(self._inode, bytes(data))

    def read(self, start: int, end: int) -> bytes:
        return bytes(self._inode.data[start:end])


def _inside(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and "/" not in name[len(prefix) :]


def _survivor(inode: _Inode, torn: random.Random | None) -> bytes:
    """What a power loss leaves of a file (files only ever grow)."""
    data, kept = bytes(inode.data), len(inode.synced)
    if torn is None or len(data) == kept:
        return inode.synced
    end = torn.randint(kept, len(data))
    lost = torn.random() < 0.5  # the size was written, the octets were not
    return data[:kept] + (bytes(end - kept) if lost else data[kept:end])
