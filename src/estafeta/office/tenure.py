"""Tenure: a store has one running service at a time.

Promises: held from before the store is opened until the process ends, however it ends; the system
itself lets go of it (flock(2)), so that nothing is left behind by a kill or a power cut. Commands
do not ask for it: they work beside the server. Processes that a service starts to share its work
inherit the descriptor, and so the tenure.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from estafeta.store.engine import StoreError

SUFFIX = ".service"
PID_OCTETS_MAX = 20


class StoreInUse(StoreError):
    """Another service has it; the text is one clear sentence."""


class Tenure:
    """Of the store whose main file is `store`; beside it lies `<name>.service`, with our pid.

    Raises StoreInUse, OSError.
    """

    def __init__(self, store: Path) -> None:
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self.descriptor = os.open(f"{store}{SUFFIX}", flags, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self.descriptor, PID_OCTETS_MAX, 0).decode("ascii", "replace").strip()
            self.end()
            raise StoreInUse(
                f"the store {store} is in use by another estafeta serve, pid {pid or 'unknown'}"
            ) from None
        except OSError:
            self.end()
            raise
        with suppress(OSError):  # a full disk: the lock counts, the pid is for the reader
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def end(self) -> None:
        """The file stays: removing it would let two hold one name."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
