"""Engine: units of work over a database, grouped into durable transactions.

A unit is a pure function of the transaction: no outside effect, may run twice, prepares its rows
before it, declares the accounts it touches. Its result is given out only after COMMIT returned.
The engine decides grouping and where a unit runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]
PARTS = 64


class Tx(Protocol):
    """What a unit sees. SQL uses `?` for parameters; None, int, float, str and bytes are values.

    SQL is written for SQLite; what PostgreSQL needs besides stands in a comment,
    `/*postgresql: FOR UPDATE */`. part: a number below PARTS that transactions at the same time do
    not share if it can be helped; for rows that all of them would update.
    """

    @property
    def part(self) -> int: ...

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]: ...

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        ...

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        ...

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Rows changed."""
        ...

    def send(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """As `run`, for who need not know how many: the engine may hold it back until the unit asks
        for something, or ends. It may fail then."""
        ...

    def run_many(self, sql: str, parameter_rows: Iterable[Sequence[Any]]) -> None: ...

    def hint(self, topic: tuple[str, int]) -> None:
        """Wakes those who listen to `topic` once this transaction is committed.

        Topics: ("account", id) · ("queue", 0).
        """
        ...


Unit = Callable[[Tx], T]


class StoreError(Exception):
    """The store could not do it; nothing of the unit happened, but for StoreUncertain."""


class StoreUncertain(StoreError):
    """The answer to COMMIT was lost: the unit happened, or it did not."""


class StoreFull(StoreError):
    """No space left. Reading goes on. SMTP: 452 4.3.1."""


class StoreReadOnly(StoreError):
    """The disk or the database refuses writes."""


class StoreConflict(StoreError):
    """The schema refused a row: a key that is taken, a fate that is final."""


class StoreTooNew(StoreError):
    """A newer version made this store."""


class StoreClosed(StoreError):
    """The store is being or has been closed."""


class Store(Protocol):
    """A store, on either engine."""

    async def run(
        self, unit: Unit[T], *, accounts: Sequence[int] = (), names: Sequence[str] = ()
    ) -> T:
        """Runs `unit` in a transaction and returns its result once that is committed and synced.

        accounts: ids whose rows it reads in order to write; locked in ascending order. names: what
        else it will wait for, that units of other transactions may take in another order; all units
        of a transaction take theirs sorted, before the first begins.
        An exception of the unit's own rolls back the unit alone and is raised here.
        Raises StoreError.
        """
        ...

    async def read(self, unit: Unit[T]) -> T:
        """Runs `unit` on a consistent snapshot that ends when it returns; it must not write."""
        ...

    def listen(self, topic: tuple[str, int]) -> Listening:
        """From now on, commits that hint at `topic` are noticed."""
        ...

    async def tidy(self) -> None:
        """Housekeeping of the engine's own, in slices: gives free space back. Now and then."""
        ...

    async def close(self) -> None: ...


class Listening(Protocol):
    """Hints may come late or for nothing: compare modseqs, and poll every 5 s besides."""

    async def wait(self) -> None:
        """Returns at once if a hint came since the last call."""
        ...

    def close(self) -> None: ...
