"""Tenure: a store has one running service at a time.

Promises: held from before the store is opened until the process ends, however it ends; the system
itself lets go of it (flock(2)), so that nothing is left behind by a kill or a power cut. Commands
do not ask for it: they work beside the server. Processes that a service starts to share its work
inherit the descriptor, and so the tenure.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from estafeta.office.config import Server
from estafeta.office.limits import TENURE_WAIT_SECONDS
from estafeta.store.engine import StoreError
from estafeta.store.open import is_postgres, store_path

SUFFIX = ".service"
PID_OCTETS_MAX = 20
POLL_SECONDS = 0.05


def tenure_of(server: Server) -> Tenure:
    """Of the store; where that is a database, which any number of services share, of the data
    folder, which makes a node of them. Raises as Tenure does, and StoreError."""
    if is_postgres(server.store):
        folder = Path(server.data_dir)
        return Tenure(folder / "node", f"the data folder {folder}")
    return Tenure(store_path(server.store))


class StoreInUse(StoreError):
    """Another service has it; the text is one clear sentence."""


class Tenure:
    """Of the store whose main file is `store`; beside it lies `<name>.service`, with our pid.

    what: is in use, where it is. Where who had it was killed, its workers are about to see that
    and to stop: they are waited for, some seconds. Raises StoreInUse, OSError.
    """

    def __init__(self, store: Path, what: str = "") -> None:
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self.descriptor = os.open(f"{store}{SUFFIX}", flags, 0o600)
        try:
            self._take(what or f"the store {store}")
        except (StoreInUse, OSError):
            self.end()
            raise
        with suppress(OSError):  # a full disk: the lock counts, the pid is for the reader
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def _take(self, what: str) -> None:
        until = time.monotonic() + TENURE_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                pid = os.pread(self.descriptor, PID_OCTETS_MAX, 0).decode("ascii", "replace")
                if _lives(pid.strip()) or time.monotonic() > until:
                    raise StoreInUse(
                        f"{what} is in use by another estafeta serve, "
                        f"pid {pid.strip() or 'unknown'}"
                    ) from None
            time.sleep(POLL_SECONDS)

    def end(self) -> None:
        """The file stays: removing it would let two hold one name."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _lives(pid: str) -> bool:
    """Whether a process of that number is there, or it cannot be known."""
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
