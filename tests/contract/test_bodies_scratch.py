"""Scratch files: nameless on either disk, gone with their last holder."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from estafeta.sim.disk import SimDisk
from estafeta.world.disk import RealDisk
from estafeta.world.seams import Disk


@pytest.fixture(params=["real", "real without O_TMPFILE", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    if request.param == "simulated":
        return SimDisk()
    if request.param != "real":
        real = os.open

        def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(95, "not supported")
            return real(path, flags, *rest, **named)

        monkeypatch.setattr(os, "open", refuse)
    return RealDisk(tmp_path / "below" / "root")


def open_below(folder: Path) -> list[str]:
    """Files of this process there, also such without a name."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that lists them
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in found if name.startswith(str(folder))]


def test_written_behind_and_read_anywhere(disk: Disk) -> None:
    file = disk.scratch()
    assert file.read(0, 10) == b""
    file.write(b"abc")
    file.write(memoryview(b"defgh"))
    assert file.read(0, 100) == b"abcdefgh"
    assert file.read(2, 4) == b"cd"
    file.write(b"i")
    assert file.read(7, 9) == b"hi"
    other = disk.scratch()
    other.write(b"x")
    assert file.read(0, 1) == b"a"


def test_nothing_of_it_is_seen_or_left(disk: Disk, tmp_path: Path) -> None:
    files = [disk.scratch() for _ in range(5)]
    for file in files:
        file.write(b"x" * 100_000)
    assert list(disk.list("")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    if isinstance(disk, RealDisk):
        assert len(open_below(tmp_path)) == 5
    held = files[0]
    files.clear()
    gc.collect()
    assert held.read(0, 1) == b"x"
    del file, held
    gc.collect()
    assert open_below(tmp_path) == []


def test_a_full_disk() -> None:
    disk = SimDisk(capacity=1000)
    file = disk.scratch()
    file.write(b"x" * 900)
    disk.read_only = True
    with pytest.raises(OSError, match="read-only"):
        file.write(b"x")
    with pytest.raises(OSError, match="read-only"):
        disk.scratch()
