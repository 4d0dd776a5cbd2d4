"""Audit: proves that what was accepted is the sum of what became of it.

`audit_open` is cheap on a live system: open rows and days not sealed yet. `audit_full` reads
everything, in chunks. Each finding names the ids of what is wrong; none means the books balance.
"""

from estafeta.store.audit.finding import Finding
from estafeta.store.audit.full import audit_full
from estafeta.store.audit.open import audit_open
from estafeta.store.audit.seal import seal_days, seal_slice

__all__ = ["Finding", "audit_full", "audit_open", "seal_days", "seal_slice"]
