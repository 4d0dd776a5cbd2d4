"""Disks: the simulated one forgets what was not synced; both keep to their root."""

from __future__ import annotations

import asyncio
import errno
import random
from pathlib import Path

import pytest

from estafeta.sim.disk import SimDisk
from estafeta.sim.loop import run


async def put(disk: SimDisk, path: str, data: bytes, *, sync: bool, name: bool) -> None:
    file = disk.create(path)
    file.write(data)
    if sync:
        await file.sync()
    file.close()
    if name:
        await disk.sync_directory(path.rpartition("/")[0])


def test_what_survives_a_power_loss() -> None:
    async def main() -> None:
        disk = SimDisk()
        await put(disk, "a/whole", b"1", sync=True, name=True)
        await put(disk, "b/no-name", b"2", sync=True, name=False)
        await put(disk, "c/no-octets", b"3", sync=False, name=True)
        await put(disk, "d/removed", b"4", sync=True, name=True)
        await put(disk, "e/removed", b"5", sync=True, name=True)
        disk.remove("d/removed")
        disk.remove("e/removed")
        await disk.sync_directory("e")
        after = disk.after(power_lost=True)
        assert sorted(after.list("")) == ["a", "c", "d"]
        assert after.read("a/whole", 0, 10) == b"1"
        assert after.size("c/no-octets") == 0
        assert after.read("d/removed", 0, 10) == b"4"

    run(main())


def test_a_process_that_dies_loses_nothing_but_can_do_nothing() -> None:
    async def main() -> None:
        disk = SimDisk()
        file = disk.create("a/b")
        file.write(b"unsynced")
        after = disk.after(power_lost=False)
        assert after.read("a/b", 0, 100) == b"unsynced"
        with pytest.raises(OSError, match="gone"):
            file.write(b"more")
        with pytest.raises(OSError, match="gone"):
            await file.sync()

    run(main())


def test_torn_files_hold_a_beginning_that_was_synced() -> None:
    async def main() -> None:
        seen = set()
        for seed in range(60):
            disk = SimDisk()
            await put(disk, "a/new", b"x" * 9, sync=False, name=False)
            file = disk.create("a/b")
            file.write(b"synced")
            await file.sync()
            await disk.sync_directory("a")
            file.write(b"-and-not")
            after = disk.after(power_lost=True, torn=random.Random(seed))
            data = after.read("a/b", 0, 100)
            assert data.startswith(b"synced"), f"seed {seed}"
            seen.add(data)
        assert len(seen) > 5

    run(main())


def test_a_crash_during_a_sync_makes_it_fail() -> None:
    async def main() -> None:
        disk = SimDisk()
        file = disk.create("a/b")
        file.write(b"x")
        syncing = asyncio.ensure_future(file.sync())
        await asyncio.sleep(0)
        after = disk.after(power_lost=True)
        with pytest.raises(OSError, match="gone"):
            await syncing
        assert list(after.list("")) == []

    run(main())


def test_full_and_read_only() -> None:
    disk = SimDisk(capacity=10)
    file = disk.create("a")
    file.write(b"0123456789")
    with pytest.raises(OSError, match="space") as full:
        file.write(b"x")
    assert full.value.errno == errno.ENOSPC
    disk.read_only = True
    with pytest.raises(OSError, match="read-only") as refused:
        disk.create("b")
    assert refused.value.errno == errno.EROFS
    assert disk.read("a", 2, 4) == b"23"


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    disk = SimDisk()
    disk.create("a")
    with pytest.raises(FileExistsError):
        disk.create("a")
    with pytest.raises(FileNotFoundError):
        disk.size("b")
    for path in ("../a", "/a", "a//b", "a/./b", ""):
        with pytest.raises(ValueError, match="below the root"):
            disk.create(path)
