"""Main: the `estafeta` command. Everything it can do is in `office/commands` and `sim`."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from estafeta.office.commands import app as app
from estafeta.office.commands import main as run_commands


class Engine(Enum):
    """Of the stores of a rehearsal."""

    sqlite = "sqlite"
    postgresql = "postgresql"


PostgresBin = Annotated[
    Path | None,
    typer.Option(help="Folder of PostgreSQL's programs, where they are not installed."),
]


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Only the tour; exit 0 if all of it.")] = (
        False
    ),
    json: Annotated[
        bool, typer.Option("--json", help="Only the tour; print its rows as JSON, for programs.")
    ] = False,
    language: Annotated[
        str, typer.Option("--lang", help="en or es; default: as LANG says, else English.")
    ] = "",
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep settings, stores and logs there. Default: a temporary folder."),
    ] = None,
    store: Annotated[
        str,
        typer.Option(
            help="sqlite; postgresql for a private server; or postgresql://… to use one that runs."
        ),
    ] = "sqlite",
    postgres_bin: PostgresBin = None,
    workers: Annotated[
        int, typer.Option(min=1, max=8, help="Processes of each installation that serve.")
    ] = 1,
) -> None:
    """A small internet on loopback: two installations write to each other."""
    # The simulated world is dear to import; the other commands do without.
    from estafeta.sim.demo import main as run_demo

    raise typer.Exit(
        run_demo(
            once=once,
            json=json,
            language=language,
            folder=folder,
            store=store,
            programs=postgres_bin,
            workers=workers,
        )
    )


@app.command()
def rehearse(
    seed: Annotated[int, typer.Option(help="Decides everything that happens.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="So many seeds, one after another.")] = 1,
    hours: Annotated[
        float, typer.Option(min=0, max=24 * 60, help="Of trouble in each run. 0: 25 minutes.")
    ] = 0.0,
    letters: Annotated[int, typer.Option(min=0, help="In each run. 0: by its length.")] = 0,
    workers: Annotated[
        int, typer.Option(min=1, max=8, help="Of each installation; they die and stop singly.")
    ] = 1,
    store: Annotated[
        Engine, typer.Option(help="postgresql: on a private server; no power goes there.")
    ] = Engine.sqlite,
    postgres_bin: PostgresBin = None,
    bucket: Annotated[
        bool, typer.Option("--bucket", help="Large bodies are in an object store, at times away.")
    ] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Tell also what went wrong when.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, a line for each run.")] = False,
) -> None:
    """A whole small internet in virtual time: crashes, power losses, bad networks, bad servers."""
    from estafeta.sim.rehearse import rehearse as run

    raise typer.Exit(
        run(
            seed=seed,
            runs=runs,
            hours=hours,
            letters=letters,
            json=json,
            trace=trace,
            workers=workers,
            bucket=bucket,
            store=store.value,
            programs=postgres_bin,
        )
    )


@app.command(hidden=True)
def docs(folder: Path) -> None:
    """Write the pages of the documentation that are made from code."""
    from estafeta.office.docs import write_pages

    for page in write_pages(folder, app):
        sys.stdout.write(f"{page}\n")


def main() -> None:
    """Entry point of the command."""
    run_commands(app)


if __name__ == "__main__":
    main()
