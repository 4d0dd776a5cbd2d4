"""database: a PostgreSQL of its own for one side, with the settings it comes with.

It syncs as it would in earnest. Its syncs are not counted: it is not ours to run under strace.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import psycopg
from tests.support.peers.postgres import new_server

SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


class Database(AbstractContextManager["Database"]):
    """Runs while it is entered; `url` is known before. Raises Unavailable, NoPostgres."""

    def __init__(self) -> None:
        self._server = new_server()

    @property
    def url(self) -> str:
        return self._server.url("estafeta")

    @property
    def session(self) -> int:
        """Of the postmaster, which its children leave."""
        return self._server.pid

    def settings(self) -> dict[str, int | str]:
        with psycopg.connect(self.url) as connection:
            rows = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in SHOWN]
        return {name: row[0] for name, row in zip(SHOWN, rows, strict=True) if row is not None}

    def __enter__(self) -> Self:
        self._server.start()
        self._server.create("estafeta")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
