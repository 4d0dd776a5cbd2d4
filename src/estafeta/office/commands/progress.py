"""Progress: of long work: a bar on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from estafeta.office.commands.common import console, say_done


class Teller(Protocol):
    """Told how far the work has come, on standard error."""

    def begin(self, name: str, total: int, done: int) -> None: ...

    def advance(self, detail: str, by: int) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def teller() -> Teller:
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Bar:
    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console(stderr=True),
        )
        self._task: TaskID | None = None

    def begin(self, name: str, total: int, done: int) -> None:
        self._task = self._progress.add_task(name, total=total, completed=done, detail="")

    def advance(self, detail: str, by: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=by, detail=detail)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class _Lines:
    def __init__(self) -> None:
        self._name = ""
        self._total = self._done = self._tenth = 0

    def begin(self, name: str, total: int, done: int) -> None:
        self._name, self._total, self._done = name, total, done
        self._tenth = self._tenths()
        say_done(f"{name}: {done:,} of {total:,} rows")

    def advance(self, detail: str, by: int) -> None:
        self._done += by
        if self._tenths() > self._tenth:
            self._tenth = self._tenths()
            said = f"{self._name}: {self._done:,} of {self._total:,} rows, {10 * self._tenth} %"
            say_done(f"{said}, at {detail}" if self._tenth < 10 else said)

    def _tenths(self) -> int:
        return 10 * self._done // self._total if self._total else 10

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Each line was whole."""
