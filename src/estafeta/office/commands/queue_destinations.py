"""estafeta queue, about whole destinations: suspend, resume, drain, undrain, and what stands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from estafeta.mail.address import AddressError, canonical_domain
from estafeta.office.commands.by_hand import operator, the_destination, the_reason, with_hand
from estafeta.office.commands.common import ConfigOption, JsonOption, in_store, say_done
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import UsageMistake
from estafeta.office.times import shown_time
from estafeta.queue.handling import Hand
from estafeta.queue.suspended import ALL, Standing, standing
from estafeta.store.engine import Store
from estafeta.world.seams import World

Domain = Annotated[
    str, typer.Argument(metavar="DOMAIN", help="Such as example.org; * for all there are.")
]

_COLUMNS: Columns[dict[str, Any]] = {
    "destination": lambda row: str(row["destination"]),
    "what": lambda row: _what(row),
    "reason": lambda row: str(row.get("reason", "")),
    "by": lambda row: str(row["who"]),
    "since": lambda row: shown_time(int(row["at"])),
}


def add_to(app: typer.Typer) -> None:
    for command in (suspend, resume, drain, undrain):
        app.command()(command)
    app.command("suspended")(suspended)


def suspend(
    domain: Domain,
    reason: Annotated[str, typer.Option(help="Why; shown wherever it is asked for.")] = "",
    config: ConfigOption = None,
) -> None:
    """Try nothing for a domain until it is resumed. What is being sent goes on; nothing is
    returned meanwhile."""
    name, why = the_destination(domain), the_reason(reason)

    async def work(hand: Hand, _: int | None) -> None:
        await hand.suspend(name, why, operator())

    with_hand(config, None, work)
    say_done(f"{_named(name)} is suspended; `estafeta queue resume` ends that")


def resume(domain: Domain, config: ConfigOption = None) -> None:
    """Try again what waits for a domain; what has become too old gets one last try."""
    name = the_destination(domain)

    async def work(hand: Hand, _: int | None) -> None:
        await hand.resume(name, operator())

    with_hand(config, None, work)
    say_done(f"{_named(name)} is tried again")


def drain(
    domain: Domain,
    to: Annotated[
        str, typer.Option(help="The other host: mx2.example.org, 192.0.2.7:2525, [2001:db8::1]:25.")
    ],
    config: ConfigOption = None,
) -> None:
    """Send what waits for a domain, and what comes, to another host until it is undrained."""
    name, (host, port) = the_destination(domain), the_host(to)

    async def work(hand: Hand, _: int | None) -> int:
        return sum((await hand.drain(name, host, port, operator())).counts.values())

    count = with_hand(config, None, work)
    say_done(f"mail for {_named(name)} goes to {host}:{port}; {count} waiting recipients at once")


def undrain(domain: Domain, config: ConfigOption = None) -> None:
    """Send mail for a domain where the DNS and the configuration say."""
    name = the_destination(domain)

    async def work(hand: Hand, _: int | None) -> None:
        await hand.undrain(name, operator())

    with_hand(config, None, work)
    say_done(f"mail for {_named(name)} goes its usual way")


def suspended(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Domains that are suspended, and those that are drained to another host."""

    async def work(store: Store, _world: World, _: Config) -> Standing:
        return await store.read(standing)

    found = in_store(config, work)
    rows: list[dict[str, Any]] = [
        {
            "destination": each.destination,
            "state": "suspended",
            "reason": each.reason,
            "who": each.who,
            "at": each.at,
        }
        for each in found.suspensions.values()
    ]
    rows += [
        {
            "destination": each.destination,
            "state": "drained",
            "host": each.host,
            "port": each.port,
            "who": each.who,
            "at": each.at,
        }
        for each in found.drains.values()
    ]
    print_rows(rows, _COLUMNS, json=json)


def the_host(text: str) -> tuple[str, int]:
    """(name or address, port) of `host`, `host:port`, `[address]:port`. Raises UsageMistake."""
    host, port = text, "25"
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":") or "25"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise UsageMistake(f'"{text}" is not a host: a port from 1 to 65535 was expected')
    try:
        return (host if ":" in host else canonical_domain(host)), int(port)
    except AddressError as wrong:
        raise UsageMistake(f'"{text}" is not a host: a name or an address was expected') from wrong


def _named(name: str) -> str:
    return "every domain" if name == ALL else name


def _what(row: dict[str, Any]) -> str:
    if row["state"] == "suspended":
        return "suspended"
    return f"drained to {row['host']}:{row['port']}"
