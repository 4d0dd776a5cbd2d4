"""Files: what the administrator of a simulated machine writes."""

from __future__ import annotations


class SimFiles:
    """Implements `seams.Files`. `write` and `remove` are the administrator's."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[int, bytes]] = {}
        self._writes = 0

    def write(self, path: str, data: bytes) -> None:
        self._writes += 1
        self._files[path] = (self._writes, data)

    def remove(self, path: str) -> None:
        self._files.pop(path, None)

    def stamp(self, path: str) -> tuple[int, ...]:
        found = self._files.get(path)
        return () if found is None else (found[0], len(found[1]))

    def read(self, path: str) -> bytes:
        found = self._files.get(path)
        if found is None:
            raise FileNotFoundError(2, "no such file or directory", path)
        return found[1]
