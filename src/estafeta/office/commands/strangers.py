"""estafeta greylist, estafeta lists: what is remembered of a sender, and what lists say of one."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from estafeta.deliver.lists import Checked, Lists
from estafeta.deliver.visitor import Visitors
from estafeta.mail.protocols import NoMeter
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    clean,
    in_store,
    load_config,
    say_done,
    the_domain,
)
from estafeta.office.commands.rows import Columns, print_one, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.logs import set_up_logs
from estafeta.office.receiving import lists_settings
from estafeta.office.serving import dns_servers
from estafeta.office.strangers import Looked, look_up, who_of
from estafeta.office.times import shown_time
from estafeta.resolve import Resolver
from estafeta.store import greylist
from estafeta.store.engine import Store
from estafeta.world.real import real_world, run
from estafeta.world.seams import World

T = TypeVar("T")

greylist_app = typer.Typer(no_args_is_help=True, help="What greylisting remembers.")
lists_app = typer.Typer(no_args_is_help=True, help="Lists of senders, ours and in the DNS.")

Who = Annotated[
    str,
    typer.Argument(metavar="WHO", help="An organisation's domain, a network, or an address of it."),
]

_STANDING: Columns[dict[str, Any]] = {
    "who": lambda row: row["who"],
    "messages that came again": lambda row: str(row["came"]),
    "the last one": lambda row: shown_time(row["last"]) if row["last"] else "never",
    "senders that wait": lambda row: str(row["waiting"]),
    "senders that are known": lambda row: str(row["passed"]),
}
_LOOKED: Columns[dict[str, Any]] = {
    "address": lambda row: row["address"],
    "network": lambda row: row["network"],
    "confirmed name": lambda row: row["name"] or "none",
    "organisation": lambda row: row["organisation"] or "none",
    "verdict": lambda row: row["verdict"],
    "list": lambda row: row["zone"] or ("the settings" if row["verdict"] != "unlisted" else ""),
    "what is listed": lambda row: row["about"],
    "reason": lambda row: clean(row["reason"]),
}
_CHECKED: Columns[Checked] = {
    "list": lambda each: each.zone,
    "result": lambda each: each.result,
    "words": lambda each: clean(each.words),
}


@greylist_app.command()
def show(who: Who, json: JsonOption = False, config: ConfigOption = None) -> None:
    """What is remembered of an organisation or network."""
    name = _who(who)

    async def work(store: Store, _world: World, _: Config) -> greylist.Standing:
        return await store.read(partial(greylist.standing, who=name))

    found = in_store(config, work)
    row = {
        "who": name,
        "came": found.came,
        "last": found.last,
        "waiting": found.waiting,
        "passed": found.passed,
    }
    print_one(row, _STANDING, json=json)


@greylist_app.command()
def forget(who: Who, config: ConfigOption = None) -> None:
    """Make them strangers again. A running server knows within ten minutes."""
    name = _who(who)

    async def work(store: Store, _world: World, _: Config) -> int:
        return await store.run(partial(greylist.forget, who=name))

    rows = in_store(config, work)
    say_done(f"{name} is forgotten: {rows} rows")


@lists_app.command()
def look(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An IP address.")],
    domain: Annotated[
        str, typer.Option("--domain", help="Of the reverse-path.", show_default=False)
    ] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What the lists say of an address now. Ends with 1 where it is listed."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise UsageMistake(f'"{address}" is not an IP address') from None
    sender = the_domain(domain) if domain else ""

    async def work(lists: Lists, visitors: Visitors) -> Looked:
        return await look_up(visitors, lists, address, sender)

    found = _with_lists(config, work)
    print_one(msgspec.structs.asdict(found), _LOOKED, json=json)
    if found.verdict == "listed":
        raise typer.Exit(1)


@lists_app.command()
def check(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Whether each list in the DNS serves us, by the entries that it must and must not have
    (RFC 5782). Ends with 1 where one does not."""
    wanted = lists_settings(load_config(config)).dns

    async def work(lists: Lists, _visitors: Visitors) -> list[Checked]:
        return list(await asyncio.gather(*(lists.check(each) for each in wanted)))

    found = _with_lists(config, work)
    print_rows(found, _CHECKED, json=json)
    if any(each.result != "works" for each in found):
        raise typer.Exit(1)


def _with_lists(config: Path | None, work: Callable[[Lists, Visitors], Awaitable[T]]) -> T:
    """Runs it over lists and visitors of the configuration."""
    loaded = load_config(config)
    set_up_logs(loaded.log.format, "warning")
    servers = dns_servers(loaded)
    if not servers:
        raise CommandError("no DNS server is known: none in [dns] servers nor /etc/resolv.conf")

    async def main() -> T:
        world, meter = real_world(Path(loaded.server.data_dir)), NoMeter()
        resolver = Resolver(world, servers, try_seconds=loaded.dns.timeout, meter=meter)
        visitors = Visitors(
            resolver,
            world.clock,
            exempt_networks=(),
            wait_max=loaded.lists.wait_max,
            meter=meter,
        )
        try:
            lists = Lists(resolver, lists_settings(loaded), world.clock, meter)
            return await work(lists, visitors)
        finally:
            await visitors.close()
            await resolver.close()

    return run(main())


def _who(text: str) -> str:
    try:
        return who_of(text)
    except ValueError as wrong:
        raise UsageMistake(f'"{text}" is nobody: {wrong}') from wrong
