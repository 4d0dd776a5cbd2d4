"""Disk: files under one root, for large bodies; what was synced survives power loss.

Promises: no path leaves the root, no symbolic link is followed at its end, a new file never
replaces another; fsync runs off the loop; a directory's sync includes the names above it that
were made since they were last synced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


class RealDisk:
    """Implements `seams.Disk`. root: made if missing, mode 0700."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Directories whose own name is known to be durable. Empty at start: an earlier process
        # may have made a name and died before syncing it.
        self._durable: set[str] = set()

    def create(self, path: str) -> RealFile:
        place = self._place(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(place, flags, 0o600)
        except FileNotFoundError:
            self._make(os.path.dirname(path))
            descriptor = os.open(place, flags, 0o600)
        return RealFile(descriptor)

    async def sync_directory(self, path: str) -> None:
        self._place(path)
        wanted = [path]
        while path and path not in self._durable:
            parent = os.path.dirname(path)
            wanted.append(parent)
            path = parent
        await asyncio.get_running_loop().run_in_executor(None, self._sync, wanted)
        self._durable.update(wanted[:-1])

    def read(self, path: str, start: int, end: int) -> bytes:
        descriptor = os.open(self._place(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, max(0, end - start), start)
        finally:
            os.close(descriptor)

    def size(self, path: str) -> int:
        return os.stat(self._place(path), follow_symlinks=False).st_size

    def remove(self, path: str) -> None:
        os.unlink(self._place(path))

    def list(self, path: str) -> Iterator[str]:
        """Names in a directory, in no order; none where it is missing."""
        try:
            entries = os.scandir(self._place(path))
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                yield entry.name

    def scratch(self) -> RealScratch:
        try:
            return RealScratch(self._nameless())
        except FileNotFoundError:
            self._make("")
            return RealScratch(self._nameless())

    def _nameless(self) -> int:
        with contextlib.suppress(OSError):
            return os.open(self._root, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        # A file system without O_TMPFILE (NFS, overlayfs of older kernels).
        descriptor, path = tempfile.mkstemp(prefix=".scratch-", dir=self._root)
        os.unlink(path)
        return descriptor

    def _place(self, path: str) -> str:
        """Where `path` lies. "" is the root itself. Raises ValueError for a path that leaves it."""
        if (path and any(part in ("", ".", "..") for part in path.split("/"))) or "\0" in path:
            raise ValueError(f"not a path below the root: {path!r}")
        return os.path.join(self._root, path)

    def _make(self, path: str) -> None:
        os.makedirs(self._place(path), mode=0o700, exist_ok=True)

    def _sync(self, paths: Sequence[str]) -> None:
        for path in paths:
            descriptor = os.open(self._place(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class RealFile:
    """Implements `seams.WritableFile`."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """All of it, or OSError (ENOSPC)."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    async def sync(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, os.fsync, self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class RealScratch:
    """Implements `seams.ScratchFile`: an open descriptor, no name."""

    __slots__ = ("_descriptor", "_size")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._descriptor, view, self._size)
            self._size += count
            view = view[count:]

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self._descriptor, max(0, end - start), start)

    def __del__(self) -> None:
        os.close(self._descriptor)
