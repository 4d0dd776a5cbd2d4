"""Run: the demo from its first line to its last."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from estafeta.explain.words import pick_language
from estafeta.office.errors import EXIT_FAILURE, CommandError
from estafeta.office.signals import Stop, handled
from estafeta.sim.demo.failures import Failures
from estafeta.sim.demo.internet import DemoError, Internet
from estafeta.sim.demo.places import NoPlace, free_ports
from estafeta.sim.demo.reception import Receptions
from estafeta.sim.demo.scene import Row
from estafeta.sim.demo.show import Show, make_console
from estafeta.sim.demo.stores import Wish
from estafeta.sim.demo.tour import Tour
from estafeta.sim.postgres import NoPostgres
from estafeta.world.real import real_world
from estafeta.world.real import run as run_loop

EXIT_STOPPED = 130


def main(
    *,
    once: bool,
    json: bool,
    language: str,
    folder: Path | None,
    store: str = "sqlite",
    programs: Path | None = None,
    workers: int = 1,
) -> int:
    """The demo; returns the exit code. language: "" for that of the environment.

    once: ends after the tour. json: prints its rows and nothing else, and ends after it as well.
    folder: where the files are kept; None for a temporary one. store, programs: see stores.Wish.
    workers: of each installation.
    Raises CommandError.
    """
    spoken = pick_language(language, _of_environment())
    show = None if json else Show(make_console(), spoken)
    try:
        with _room(folder) as place:
            wish = Wish(store, programs, keep=folder is not None)
            return run_loop(Demo(place, show, spoken, wish, workers, once=once or json).run())
    except (DemoError, NoPlace, NoPostgres) as error:
        raise CommandError(str(error)) from None


class Demo:
    """One run. show: None prints rows as JSON in the end. wish: for the stores."""

    def __init__(
        self,
        folder: Path,
        show: Show | None,
        language: str,
        wish: Wish,
        workers: int,
        *,
        once: bool,
    ) -> None:
        self._folder = folder
        self._show = show
        self._language = language
        self._once = once
        self._wish = wish
        self._workers = workers
        self._code = EXIT_STOPPED

    async def run(self) -> int:
        """Ctrl-C, SIGTERM and a terminal that goes away end it in order."""
        stop = Stop()
        with handled(stop, stop.ask):
            working = asyncio.create_task(self._work(), name="demo")
            asked = asyncio.create_task(stop.asked.wait())
            await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if not working.done():
                working.cancel()
                if self._show is not None:
                    self._show.stopping()
            try:
                await working
            except asyncio.CancelledError:
                pass
            except BaseExceptionGroup as group:
                raise _first(group) from None
        return self._code

    async def _work(self) -> None:
        show, world = self._show, real_world(self._folder)
        internet = Internet(self._folder, free_ports(), world, self._wish, self._workers)
        async with AsyncExitStack() as stack:
            with show.starting() if show is not None else nullcontext():
                await stack.enter_async_context(internet)
            if show is not None:
                show.opening(internet)
            began = asyncio.get_running_loop().time()
            tour = Tour(internet, self._language)
            steps = await self._tour(tour)
            steps += await self._failures(internet)
            steps += await self._receptions(internet)
            ledger = await tour.ledger()
            rows = steps + ledger
            failed = sum(not row.ok for row in rows)
            self._code = EXIT_FAILURE if failed else 0
            if show is None:
                _print_rows(rows)
                return
            show.ledger(ledger)
            show.summary(len(steps), failed, asyncio.get_running_loop().time() - began)
            if not self._once:
                show.closing(internet, tour.letters[-1].queue_id)
                await asyncio.Event().wait()

    async def _failures(self, internet: Internet) -> list[Row]:
        failures = Failures(internet, self._language)
        return await self._chapter(
            "trouble", ((one.name, one.recipient, row) async for one, row in failures.rows())
        )

    async def _receptions(self, internet: Internet) -> list[Row]:
        receptions = Receptions(internet, self._language)
        return await self._chapter(
            "reception", ((one.name, one.address, row) async for one, row in receptions.rows())
        )

    async def _chapter(self, section: str, cases: AsyncIterator[tuple[str, str, Row]]) -> list[Row]:
        """section: of the texts. cases: name, recipient and what was seen."""
        show = self._show
        if show is not None:
            show.chapter(section)
        with show.waiting(section) if show is not None else nullcontext():
            found = [each async for each in cases]
        for name, recipient, row in found if show is not None else ():
            if show is not None:
                show.case(section, name, recipient, row)
        return [row for _, _, row in found]

    async def _tour(self, tour: Tour) -> list[Row]:
        show = self._show
        rows: list[Row] = []
        async for letter, scene in tour.scenes():
            rows.append(scene.row)
            if show is not None:
                show.scene(letter, scene)
        for seen in tour.letters if show is not None else ():
            if show is not None and seen.report:
                show.bounce(seen.letter.sender.name, seen.report)
        return rows


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What failed first of what was done together."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _print_rows(rows: Sequence[Row]) -> None:
    """One JSON document, a row a line."""
    lines = ",\n".join(msgspec.json.encode(row).decode() for row in rows)
    sys.stdout.write(f"[\n{lines}\n]\n")


@contextmanager
def _room(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with TemporaryDirectory(prefix="estafeta-demo-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def _of_environment() -> str:
    return os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG", "")
