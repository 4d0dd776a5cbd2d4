"""estafeta queue: what waits to be sent on, to whom, why, and when it is tried next."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from estafeta.explain.causes import cause
from estafeta.mail.outcome import Deferred, Outcome
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
)
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.times import shown_time
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import parse_queue_id, queue_id
from estafeta.world.seams import World

app = typer.Typer(no_args_is_help=True, help="The queue.")

_SELECT = (
    "SELECT q.acceptance, q.n, r.address, a.reverse_path, q.destination, a.size, a.at, q.due, "
    "q.attempts, q.lease IS NOT NULL, q.held, q.last FROM queue q "
    "JOIN acceptance a ON a.id = q.acceptance "
    "JOIN recipient r ON r.acceptance = q.acceptance AND r.n = q.n "
)


class Waiting(msgspec.Struct, frozen=True):
    """One row of the queue, as shown. Times in milliseconds since 1970."""

    queue_id: str
    recipient: str
    sender: str
    destination: str
    size: int
    accepted: int
    due: int
    attempts: int
    state: str
    cause: str
    reply: str


_COLUMNS: Columns[Waiting] = {
    "queue id": lambda w: w.queue_id,
    "recipient": lambda w: w.recipient,
    "from": lambda w: w.sender or "<>",
    "state": lambda w: w.state,
    "next try": lambda w: shown_time(w.due) if w.state == "waiting" else "",
    "attempts": lambda w: str(w.attempts),
    "why": lambda w: _why(w),
}


@app.command("list")
def list_(
    destination: Annotated[str | None, typer.Option(help="Only those for this domain.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 1000,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What waits, the longest waiting first."""

    def unit(tx: Tx) -> list[Waiting]:
        where, values = (
            ("WHERE q.destination = ? ", [destination.lower()]) if destination else ("", [])
        )
        sql = f"{_SELECT}{where}ORDER BY q.acceptance, q.n LIMIT ?"
        return [_waiting(row) for row in tx.rows(sql, [*values, limit])]

    print_rows(_read(config, unit), _COLUMNS, json=json)


@app.command()
def show(
    message: Annotated[str, typer.Argument(metavar="QUEUE-ID")],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """The waiting recipients of one message."""
    try:
        number = parse_queue_id(message)
    except ValueError as wrong:
        raise UsageMistake(str(wrong)) from wrong

    def unit(tx: Tx) -> list[Waiting]:
        sql = f"{_SELECT}WHERE q.acceptance = ? ORDER BY q.n"
        return [_waiting(row) for row in tx.rows(sql, (number,))]

    found = _read(config, unit)
    if not found:
        raise CommandError(f"{message} is not in the queue; `estafeta trace` tells its journey")
    print_rows(found, _COLUMNS, json=json)


def _read(config: Any, unit: Any) -> list[Waiting]:
    async def work(store: Store, _world: World, _: Config) -> list[Waiting]:
        return list(await store.read(unit))

    return in_store(config, work)


def _waiting(row: tuple[Any, ...]) -> Waiting:
    number, _n, address, sender, destination, size, at, due, attempts, leased, held, last = row
    outcome = msgspec.json.decode(last, type=Outcome) if last else None
    return Waiting(
        queue_id=queue_id(number),
        recipient=address,
        sender=sender,
        destination=destination,
        size=size,
        accepted=at,
        due=due,
        attempts=attempts,
        state=f"held: {held}" if held else "being sent" if leased else "waiting",
        cause=outcome.cause if isinstance(outcome, Deferred) else "",
        reply=str(outcome.reply) if outcome is not None else "",
    )


def _why(w: Waiting) -> str:
    if not w.cause:
        return w.reply
    return f"{cause(w.cause).in_words('en', address=w.recipient).title} ({w.reply})"
