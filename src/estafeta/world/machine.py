"""Machine: how much memory this process takes, and how much disk is left."""

from __future__ import annotations

import os
from pathlib import Path

_STATUS = "/proc/self/statm"  # proc_pid_statm(5)
_PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE")


def resident_octets() -> int:
    """Of memory that this process has. Raises OSError where the kernel does not tell."""
    with open(_STATUS, "rb") as file:
        return int(file.read(200).split()[1]) * _PAGE_OCTETS


def free_octets(folder: Path) -> int:
    """That who is not root may still write there. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
