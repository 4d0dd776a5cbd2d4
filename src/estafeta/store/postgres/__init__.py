"""PostgreSQL engine: many serving processes on one database, and its owner's own replication."""

from estafeta.store.postgres.opening import open_postgres
from estafeta.store.postgres.store import PostgresStore

__all__ = ["PostgresStore", "open_postgres"]
