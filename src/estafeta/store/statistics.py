"""Statistics: what the engine counts, for the metrics page and the benches."""

from __future__ import annotations

import msgspec


class Statistics(msgspec.Struct):
    """Since the store was opened. Times in seconds."""

    units: int = 0  # answered after a COMMIT
    failed: int = 0  # units answered with an error
    commits: int = 0
    commit_seconds: float = 0.0  # COMMIT alone, in the thread
    work_seconds: float = 0.0  # from BEGIN to COMMIT, on the loop
    lost: int = 0  # transactions that SQLite rolled back, and failed COMMITs
    waited: int = 0  # transactions that waited for another process
    reads: int = 0
    checkpoints: int = 0
    pauses: int = 0  # times writing paused so that the WAL could start again
    last_failure: str = ""  # why the engine could not write; "" once a COMMIT has succeeded again
