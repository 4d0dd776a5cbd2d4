"""estafeta store: the store as a whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from estafeta.office.commands.audit import all_findings
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
    load_config,
    now_ms,
    print_json,
    print_table,
    say_done,
)
from estafeta.office.commands.progress import Teller, teller
from estafeta.office.config import Config
from estafeta.office.config_types import format_size
from estafeta.office.errors import EXIT_FAILURE, CommandError, NoConfiguration
from estafeta.office.objects import objects_of
from estafeta.office.privileges import Identity, find_identity, hand_over, prepare_folder
from estafeta.office.tenure import Tenure
from estafeta.queue import rows as queue_rows
from estafeta.store import tokens
from estafeta.store.audit import Finding
from estafeta.store.engine import Store
from estafeta.store.move import Moved, move_store
from estafeta.store.move.hold import named, nobody_else
from estafeta.store.move.tables import Table
from estafeta.store.open import is_postgres, open_store, shown_url, store_path
from estafeta.trust.token import FORMER_KEYS_MAX, KEY_OCTETS
from estafeta.world.real import real_world, run
from estafeta.world.seams import World

app = typer.Typer(no_args_is_help=True, help="The store as a whole.")


class Summary(msgspec.Struct, frozen=True):
    """What a move came to. hash: of all rows, in both stores. resumed: rows that a move before,
    which was broken off, had copied. filed_bodies: large ones, which stay where they are.
    findings: of the audit; None where none was asked for.
    """

    source: str
    target: str
    rows: dict[str, int]
    hash: str
    resumed: int
    filed_bodies: int
    filed_octets: int
    seconds: float
    findings: list[Finding] | None = None


@app.callback()
def group() -> None:
    """A group even while it has one command."""


@app.command("rotate-key")
def rotate_key(config: ConfigOption = None) -> None:
    """Sign the names of our messages, by which reports from outside are known, with a new key.

    A running server takes it up when it is started or reloaded (SIGHUP). What was signed with the
    two keys before stays known.
    """

    async def work(store: Store, world: World, _: Config) -> int:
        fresh = world.dice.randbytes(KEY_OCTETS)
        return len((await store.run(lambda tx: tokens.rotate(tx, fresh))).former)

    former = in_store(config, work)
    say_done(f"a new key signs from now on; {former} of at most {FORMER_KEYS_MAX} former ones hold")


@app.command()
def move(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Such as sqlite:///a/b.db.")],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="New: such as postgresql://user@host/database.")
    ],
    again: Annotated[
        bool, typer.Option("--again", help="Throw away what a move before has copied; begin anew.")
    ] = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Check the target as `estafeta audit --full` does.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Copy a whole store into a new one, of either engine, and prove that both are the same.

    Nobody may serve either meanwhile. Broken off, the same command goes on where it was. The source
    stays as it is; name the target as [server] store then. Files of large bodies are not touched.
    """
    loaded = _config_if_any(config)
    with ExitStack() as held:
        for url, is_source in ((source, True), (target, False)):
            held.enter_context(_alone(url, loaded, is_source=is_source))
        telling = held.enter_context(teller())
        summary = run(_move(source, target, loaded, telling, again=again, audit=audit))
    _print(summary, json=json)
    if summary.findings:
        raise typer.Exit(EXIT_FAILURE)


def _config_if_any(config: Path | None) -> Config | None:
    """It says whose the files are, and where large bodies lie; a move can do without."""
    try:
        return load_config(config)
    except NoConfiguration:
        return None


@contextmanager
def _alone(url: str, config: Config | None, *, is_source: bool) -> Iterator[None]:
    """Nobody serves that store within it."""
    if is_postgres(url):
        with nobody_else(url, locked=False):
            yield
        return
    path = store_path(url)
    if is_source and not path.exists():
        raise CommandError(f"there is no store {path}")
    identity = _identity(config)
    if identity is not None:
        prepare_folder(path.parent, identity)
    try:
        with Tenure(path):
            yield
    finally:
        hand_over(path.parent, identity)


def _identity(config: Config | None) -> Identity | None:
    """Whose the files of a store must be, where root moves it."""
    if config is None or os.geteuid() != 0:
        return None
    return find_identity(config.server.user, config.server.group)


async def _move(
    source: str, target: str, config: Config | None, telling: Teller, *, again: bool, audit: bool
) -> Summary:
    data_dir = Path(config.server.data_dir if config else ".")
    world = real_world(data_dir, objects_of(config) if config else None)
    loop = asyncio.get_running_loop()
    began = loop.time()
    ours = await _open(source, world)
    try:
        theirs = await _open(target, world)
        try:
            moved = await _moved(source, ours, theirs, world, telling, again=again)
            # Without a configuration nobody knows where large bodies lie.
            found = await all_findings(theirs, world, bodies=config is not None) if audit else None
        finally:
            await theirs.close()
    finally:
        await ours.close()
    return Summary(
        source=shown_url(source),
        target=shown_url(target),
        seconds=round(loop.time() - began, 3),
        findings=found,
        **msgspec.structs.asdict(moved),
    )


async def _open(url: str, world: World) -> Store:
    return await open_store(named(url) if is_postgres(url) else url, world, moving=True)


async def _moved(
    name: str, source: Store, target: Store, world: World, telling: Teller, *, again: bool
) -> Moved:
    now = now_ms(world)
    # Nobody works on them any more: as the next start would.
    await source.run(lambda tx: queue_rows.give_back(tx, now))
    with nobody_else(name, locked=True) if is_postgres(name) else nullcontext(_unchecked) as check:
        return await move_store(
            source,
            target,
            name=shown_url(name),
            now=now,
            report=_Told(telling),
            again=again,
            check=check,
        )


def _unchecked() -> None:
    """A file is held by its tenure, and counts its changes itself."""


class _Told:
    """A `Report` that goes to a person."""

    def __init__(self, telling: Teller) -> None:
        self._telling = telling

    def phase(self, name: str, rows: int, done: int) -> None:
        self._telling.begin(name, rows, done)

    def step(self, table: Table, rows: int, octets: int) -> None:
        self._telling.advance(table.name, rows)


def _print(summary: Summary, *, json: bool) -> None:
    if json:
        print_json(summary)
        return
    print_table(("table", "rows"), [(name, f"{n:,}") for name, n in summary.rows.items()])
    if summary.findings:
        print_table(("kind", "finding"), [(each.kind, each.text) for each in summary.findings])
    if summary.filed_bodies:
        say_done(
            f"{summary.filed_bodies:,} large bodies ({format_size(summary.filed_octets)}) are not "
            "in the store: they stay where they are, in data_dir or the bucket"
        )
    say_done(
        f"{sum(summary.rows.values()):,} rows are the same in both, SHA-256 {summary.hash[:16]}…; "
        f'now say [server] store = "{summary.target}"'
    )
