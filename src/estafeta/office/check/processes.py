"""Processes: which of this machine's hold the store, and on which ports they listen (Linux /proc).

Looked up, never tried: taking a lock, for however short a time, could keep a server from starting.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from estafeta.office.tenure import PID_OCTETS_MAX

_PROC = Path("/proc")
_LISTEN = "0A"


def lock_holder(file: Path) -> int | None:
    """The process that holds the flock(2) of `file`, in which it has written its number; None where
    nobody does."""
    try:
        status = file.stat()
        written = file.read_bytes()[:PID_OCTETS_MAX].strip()
        locks = (_PROC / "locks").read_text()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    for line in locks.splitlines():
        fields = line.split()
        if "FLOCK" not in fields or "->" in fields:
            continue
        pid, (where, _, inode) = fields[-4], fields[-3].rpartition(":")
        # Where a file system has devices of its own (btrfs), the kernel names another one here.
        if inode == str(status.st_ino) and (where == device or pid.encode() == written):
            return int(pid)
    return None


def servers() -> list[int]:
    """Processes that were started as `estafeta serve`."""
    found = []
    for folder in _PROC.iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
        except OSError:
            continue
        if b"serve" in words and any(Path(os.fsdecode(w)).name == "estafeta" for w in words):
            found.append(int(folder.name))
    return [each for pid in found for each in with_children(pid)]


def with_children(pid: int) -> list[int]:
    """A process and those it has started, as far as /proc tells."""
    found = [pid]
    for each in found:
        for file in (_PROC / str(each) / "task").glob("*/children"):
            try:
                found += [int(word) for word in file.read_text().split()]
            except OSError:
                continue
    return found


def listeners_of(pids: Sequence[int]) -> set[tuple[str, int]]:
    """(address, port) at which these processes listen, as far as we may look."""
    inodes = set()
    for pid in pids:
        try:
            links = [os.readlink(file) for file in (_PROC / str(pid) / "fd").iterdir()]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    return {place for place, inode in _listening() if inode in inodes} if inodes else set()


def _listening() -> Iterator[tuple[tuple[str, int], str]]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                address, port = fields[1].split(":")
                yield (_address(address), int(port, 16)), fields[9]


def _address(written: str) -> str:
    """/proc writes addresses as words of 32 bits in the machine's own order."""
    words = [int(written[at : at + 8], 16) for at in range(0, len(written), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    family = socket.AF_INET6 if len(packed) == 16 else socket.AF_INET
    return str(ipaddress.ip_address(socket.inet_ntop(family, packed)))
