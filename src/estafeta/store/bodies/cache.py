"""Cache: bodies that were fetched, or are just being stored, in files without names.

Promises: no more octets and files than it may have, the least used ones go first; what is in use
elsewhere lives on until its last user lets go. Without names nothing is left behind by a process
that dies, and no half-written file can be taken for a whole one after a power loss.
"""

from __future__ import annotations

from collections import OrderedDict

from estafeta.store.limits import CACHED_BODIES_MAX
from estafeta.world.seams import ScratchFile


class Cache:
    """octets_max: of all files in it; 0 keeps none."""

    def __init__(self, octets_max: int, files_max: int = CACHED_BODIES_MAX) -> None:
        self._octets_max = octets_max
        self._files_max = files_max
        self._files: OrderedDict[int, tuple[ScratchFile, int]] = OrderedDict()
        self.octets = 0

    def find(self, id: int) -> ScratchFile | None:
        found = self._files.get(id)
        if found is None:
            return None
        self._files.move_to_end(id)
        return found[0]

    def keep(self, id: int, file: ScratchFile, size: int) -> None:
        """What is larger than the whole cache is not kept: it would drive out all others."""
        if size > self._octets_max or id in self._files:
            return
        self._files[id] = file, size
        self.octets += size
        while self.octets > self._octets_max or len(self._files) > self._files_max:
            _, (_, gone) = self._files.popitem(last=False)
            self.octets -= gone
