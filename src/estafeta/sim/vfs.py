"""VFS: SQLite's files on a disk that forgets what was not synced.

SQLite runs for real, on real files in a temporary folder (its shared memory and locks included);
this VFS sits between and remembers, for every file below a `PowerDomain`, what the last sync made
durable. After a crash of the process everything written is still there; after a power loss only
what was synced is, plus, if torn, any subset of the sectors that were not.

It is made the process default before SQLite is first used, so that the program under test opens
its store as it always does. Files outside every domain pass straight through.

Names follow journalling file systems (ext4, XFS): changes of names reach the disk in order, so a
sync of any file makes all earlier ones durable; until then a new file may be missing and a deleted
one be back.
"""

# ruff: noqa: N802 (SQLite names its methods)
from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import apsw

from .process import alive

SECTOR_OCTETS = 512
"""The unit that a power loss keeps or loses whole."""

NAME = "estafeta-forgetful"
_BASE = "unix"

Operation = Literal["write", "sync", "truncate", "delete"]


class Tracked:
    """One file: which of its octets a power loss would take, and what stands below them.

    undo: sector number -> its synced octets, for sectors changed since the last sync. Sectors from
    `synced_size` on need none: there is nothing below them.
    """

    __slots__ = ("named", "synced_size", "undo")

    def __init__(self, synced_size: int, named: bool) -> None:
        self.undo: dict[int, bytes] = {}
        self.synced_size = synced_size
        self.named = named

    def keep(self, start: int, end: int, read: Callable[[int, int], bytes]) -> None:
        """Before the octets [start, end) change: saves what is synced of them."""
        end = min(end, self.synced_size)
        if start >= end:
            return
        first, last = start // SECTOR_OCTETS, (end - 1) // SECTOR_OCTETS
        missing = [sector for sector in range(first, last + 1) if sector not in self.undo]
        if not missing:
            return
        base = missing[0] * SECTOR_OCTETS
        stop = min((missing[-1] + 1) * SECTOR_OCTETS, self.synced_size)
        old = read(stop - base, base)
        for sector in missing:
            begin = sector * SECTOR_OCTETS - base
            self.undo[sector] = old[begin : begin + SECTOR_OCTETS]

    def survivors(self, now: bytes, torn: random.Random | None) -> bytes | None:
        """The file after a power loss, None where even its name is gone. now: what it holds."""
        if not self.named and (torn is None or torn.random() < 0.5):
            return None
        after = bytearray(now[: self.synced_size].ljust(self.synced_size, b"\0"))
        for sector, old in sorted(self.undo.items()):
            begin = sector * SECTOR_OCTETS
            if torn is None or torn.random() < 0.5:
                after[begin : begin + len(old)] = old
        if torn is not None:
            first = -(-self.synced_size // SECTOR_OCTETS)
            for sector in range(first, -(-len(now) // SECTOR_OCTETS)):
                if torn.random() < 0.5:
                    begin = sector * SECTOR_OCTETS
                    piece = now[begin : begin + SECTOR_OCTETS]
                    if len(after) < begin:
                        after.extend(bytes(begin - len(after)))
                    after[begin : begin + len(piece)] = piece
        return bytes(after)


class PowerDomain:
    """The files of one machine, below `root`, that lose power together.

    `dead`: the machine is gone; whatever its old connections still try fails with an I/O error.
    So does what a dead process still tries.
    `syncs`, `writes`: counted since the start. Faults: `fail` for errors, `cut_power_at` and
    `kill_at` for the power to go, or a process to die, in the middle of an operation.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)  # SQLite names files by their real paths
        self.dead = False
        self.syncs = 0
        self.writes = 0
        self.operations = 0
        self.on_cut: Callable[[], None] | None = None
        self.on_sync: Callable[[str], None] = _nothing
        self._files: dict[str, Tracked] = {}
        self._deleted: dict[str, bytes] = {}
        self._cut_at: int | None = None
        self._kill: _Kill | None = None
        self._failures: list[tuple[Operation, int, type[Exception], str]] = []
        _domains[self.root] = self

    def fail(
        self, operation: Operation, nth: int, error: Literal["full", "io"], suffix: str = ""
    ) -> None:
        """Lets the nth such operation from now (1 = the next) on files whose name ends in `suffix`
        fail, once, with SQLITE_FULL or SQLITE_IOERR."""
        kind = apsw.FullError if error == "full" else apsw.IOError
        self._failures.append((operation, nth, kind, suffix))

    def cut_power_at(self, operations: int, on_cut: Callable[[], None] | None = None) -> None:
        """The power goes at the `operations`th write, sync, truncation or deletion from now,
        before it takes effect."""
        self._cut_at = self.operations + operations
        self.on_cut = on_cut

    def kill_at(
        self, operations: int, whose: Callable[[], bool], on_kill: Callable[[], None]
    ) -> None:
        """The process of which `whose` says that it is at work dies at its `operations`th
        operation from now, before that takes effect. on_kill: after it `process.alive` is false
        for it."""
        self._kill = _Kill(operations, whose, on_kill)

    def heal(self) -> None:
        """No fault that waits will come any more."""
        self._failures.clear()
        self._cut_at = None
        self._kill = None

    def move(self, to: Path, *, power_lost: bool, torn: random.Random | None = None) -> PowerDomain:
        """Ends this domain and starts the next one at `to`, with the files that survive.

        power_lost: only what was synced, plus what `torn` picks of the rest if given; else (the
        process died, the system did not) everything written. Old connections fail from here on.
        """
        self.dead = True
        here = Path(self.root)
        to.mkdir(parents=True, exist_ok=True)
        for place in sorted(here.rglob("*")):
            target = to / place.relative_to(here)
            if place.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            if place.name.endswith("-shm"):
                continue  # shared memory: gone with the processes that shared it
            target.parent.mkdir(parents=True, exist_ok=True)
            tracked = self._files.get(str(place))
            if tracked is None or not power_lost:
                shutil.copyfile(place, target)
            else:
                content = tracked.survivors(place.read_bytes(), torn)
                if content is not None:
                    target.write_bytes(content)
        if power_lost:
            for name, content in sorted(self._deleted.items()):
                target = to / Path(name).relative_to(here)
                if not target.exists() and (torn is None or torn.random() < 0.5):
                    target.write_bytes(content)
        self.close()
        return PowerDomain(to)

    def close(self) -> None:
        """Forgets the domain and removes its files."""
        self.dead = True
        _domains.pop(self.root, None)
        shutil.rmtree(self.root, ignore_errors=True)

    # --- what the files report -----------------------------------------------------------------

    def tracked(self, name: str) -> Tracked:
        """The record of a file about to be opened; one that exists already is taken as durable."""
        found = self._files.get(name)
        if found is None:
            exists = os.path.exists(name)
            found = self._files[name] = Tracked(os.path.getsize(name) if exists else 0, exists)
        return found

    def before(self, operation: Operation, name: str) -> None:
        """Counts; raises where the domain is dead or a fault is due."""
        if self.dead:
            raise apsw.IOError("the machine is gone")
        if not alive():
            raise apsw.IOError("the process is gone")
        kill = self._kill
        if kill is not None and kill.whose():
            kill.operations -= 1
            if kill.operations <= 0:
                self._kill = None
                kill.on_kill()
                raise apsw.IOError("the process was killed")
        self.operations += 1
        if self._cut_at is not None and self.operations >= self._cut_at:
            self.dead = True
            if self.on_cut is not None:
                self.on_cut()
            raise apsw.IOError("the power went")
        if operation == "write":
            self.writes += 1
        elif operation == "sync":
            self.syncs += 1
        for index, (kind, nth, error, suffix) in enumerate(self._failures):
            if kind == operation and name.endswith(suffix):
                if nth > 1:
                    self._failures[index] = (kind, nth - 1, error, suffix)
                    continue
                del self._failures[index]
                raise error(f"injected fault: {operation} of {os.path.basename(name)}")

    def deleted(self, name: str, durable: bool) -> None:
        """Before a file is deleted: what a power loss would bring back of it."""
        tracked = self._files.pop(name, None)
        self._deleted.pop(name, None)
        if durable or tracked is None or not tracked.named:
            return
        content = tracked.survivors(Path(name).read_bytes(), None)
        if content is not None:
            self._deleted[name] = content

    def synced(self, name: str, tracked: Tracked, size: int) -> None:
        """A file of `size` octets was synced, and every change of names before that with it."""
        tracked.undo.clear()
        tracked.synced_size = size
        for other in self._files.values():
            other.named = True
        self._deleted.clear()
        self.on_sync(name)


@dataclass(slots=True)
class _Kill:
    operations: int
    whose: Callable[[], bool]
    on_kill: Callable[[], None]


def _nothing(name: str) -> None:
    return


_domains: dict[str, PowerDomain] = {}


def _domain_of(name: str) -> PowerDomain | None:
    for root, domain in _domains.items():
        if name.startswith(root + "/"):
            return domain
    return None


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], domain: PowerDomain, path: str) -> None:
        self._domain = domain
        self._path = path
        self._tracked = domain.tracked(path)
        super().__init__(_BASE, name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        self._domain.before("write", self._path)
        self._tracked.keep(offset, offset + len(data), super().xRead)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._domain.before("truncate", self._path)
        self._tracked.keep(newsize, self._tracked.synced_size, super().xRead)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._domain.before("sync", self._path)
        self._domain.synced(self._path, self._tracked, super().xFileSize())


class _Vfs(apsw.VFS):
    def xFullPathname(self, name: str) -> str:
        # The unix VFS reports a symbolic link by a code that apsw takes for an error.
        return os.path.realpath(name)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        domain = _domain_of(path) if path else None
        if domain is None:
            return apsw.VFSFile(_BASE, name, flags)
        if domain.dead or not alive():
            raise apsw.CantOpenError("the machine is gone, or the process")
        return _File(name, flags, domain, path)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        domain = _domain_of(filename)
        if domain is not None:
            domain.before("delete", filename)
            if os.path.exists(filename):
                domain.deleted(filename, syncdir)
        super().xDelete(filename, False)


_installed: list[_Vfs] = []


def install() -> str:
    """Makes the forgetful VFS the process default, once; returns its name. Call it before the
    first connection is opened."""
    if not _installed:
        _installed.append(_Vfs(NAME, _BASE, makedefault=True))
    return NAME
