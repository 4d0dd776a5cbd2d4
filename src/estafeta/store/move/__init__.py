"""Move: a whole store into another, of either engine, row by row, and proven to be the same.

What a reader or a peer could notice stays: ids, UIDs, UIDVALIDITY, modseqs, ledger, events, queue,
seals, counters, passwords. Large bodies are not in the store and stay where they are.
"""

from estafeta.store.move.mark import MoveRefused, refuse_half_moved
from estafeta.store.move.run import Moved, Report, move_store

__all__ = ["MoveRefused", "Moved", "Report", "move_store", "refuse_half_moved"]
