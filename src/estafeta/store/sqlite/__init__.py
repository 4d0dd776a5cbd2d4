"""SQLite engine: the embedded default."""

from estafeta.store.sqlite.opening import open_sqlite
from estafeta.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "open_sqlite"]
