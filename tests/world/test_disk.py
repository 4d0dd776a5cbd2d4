"""The real disk: below its root, new files only, names made durable upwards."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from estafeta.world.disk import RealDisk


def test_write_sync_read_list_remove(tmp_path: Path) -> None:
    async def main() -> None:
        disk = RealDisk(tmp_path)
        file = disk.create("bodies/ab/cd")
        file.write(b"octets " * 1000)
        await file.sync()
        file.close()
        await disk.sync_directory("bodies/ab")
        assert disk.size("bodies/ab/cd") == 7000
        assert disk.read("bodies/ab/cd", 7, 13) == b"octets"
        assert list(disk.list("bodies")) == ["ab"]
        assert list(disk.list("none")) == []
        assert (tmp_path / "bodies/ab/cd").stat().st_mode & 0o777 == 0o600
        with pytest.raises(FileExistsError):
            disk.create("bodies/ab/cd")
        disk.remove("bodies/ab/cd")
        with pytest.raises(FileNotFoundError):
            disk.size("bodies/ab/cd")

    asyncio.run(main())


def test_a_directory_is_synced_with_the_new_names_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)

    async def main() -> None:
        disk = RealDisk(tmp_path)
        disk.create("a/b/1").close()
        await disk.sync_directory("a/b")
        assert synced == ["a/b", "a", "."]
        disk.create("a/b/2").close()
        await disk.sync_directory("a/b")
        assert synced[3:] == ["a/b"]
        disk.create("a/c/3").close()
        await disk.sync_directory("a/c")
        assert synced[4:] == ["a/c", "a"]

    asyncio.run(main())


def test_no_path_leaves_the_root(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path / "root")
    (tmp_path / "outside").write_bytes(b"secret")
    disk.create("inside").close()
    for path in ("../outside", "/etc/passwd", "a/../../outside", "a//b", "./a", "a\0b"):
        with pytest.raises(ValueError, match="below the root"):
            disk.read(path, 0, 10)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic"):
        disk.read("link", 0, 10)
    with pytest.raises(FileExistsError):
        disk.create("link")
