"""estafeta trace: where a message is and why; the seven steps of its journey."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from estafeta.explain.words import pick_language, say
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    clean,
    console,
    in_store,
    print_json,
    the_language,
)
from estafeta.office.config import Config
from estafeta.office.errors import EXIT_FAILURE
from estafeta.office.journey import Journey, State, Step, Story, Way, tell
from estafeta.office.limits import TRACE_MESSAGES_MAX
from estafeta.office.story import completed, with_children
from estafeta.office.times import shown_time
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids
from estafeta.store.journey import find
from estafeta.world.seams import World

_MARKS: dict[State, tuple[str, str]] = {
    "done": ("●", "green"),
    "waiting": ("○", "yellow"),
    "failed": ("✗", "red"),
    "skipped": ("·", "dim"),
}


def trace(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="Queue id, Message-ID, or address.")],
    limit: Annotated[
        int, typer.Option(min=1, max=TRACE_MESSAGES_MAX, help="At most so many messages.")
    ] = 10,
    language: Annotated[
        str, typer.Option("--lang", help="en or es; default: as LANG says, else as the server.")
    ] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the journey of a message. Exit 1 where nothing is known of it."""
    asked = the_language(language)

    async def work(store: Store, world: World, loaded: Config) -> tuple[list[Story], str]:
        bodies = Bodies(world.disk, Ids(world.clock, world.dice), objects=world.objects)

        def unit(tx: Tx) -> list[Story]:
            return with_children(tx, bodies, find(tx, what, limit))

        found = [await completed(story, store, bodies) for story in await store.read(unit)]
        return found, loaded.server.language

    stories, usual = in_store(config, work)
    spoken = pick_language(asked or _of_environment(), usual)
    journeys = [tell(story, spoken) for story in stories]
    if json:
        print_json(journeys)
    else:
        to = console()
        for journey in journeys:
            show_journey(journey, spoken, to)
    if not journeys:
        if not json:
            console(stderr=True).print(Text(say("trace.nothing-found", spoken, what=clean(what))))
        raise typer.Exit(EXIT_FAILURE)


def _of_environment() -> str:
    return os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG", "")


def show_journey(journey: Journey, language: str, to: Console) -> None:
    """Prints it; colours only on a terminal."""
    to.print(Text(say("trace.title", language, queue_id=journey.queue_id), style="bold"))
    for step in journey.steps:
        _show_step(step, "  ", to)
    for way in journey.recipients:
        _show_way(way, language, to)
    _show_claims(journey.claims, "  ", to)
    to.print()


def _show_way(way: Way, language: str, to: Console) -> None:
    line = Text("  ")
    line.append(say("trace.recipient", language, address=clean(way.recipient)), style="bold")
    line.append(f"  {clean(way.ending)}")
    to.print(line)
    for step in way.steps:
        _show_step(step, "    ", to)
    _show_claims(way.claims, "    ", to)


def _show_claims(claims: Sequence[str], indent: str, to: Console) -> None:
    for text in claims:
        to.print(Text(f"{indent}» {clean(text)}", style="magenta"))


def _show_step(step: Step, indent: str, to: Console) -> None:
    mark, style = _MARKS[step.state]
    line = Text(indent)
    line.append(mark, style=style)
    line.append(f" {step.number} {step.name}", style="bold" if step.state == "done" else "")
    if step.at is not None:
        # A Date field, which step 1 has its time from, knows seconds only.
        line.append(f"  {shown_time(step.at, millis=step.number > 1)}", style="dim")
    to.print(line)
    for text in step.lines:
        to.print(Text(f"{indent}    {clean(text)}"))
