"""estafeta audit: proves that what was accepted equals what became of it, on a live system."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
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
from estafeta.store.engine import Store
from estafeta.world.seams import World


def audit(
    full: Annotated[
        bool, typer.Option("--full", help="Check mailboxes, queue, bodies and counters as well.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Prove that the ledger balances. Exit 1, naming ids, where it does not."""
    from estafeta.store import audit as ledger_audit

    async def work(store: Store, _world: World, _: Config) -> list[Any]:
        findings = list(await store.read(ledger_audit.audit_open))
        if full:
            findings += [finding async for finding in ledger_audit.audit_full(store)]
        return findings

    findings = in_store(config, work)
    if json:
        print_json({"ok": not findings, "full": full, "findings": findings})
    elif findings:
        rows = [msgspec.to_builtins(finding) for finding in findings]
        print_table(("kind", "finding"), [(row["kind"], row["text"]) for row in rows])
    if findings:
        raise typer.Exit(EXIT_FAILURE)
    if not json:
        say_done("the ledger balances" if not full else "the ledger and the store balance")
