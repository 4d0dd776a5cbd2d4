"""syncs: how often a side makes the disk keep what it has, per message, counted by strace.

A short run of its own, since tracing slows what it traces; its times are not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.support.peers.packages import fetch

from bench.measure import Load, Side

# Every call that syncs data to the disk.
CALLS = ("fsync", "fdatasync", "sync_file_range", "msync", "sync", "syncfs")

_CALL = re.compile(rf"^\d+ +({'|'.join(CALLS)})\(", re.MULTILINE)


def count_syncs(
    build: Callable[[Path, Sequence[str]], AbstractContextManager[Side]],
    folder: Path,
    load: Load,
    messages: int,
) -> float:
    """Syncs per message of one side.

    build: makes the side in a folder, its servers run by the given command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "strace"
    # each server appends: a side may have several
    trace = [str(fetch().program("strace")), "-f", "--seccomp-bpf", "-qq", "-A", "-o", str(lines)]
    trace += ["-e", f"trace={','.join(CALLS)}", "-e", "signal=none"]
    with build(folder / "side", trace) as side:
        side.run(load, load.sessions, 0)  # connections, caches and files of the first use
        before = len(_CALL.findall(lines.read_text(errors="replace")))
        side.run(load, messages, 1)
        after = len(_CALL.findall(lines.read_text(errors="replace")))
    return (after - before) / messages
