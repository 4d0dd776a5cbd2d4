"""Files: what the administrator writes and we read again and again: certificates and keys."""

from __future__ import annotations

import os
from pathlib import Path


class RealFiles:
    """Implements `seams.Files`."""

    def stamp(self, path: str) -> tuple[int, ...]:
        try:
            status = os.stat(path)
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_ino, status.st_size)

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()
