"""Bell: hints between processes, by LISTEN and NOTIFY.

A NOTIFY within a transaction makes PostgreSQL commit one transaction at a time, sync included. So
it is sent beside, on a connection of its own, once the units are answered, and hints that come
while one is on its way go together with the next. That a hint may get lost with this process is no
harm: who listens looks every 5 s anyway. All of it runs on the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
from psycopg.pq import ConnStatus
from psycopg.pq.abc import PGconn

from estafeta.store.engine import StoreError
from estafeta.store.hints import Hints
from estafeta.store.limits import BELL_AGAIN_SECONDS, BELL_OCTETS_MAX

CHANNEL = b"estafeta"
ALL = b"*"
"""Payload for more topics than fit: everybody looks."""


class Bell:
    """connect: opens a connection, off the loop; raises StoreError. name: of this process, in
    every payload, so that it does not wake itself."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], name: str, hints: Hints
    ) -> None:
        self._connect = connect
        self._name = name.encode()
        self._hints = hints
        self._topics: dict[tuple[str, int], None] = {}
        self._connection: psycopg.Connection[Any] | None = None
        self._pg: PGconn | None = None
        self._ear = -1
        self._sending = False
        self._opening: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def start(self) -> None:
        """Does nothing when it has been."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._opening = self._loop.create_task(self._open())

    def ring(self, topics: Iterable[tuple[str, int]]) -> None:
        self.start()
        self._topics.update(dict.fromkeys(topics))
        self._send()

    async def heard(self) -> None:
        """Returns once it listens."""
        self.start()
        if self._opening is not None:
            await self._opening

    def close(self) -> None:
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        self._drop()

    # -- the connection ------------------------------------------------------------------------

    async def _open(self) -> None:
        """Until it is there: what was missed meanwhile is looked for by all."""
        while True:
            try:
                connection = await asyncio.to_thread(self._connect)
                if self._closed:
                    connection.close()
                    return
                self._listen(connection)
            except (psycopg.Error, StoreError):
                await asyncio.sleep(BELL_AGAIN_SECONDS)
                continue
            self._opening = None
            self._hints.wake_all()
            self._send()
            return

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        assert self._loop is not None
        pg = connection.pgconn
        pg.nonblocking = 0
        pg.exec_(b"LISTEN " + CHANNEL)
        pg.nonblocking = 1
        self._connection, self._pg, self._sending = connection, pg, False
        # A descriptor of our own: libpq closes its when the connection breaks.
        self._ear = os.dup(pg.socket)
        self._loop.add_reader(self._ear, self._read)

    def _drop(self) -> None:
        if self._connection is not None and self._pg is not None:
            assert self._loop is not None
            self._loop.remove_reader(self._ear)
            os.close(self._ear)
            self._connection.close()
        self._connection = self._pg = None

    def _broke(self) -> None:
        self._drop()
        self._hints.wake_all()
        if not self._closed:
            assert self._loop is not None
            self._opening = self._loop.create_task(self._open())

    # -- what goes over it ---------------------------------------------------------------------

    def _send(self) -> None:
        if self._pg is None or self._sending or not self._topics:
            return
        payload = b" ".join([self._name, *(f"{kind}:{n}".encode() for kind, n in self._topics)])
        if len(payload) > BELL_OCTETS_MAX:
            payload = self._name + b" " + ALL
        self._topics.clear()
        try:
            self._pg.send_query_params(b"SELECT pg_notify($1, $2)", [CHANNEL, payload])
            self._sending = True
            self._pg.flush()
        except psycopg.Error:
            self._broke()

    def _read(self) -> None:
        pg = self._pg
        assert pg is not None
        try:
            pg.consume_input()
            while self._sending and not pg.is_busy():
                if pg.get_result() is None:
                    self._sending = False
            while (notice := pg.notifies()) is not None:
                self._hear(notice.extra)
            if pg.status != ConnStatus.OK:
                raise psycopg.OperationalError("closed")
        except psycopg.Error:
            self._broke()
            return
        self._send()

    def _hear(self, payload: bytes) -> None:
        name, *topics = payload.split(b" ")
        if name == self._name:
            return
        if ALL in topics:
            self._hints.wake_all()
            return
        for topic in topics:
            kind, _, number = topic.decode("ascii", "replace").partition(":")
            if number.isdigit():
                self._hints.wake([(kind, int(number))])
