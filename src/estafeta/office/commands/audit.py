"""estafeta audit: proves that what was accepted equals what became of it, on a live system."""

from __future__ import annotations

from typing import Annotated

import typer

from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
    print_json,
    print_table,
    say_done,
)
from estafeta.office.config import Config
from estafeta.office.errors import EXIT_FAILURE
from estafeta.store.audit import Finding, audit_full, audit_open
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Store
from estafeta.store.ids import Ids
from estafeta.world.seams import World


def audit(
    full: Annotated[
        bool, typer.Option("--full", help="Check mailboxes, queue, bodies and counters as well.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Prove that the ledger balances. Exit 1, naming ids, where it does not."""

    async def work(store: Store, world: World, _: Config) -> list[Finding]:
        return await all_findings(store, world) if full else await store.read(audit_open)

    findings = in_store(config, work)
    if json:
        print_json({"ok": not findings, "full": full, "findings": findings})
    elif findings:
        print_table(("kind", "finding"), [(finding.kind, finding.text) for finding in findings])
    if findings:
        raise typer.Exit(EXIT_FAILURE)
    if not json:
        say_done("the ledger balances" if not full else "the ledger and the store balance")


async def all_findings(store: Store, world: World, *, bodies: bool = True) -> list[Finding]:
    """What is wrong anywhere. bodies: also with those that are not in the store itself."""
    findings = await store.read(audit_open)
    disk = world.disk if bodies else None
    ids = Ids(world.clock, world.dice)
    shelf = Bodies(world.disk, ids, objects=world.objects).shelf if bodies else None
    more = [finding async for finding in audit_full(store, disk, shelf)]
    return findings + [finding for finding in more if finding not in findings]
