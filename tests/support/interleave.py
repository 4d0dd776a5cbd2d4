"""interleave: two units at once on PostgreSQL, stepped statement by statement.

Each runs in a thread with a connection of its own and waits for its turn before every statement,
COMMIT included. Who waits for a lock of the other gives its turns away. As in the engine, a unit
that PostgreSQL stops because of the other (deadlock) is rolled back and run again.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from estafeta.store.engine import StoreError, Tx
from estafeta.store.postgres.errors import Again
from estafeta.store.postgres.line import Line
from estafeta.store.postgres.opening import _connect
from estafeta.store.postgres.transaction import PostgresTx

Unit = Callable[[Tx], Any]
WAIT_SECONDS = 20.0
LOOK_SECONDS = 0.002


class Stepped(PostgresTx):
    """Every statement is one step; nothing is sent ahead."""

    __slots__ = ("_step",)

    def __init__(self, line: Line, step: Callable[[], None]) -> None:
        super().__init__(line)
        self._step = step

    def _ask(self, sql: str, parameters: Sequence[Any]) -> Any:
        self._step()
        return super()._ask(sql, parameters)

    def send(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._ask(sql, parameters)


class Side:
    """One unit on its way. outcome: what it returned, or the error that it raised, in words."""

    def __init__(self, line: Line, unit: Unit, accounts: Sequence[int]) -> None:
        self.line = line
        self._unit = unit
        self._accounts = sorted(accounts)
        self._turn = threading.Semaphore(0)
        self._waiting = threading.Event()
        self.stirred = threading.Event()
        self.steps = 0
        self.outcome: Any = None
        self.finished = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._waiting.wait(WAIT_SECONDS)

    def step(self) -> None:
        self.steps += 1
        self._waiting.set()
        self.stirred.set()
        self._turn.acquire()
        self._waiting.clear()

    def give_turn(self) -> None:
        self._waiting.clear()
        self.stirred.clear()
        self._turn.release()

    @property
    def rests(self) -> bool:
        """It waits for its turn, or has ended."""
        return self._waiting.is_set() or self.finished.is_set()

    def _run(self) -> None:
        try:
            while True:
                try:
                    self._once()
                    return
                except Again:
                    with suppress(StoreError):
                        self.line.finish()
                    self.line.ask("ROLLBACK")
        except BaseException as error:  # a fault of the test
            self.outcome = error
        finally:
            self.finished.set()
            self.stirred.set()

    def _once(self) -> None:
        tx = Stepped(self.line, self.step)
        self.line.ask("BEGIN")
        try:
            for account in self._accounts:
                tx.rows("SELECT id FROM account WHERE id = ? FOR UPDATE", (account,))
            self.outcome = self._unit(tx)
            if tx.failed is not None:
                raise tx.failed
            self.step()
            self.line.ask("COMMIT")
        except Again:
            raise
        except Exception as error:
            if isinstance(tx.failed, Again):
                raise tx.failed from error
            self.outcome = type(error).__name__
            self.line.ask("ROLLBACK")

    def join(self) -> None:
        self._thread.join(WAIT_SECONDS)


def connect(url: str) -> Line:
    connection = _connect(url, url)
    connection.execute("SET deadlock_timeout = '20ms'")
    return Line(connection)


def run_pair(
    lines: Sequence[Line],
    admin: psycopg.Connection[Any],
    pair: Sequence[tuple[Unit, Sequence[int]]],
    order: str,
) -> tuple[list[Any], list[int]]:
    """order: letters a and b, whose turn it is; what is left then is run to its end, a first.

    Returns outcomes and steps of each.
    """
    both = [Side(line, *given) for line, given in zip(lines, pair, strict=True)]
    try:
        end = time.monotonic() + WAIT_SECONDS
        turns = itertools.chain(order, itertools.cycle("ab"))
        stuck: Side | None = None  # until the other has made a step
        while not all(side.finished.is_set() for side in both):
            assert time.monotonic() < end, "they wait for each other for ever"
            side = both["ab".index(next(turns))]
            if side.finished.is_set() or side is stuck:
                continue
            stuck = None if _advance(admin, side) else side
    finally:
        for side in both:
            side.join()
    for side in both:
        if isinstance(side.outcome, BaseException):
            raise side.outcome
    return [side.outcome for side in both], [side.steps for side in both]


def _advance(admin: psycopg.Connection[Any], side: Side) -> bool:
    """One step, or as far as that goes: False where it waits for a lock."""
    if side.rests:
        side.give_turn()
    pid = side.line.pid
    end = time.monotonic() + WAIT_SECONDS
    while not side.rests:
        if side.stirred.wait(LOOK_SECONDS):
            continue
        row = admin.execute("SELECT cardinality(pg_blocking_pids(%s))", (pid,)).fetchone()
        if row and row[0]:
            return False
        assert time.monotonic() < end, "a step does not end"
    return True


class Saved:
    """The rows of all tables as they are now, to return to again and again."""

    def __init__(self, url: str) -> None:
        self.admin = psycopg.connect(url, autocommit=True)
        found = self.admin.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename <> 'migration' ORDER BY tablename"
        ).fetchall()
        self.tables = [name for (name,) in found]
        parts = [f'CREATE TABLE saved."{name}" AS TABLE public."{name}"' for name in self.tables]
        self._run(["CREATE SCHEMA saved", *parts])

    def restore(self) -> None:
        parts = []
        for name in self.tables:
            parts.append(f'DELETE FROM public."{name}"')
            parts.append(f'INSERT INTO public."{name}" TABLE saved."{name}"')
        self._run(parts)

    def dump(self) -> list[tuple[str, str]]:
        """(table, row) of all that is there; of `answered` the sums, whose parts are nobody's
        matter."""
        parts = []
        for name in self.tables:
            source = f'public."{name}"'
            if name == "answered":
                source = "(SELECT day, sum(messages), sum(recipients) FROM answered GROUP BY day)"
            parts.append(f"SELECT '{name}', t::text FROM {source} AS t")
        return sorted(self.admin.execute(" UNION ALL ".join(parts).encode()).fetchall())

    def _run(self, statements: list[str]) -> None:
        self.admin.execute("; ".join(["BEGIN", *statements, "COMMIT"]).encode())

    def close(self) -> None:
        self.admin.close()
