"""Board: how many connections each worker has, where all of them can see it.

Memory that all share; each writes its own row and reads the others', so nobody waits for anybody.
By that the limits on connections are limits of the service. Addresses and networks are counted in
two cells each, found by a keyed hash, and the lesser is believed: a count is never too low, and too
high only where others have met in both. Two who come to two workers in the same instant may both
get the last place.
"""

from __future__ import annotations

import mmap
from hashlib import blake2b

from estafeta.intake.networks import network_of
from estafeta.intake.server import Places
from estafeta.office.config import Listener

CELLS = 1 << 17
"""In a row; two octets each."""

COUNT_MAX = 0xFFFF


class Board:
    """Made before the workers are. key: secret, so that nobody chooses what meets in a cell."""

    def __init__(self, workers: int, key: bytes) -> None:
        self._key = key
        whole = memoryview(mmap.mmap(-1, workers * CELLS * 2)).cast("H")
        self._rows = [whole[n * CELLS : (n + 1) * CELLS] for n in range(workers)]

    def clear(self, worker: int) -> None:
        """It is dead, and its connections with it. worker: from 1."""
        self._rows[worker - 1][:] = memoryview(bytes(CELLS * 2)).cast("H")

    def places(self, worker: int, listener: Listener) -> Places:
        others = [row for n, row in enumerate(self._rows, 1) if n != worker]
        return SharedPlaces(self._rows[worker - 1], others, self._key, repr(listener))


class SharedPlaces(Places):
    """Of one listener: what is counted everywhere counts those of the other workers too."""

    def __init__(
        self, row: memoryview[int], others: list[memoryview[int]], key: bytes, name: str
    ) -> None:
        self._row = row
        self._others = others
        self._key = key
        self._name = name
        self._all = self._cells("")
        super().__init__()

    def take(self, host: str) -> None:
        super().take(host)
        self._add(host, 1)

    def leave(self, host: str) -> None:
        super().leave(host)
        self._add(host, -1)

    def taken_everywhere(self) -> int:
        return self.taken + self._elsewhere(self._all)

    def of_client_everywhere(self, host: str) -> int:
        return self.by_client[host] + self._elsewhere(self._cells(host))

    def of_network_everywhere(self, network: str) -> int:
        return self.by_network[network] + self._elsewhere(self._cells(network))

    def _add(self, host: str, by: int) -> None:
        # A network has a slash, an address has none: one does not count for the other.
        for cell in (*self._all, *self._cells(host), *self._cells(network_of(host))):
            self._row[cell] = max(0, min(COUNT_MAX, self._row[cell] + by))

    def _elsewhere(self, cells: tuple[int, int]) -> int:
        first, second = cells
        return min(sum(r[first] for r in self._others), sum(r[second] for r in self._others))

    def _cells(self, host: str) -> tuple[int, int]:
        digest = blake2b(f"{self._name}\0{host}".encode(), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest[:4]) % CELLS, int.from_bytes(digest[4:]) % CELLS
