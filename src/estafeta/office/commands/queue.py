"""estafeta queue: what waits to be sent on, to whom, why, when it is tried next; and what to do
about it. Works on the store, so beside a running server, which notices at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer

from estafeta.explain.causes import cause, causes
from estafeta.office.commands import queue_destinations
from estafeta.office.commands.by_hand import (
    Work,
    operator,
    the_account,
    the_destination,
    the_reason,
    the_recipient,
    with_hand,
)
from estafeta.office.commands.common import ConfigOption, JsonOption, in_store, now_ms, say_done
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.config_types import parse_duration
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.times import shown_time
from estafeta.queue.hand import Act, Cancel, Chosen, Hold, Release, Retry, Touched
from estafeta.queue.handling import Corrected, Done, Hand
from estafeta.queue.limits import LISTED_MAX
from estafeta.queue.listing import STATES, Filter, Page, State, Waiting, page
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import parse_queue_id
from estafeta.world.seams import World

app = typer.Typer(no_args_is_help=True, help="The queue.")

_COLUMNS: Columns[Waiting] = {
    "queue id": lambda w: w.queue_id,
    "recipient": lambda w: w.recipient,
    "from": lambda w: w.sender or "<>",
    "state": lambda w: f"{w.state}: {w.reason}" if w.reason else w.state,
    "next try": lambda w: shown_time(w.due) if w.due else "",
    "attempts": lambda w: str(w.attempts),
    "why": lambda w: _why(w),
}
_TOUCHED: Columns[Touched] = {
    "queue id": lambda t: t.queue_id,
    "recipient": lambda t: t.recipient,
    "result": lambda t: f"{t.result}: {t.why}" if t.why else t.result,
}

QueueId = Annotated[str, typer.Argument(metavar="QUEUE-ID")]
OptionalQueueId = Annotated[
    str | None, typer.Argument(metavar="[QUEUE-ID]", help="Of this message.")
]
Recipients = Annotated[
    list[str] | None,
    typer.Option("--recipient", help="Only this recipient; may be given several times."),
]
Destination = Annotated[
    str | None, typer.Option("--destination", "--domain", help="Only those for this domain.")
]
Everything = Annotated[bool, typer.Option("--all", help="Whatever waits.")]
Mine = Annotated[
    str | None, typer.Option("--mine", metavar="ACCOUNT", help="Only what this account has sent.")
]


@app.command("list")
def list_(
    destination: Destination = None,
    sender: Annotated[str | None, typer.Option(help="Only those from this address.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Only those for this address.")] = None,
    state: Annotated[
        str | None,
        typer.Option(help="Only those waiting, sending, held, suspended or returning."),
    ] = None,
    cause: Annotated[
        str | None, typer.Option(help="Only those whose last attempt failed for this cause.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only those accepted so long ago, such as 2h.")
    ] = None,
    mine: Mine = None,
    after: Annotated[str | None, typer.Option(help="Those behind this row, by its cursor.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = LISTED_MAX,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What waits, the longest waiting first."""
    wanted = Filter(
        sender=the_recipient(sender) if sender else "",
        recipient=the_recipient(recipient) if recipient else "",
        destination=the_destination(destination) if destination else "",
        state=_the_state(state),
        cause=_the_cause(cause),
    )
    age = _the_age(older_than)

    async def work(store: Store, world: World, _: Config) -> Page:
        def unit(tx: Tx) -> Page:
            exactly = msgspec.structs.replace(
                wanted,
                account=the_account(tx, mine),
                older_than=None if age is None else now_ms(world) - age,
            )
            return page(tx, exactly, cursor=after or "", limit=limit)

        return await store.read(unit)

    try:
        found = in_store(config, work)
    except ValueError as wrong:
        raise UsageMistake(str(wrong)) from wrong
    print_rows(found.rows, _COLUMNS, json=json)
    if found.next:
        say_done(f"there is more: --after {found.next}")


@app.command()
def show(
    message: QueueId,
    mine: Mine = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """The waiting recipients of one message."""
    number = _the_number(message)

    async def work(store: Store, _world: World, _: Config) -> Page:
        def unit(tx: Tx) -> Page:
            wanted = Filter(acceptance=number, account=the_account(tx, mine))
            return page(tx, wanted, limit=LISTED_MAX)

        return await store.read(unit)

    found = in_store(config, work)
    if not found.rows:
        raise CommandError(f"{message} is not in the queue; `estafeta trace` tells its journey")
    print_rows(found.rows, _COLUMNS, json=json)


@app.command()
def retry(
    message: OptionalQueueId = None,
    recipients: Recipients = None,
    destination: Destination = None,
    everything: Everything = False,
    mine: Mine = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try again now, whatever the plan says."""
    chosen = _Chosen(message, recipients, destination, everything, mine)
    _touch(config, Retry(), chosen, json=json)


@app.command()
def hold(
    message: OptionalQueueId = None,
    recipients: Recipients = None,
    destination: Destination = None,
    everything: Everything = False,
    mine: Mine = None,
    reason: Annotated[str, typer.Option(help="Why; shown wherever it is asked for.")] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Do not try until it is released. What is being sent is held if that does not succeed."""
    chosen = _Chosen(message, recipients, destination, everything, mine)
    _touch(config, Hold(the_reason(reason) or f"by {operator()}"), chosen, json=json)


@app.command()
def release(
    message: OptionalQueueId = None,
    recipients: Recipients = None,
    destination: Destination = None,
    everything: Everything = False,
    mine: Mine = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try what was held, now."""
    chosen = _Chosen(message, recipients, destination, everything, mine)
    _touch(config, Release(), chosen, json=json)


@app.command()
def cancel(
    message: OptionalQueueId = None,
    recipients: Recipients = None,
    destination: Destination = None,
    everything: Everything = False,
    mine: Mine = None,
    reason: Annotated[str, typer.Option(help="Why; shown in the journey.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Do not send it any more, for good; nobody is told. What is being sent is cancelled if that
    does not succeed."""
    chosen = _Chosen(message, recipients, destination, everything, mine)
    if message is None and not yes and not typer.confirm(f"Cancel {chosen.words}?", err=True):
        raise CommandError("nothing was cancelled")
    _touch(config, Cancel(the_reason(reason)), chosen, json=json)


@app.command()
def correct(
    message: QueueId,
    addresses: Annotated[
        list[str],
        typer.Argument(metavar="WAS IS...", help="An address as it was, and as it should be."),
    ],
    mine: Mine = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send to another address in place of a recipient that waits or has failed."""
    number = _the_number(message)
    if len(addresses) % 2:
        raise UsageMistake("pairs of addresses were expected: as it was, and as it should be")
    pairs = [
        (the_recipient(was), the_recipient(should))
        for was, should in zip(addresses[::2], addresses[1::2], strict=True)
    ]
    _send_again(
        config,
        lambda hand, account: hand.correct(number, pairs, operator(), account=account),
        mine,
        json=json,
    )


@app.command()
def resend(
    message: QueueId,
    recipients: Recipients = None,
    mine: Mine = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send once more to those recipients that failed, and to nobody else."""
    number, addresses = _the_number(message), [the_recipient(each) for each in recipients or ()]
    _send_again(
        config,
        lambda hand, account: hand.resend(number, addresses, operator(), account=account),
        mine,
        json=json,
    )


queue_destinations.add_to(app)


class _Chosen:
    """What was named on the command line. Raises UsageMistake: nothing, or too much."""

    def __init__(
        self,
        message: str | None,
        recipients: list[str] | None,
        destination: str | None,
        everything: bool,
        mine: str | None,
    ) -> None:
        given = [message is not None, destination is not None, everything]
        if sum(given) != 1:
            raise UsageMistake("a queue id, --destination or --all was expected, one of them")
        self.mine = mine
        self.number = None if message is None else _the_number(message)
        self.addresses = tuple(the_recipient(each) for each in recipients or ())
        self.destination = "" if destination is None else the_destination(destination)
        self.words = self._in_words(message)

    def _in_words(self, message: str | None) -> str:
        about = f"everything for {self.destination}" if self.destination else "the whole queue"
        about = message or about
        if self.addresses:
            about = f"{', '.join(self.addresses)} in {about}"
        return f"{about} of {self.mine}" if self.mine else about

    def of(self, account: int | None) -> Chosen:
        return Chosen(
            acceptance=self.number,
            addresses=self.addresses,
            destination=self.destination,
            account=account,
        )


def _touch(config: ConfigOption, act: Act, chosen: _Chosen, *, json: bool) -> None:
    async def work(hand: Hand, account: int | None) -> Done:
        return await hand.touch(act, chosen.of(account), operator())

    done = with_hand(config, chosen.mine, work)
    total = sum(done.counts.values())
    if not total:
        raise CommandError(f"there is nothing in the queue that fits ({chosen.words})")
    print_rows(done.recipients, _TOUCHED, json=json, as_json=done)
    if not json and total > len(done.recipients):
        counts = ", ".join(f"{count} {result}" for result, count in sorted(done.counts.items()))
        say_done(f"the first {len(done.recipients)} of {total} are shown: {counts}")


def _send_again(
    config: ConfigOption, work: Work[Corrected], mine: str | None, *, json: bool
) -> None:
    done = with_hand(config, mine, work)
    print_rows(done.recipients, _TOUCHED, json=json, as_json=done)
    say_done(f"sent again as {done.child}")


def _the_number(message: str) -> int:
    try:
        return parse_queue_id(message)
    except ValueError as wrong:
        raise UsageMistake(str(wrong)) from wrong


def _the_state(text: str | None) -> State | Literal[""]:
    for state in STATES:
        if text == state:
            return state
    if text is None:
        return ""
    raise UsageMistake(f'"{text}" is not a state: {", ".join(STATES)} was expected')


def _the_cause(text: str | None) -> str:
    if text is not None and text not in causes():
        raise UsageMistake(f'"{text}" is not a cause: see docs/causes.md')
    return text or ""


def _the_age(text: str | None) -> int | None:
    """Milliseconds."""
    if text is None:
        return None
    try:
        return int(parse_duration(text) * 1000)
    except ValueError as wrong:
        raise UsageMistake(f'"{text}" is not an age: {wrong} was expected') from wrong


def _why(w: Waiting) -> str:
    if not w.cause:
        return w.reply
    return f"{cause(w.cause).in_words('en', address=w.recipient).title} ({w.reply})"
