"""Errors: what PostgreSQL says, as what a caller of the store can act on."""

from __future__ import annotations

from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

from estafeta.store.engine import StoreConflict, StoreError, StoreFull, StoreReadOnly

_ALONE_AT_FAULT = ("40001", "40P01", "55P03")  # serialisation, deadlock, a lock not had in time
_FULL = ("53100",)
_READ_ONLY = ("25006",)  # a standby, or default_transaction_read_only


class StoreLost(StoreError):
    """The connection to PostgreSQL broke; its transaction is gone."""


class Again(StoreError):
    """Nothing was wrong with the unit: another transaction stood in its way."""


def of_result(result: PGresult) -> StoreError:
    """The StoreError that a failed result stands for."""
    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode("ascii", "replace")
    words = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    text = " ".join(words.decode("utf-8", "replace").split())
    if state.startswith("23"):
        return StoreConflict(text)
    if state in _ALONE_AT_FAULT:
        return Again(f"other transactions stood in the way ({text})")
    if state in _FULL:
        return StoreFull(f"no space left for the store ({text})")
    if state in _READ_ONLY:
        return StoreReadOnly(f"the store cannot be written: {text}")
    if not state or state[:2] == "08" or state[:3] == "57P":
        return StoreLost(f"PostgreSQL went away ({text or 'the connection was closed'})")
    return StoreError(f"PostgreSQL {state}: {text}")
