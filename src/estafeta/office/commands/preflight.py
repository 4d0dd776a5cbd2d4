"""estafeta preflight: whether a message to some addresses would arrive, before it is sent."""

from __future__ import annotations

from typing import Annotated

import typer

from estafeta.compose.limits import RECIPIENTS_MAX
from estafeta.compose.preflight import TooMany
from estafeta.explain.words import pick_language
from estafeta.mail.protocols import NoMeter
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    clean,
    in_store,
    the_address,
    the_language,
)
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.logs import set_up_logs
from estafeta.office.preflights import Told, preflight, told
from estafeta.office.serving import dns_servers
from estafeta.queue.suspended import standing
from estafeta.resolve import Resolver
from estafeta.store import accounts
from estafeta.store.buckets import Buckets
from estafeta.store.engine import Store, Tx
from estafeta.store.rows import Account
from estafeta.world.seams import World

_COLUMNS: Columns[Told] = {
    "recipient": lambda row: clean(row.recipient),
    "verdict": lambda row: row.verdict,
    "cause": lambda row: row.cause,
    "what": lambda row: clean(row.text),
}


def preflight_(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Who would write.")],
    recipients: Annotated[
        list[str], typer.Argument(metavar="ADDRESS…", help="To whom, 100 at most.")
    ],
    language: Annotated[
        str, typer.Option("--lang", help="en or es; default: as the account, else as the server.")
    ] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Look at addresses before a message is sent: their form, whether the domain takes mail, likely
    slips, and what became of the account's last message to each. The DNS is asked, no mail server.
    Ends with 1 where one is wrong."""
    address, asked = the_address(account), the_language(language)
    if len(recipients) > RECIPIENTS_MAX:
        raise UsageMistake(f"at most {RECIPIENTS_MAX} addresses at once were expected")

    async def work(store: Store, world: World, loaded: Config) -> list[Told]:
        def unit(tx: Tx) -> tuple[Account | None, set[str]]:
            return accounts.account(tx, address), set(standing(tx).drains)

        set_up_logs(loaded.log.format, "warning")
        owner, drained = await store.read(unit)
        if owner is None:
            raise CommandError(f"there is no account {address} here")
        servers = dns_servers(loaded)
        if not servers:
            raise CommandError("no DNS server is known: none in [dns] servers nor /etc/resolv.conf")
        meter = NoMeter()
        resolver = Resolver(world, servers, try_seconds=loaded.dns.timeout, meter=meter)
        rates = Buckets(store, world.clock, meter)
        checks = preflight(loaded, world, store, resolver, rates, lambda: drained)
        try:
            found = await checks.check(owner, recipients, limited=False)
        except TooMany as many:
            raise UsageMistake(str(many)) from many
        finally:
            await resolver.close()
        return told(found, asked or pick_language(owner.language, loaded.server.language))

    found = in_store(config, work)
    print_rows(found, _COLUMNS, json=json)
    if any(each.verdict == "wrong" for each in found):
        raise typer.Exit(1)
