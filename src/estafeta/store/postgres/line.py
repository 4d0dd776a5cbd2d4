"""Line: one connection to PostgreSQL, on which statements are sent before others are answered.

A round trip costs more than most statements. So what nobody waits for is only handed to libpq, in
pipeline mode (libpq §34.5), and goes out with the next statement whose rows are asked for. Every
such exchange ends with a Sync, so that after an error the line is in step again. Not for two
threads at once.
"""

from __future__ import annotations

import select
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from estafeta.store.engine import Row, StoreError
from estafeta.store.limits import STATEMENTS_AHEAD_MAX, STATEMENTS_PREPARED
from estafeta.store.postgres.dialect import statement
from estafeta.store.postgres.errors import StoreLost, of_result

_GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
_BINARY, _TEXT = Format.BINARY, Format.TEXT


class Line:
    """connection: open, idle, and ours alone from now on."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._pg: PGconn = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._readable = select.poll()
        self._readable.register(self._pg.socket, select.POLLIN)
        self._either = select.poll()  # select() itself takes no descriptor above 1023
        self._either.register(self._pg.socket, select.POLLIN | select.POLLOUT)
        self._ahead: list[_Sent] = []
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._names = 0
        self._exchanges = 0  # since `begun`

    @property
    def pid(self) -> int:
        """Of the server process at the other end."""
        return self._pg.backend_pid

    @property
    def is_broken(self) -> bool:
        return self._pg.status != ConnStatus.OK

    def is_alive(self) -> bool:
        """Whether the other end has not closed it meanwhile, as far as can be known at once."""
        try:
            self._pg.consume_input()
        except psycopg.Error:
            return False
        return not self.is_broken

    @property
    def in_transaction(self) -> bool:
        """As of the last exchange; also when a statement of it has failed."""
        return self._pg.transaction_status != TransactionStatus.IDLE

    def begun(self) -> None:
        """BEGIN is on its way."""
        self._exchanges = 0

    @property
    def has_ended(self) -> bool:
        """The transaction that has begun is no more."""
        return self._exchanges > 0 and not self.in_transaction

    def send(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Goes out with the next `ask` or `finish`, which raises its error. Raises StoreError."""
        if len(self._ahead) >= STATEMENTS_AHEAD_MAX:
            self.finish()
        self._queue(sql, parameters)

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> PGresult:
        """Sends all that waits and this; returns what came of this. Raises StoreError."""
        self._queue(sql, parameters)
        result = self.finish()
        assert result is not None
        return result

    def finish(self) -> PGresult | None:
        """Sends what waits, returns what came of the last of it. Raises the first StoreError."""
        ahead, self._ahead = self._ahead, []
        self._exchanges += 1
        failure: StoreError | None = None
        result: PGresult | None = None
        try:
            self._pg.pipeline_sync()
            self._flush()
            for sent in ahead:
                result = self._result()
                if result.status not in _GOOD:
                    if sent.prepares is not None:
                        sent.prepares.name = b""
                    if failure is None:
                        failure = of_result(result)
                self._wait()
                if self._pg.get_result() is not None:
                    raise StoreLost("PostgreSQL and this program are out of step")
            if self._result().status != ExecStatus.PIPELINE_SYNC:
                raise StoreLost("PostgreSQL and this program are out of step")
        except psycopg.Error as error:
            raise StoreLost(f"PostgreSQL went away ({_one_line(error)})") from error
        if failure is not None:
            raise failure
        return result

    def rows(self, result: PGresult) -> list[Row]:
        """Of an answer to `ask`."""
        if not result.ntuples:
            return []
        transformer = Transformer.from_context(self._connection)
        transformer.set_pgresult(result)
        found: list[Row] = transformer.load_rows(0, result.ntuples, tuple)
        return found

    def close(self) -> None:
        self._connection.close()

    def _result(self) -> PGresult:
        """The next one. Raises StoreLost."""
        self._wait()
        result = self._pg.get_result()
        if result is None or (result.status not in _GOOD and self.is_broken):
            words = b"" if result is None else result.error_message
            text = " ".join(words.decode("utf-8", "replace").split())
            raise StoreLost(f"PostgreSQL went away ({text or 'the connection was closed'})")
        return result

    def _wait(self) -> None:
        """Until `get_result` has something: by itself it would wait with the interpreter's lock."""
        pg = self._pg
        while pg.is_busy():
            self._readable.poll()
            pg.consume_input()

    def _flush(self) -> None:
        """To the socket. Reads meanwhile, or neither side might go on."""
        pg = self._pg
        while pg.flush():
            self._either.poll()
            pg.consume_input()

    def _queue(self, sql: str, parameters: Sequence[Any]) -> None:
        values: list[bytes | None] = []
        formats: list[int] = []
        for value in parameters:
            kind = type(value)
            if kind is int:
                values.append(b"%d" % value)
                formats.append(_TEXT)
            elif kind is str:
                # PostgreSQL's text holds every character but this one.
                if "\0" in value:
                    value = value.replace("\0", "\ufffd")
                values.append(value.encode())
                formats.append(_TEXT)
            elif value is None:
                values.append(None)
                formats.append(_TEXT)
            elif kind is bytes:
                values.append(value)
                formats.append(_BINARY)
            elif isinstance(value, int):
                values.append(b"%d" % value)
                formats.append(_TEXT)
            else:
                values.append(repr(value).encode())
                formats.append(_TEXT)
        try:
            self._hand_over(sql, values, formats)
        except psycopg.Error as error:
            if self.is_broken:
                raise StoreLost(f"PostgreSQL went away ({_one_line(error)})") from error
            raise StoreError(_one_line(error)) from error

    def _hand_over(self, sql: str, values: list[bytes | None], formats: list[int]) -> None:
        """A statement that comes again is prepared, and planned no more."""
        kept = self._kept.get(sql)
        if kept is None:
            kept = self._kept[sql] = _Kept(statement(sql))
            if len(self._kept) > STATEMENTS_PREPARED:
                self._forget()
            self._pg.send_query_params(kept.sql, values, None, formats, _BINARY)
            self._ahead.append(_PLAIN)
            return
        self._kept.move_to_end(sql)
        if not kept.name:
            self._names += 1
            kept.name = b"s%d" % self._names
            self._pg.send_prepare(kept.name, kept.sql)
            self._ahead.append(_Sent(kept))
        self._pg.send_query_prepared(kept.name, values, formats, _BINARY)
        self._ahead.append(_PLAIN)

    def _forget(self) -> None:
        """The statement that was not used for longest."""
        kept = self._kept.popitem(last=False)[1]
        if kept.name:
            self._pg.send_query_params(b"DEALLOCATE " + kept.name, None)
            self._ahead.append(_PLAIN)


class _Kept:
    """A statement that came before. name: "" until it is prepared."""

    __slots__ = ("name", "sql")

    def __init__(self, sql: bytes) -> None:
        self.sql = sql
        self.name = b""


class _Sent:
    """prepares: what is prepared once this has succeeded."""

    __slots__ = ("prepares",)

    def __init__(self, prepares: _Kept | None = None) -> None:
        self.prepares = prepares


_PLAIN = _Sent()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
