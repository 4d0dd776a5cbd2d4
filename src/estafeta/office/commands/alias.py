"""estafeta alias and identity: addresses that lead to others, and addresses one may write as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
    say_done,
    the_address,
    the_domain,
    the_domain_of_ours,
    warn_of_nobody,
)
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.store import accounts
from estafeta.store.engine import Store, Tx, Unit
from estafeta.world.seams import World

alias_app = typer.Typer(no_args_is_help=True, help="Addresses that lead to others.")
identity_app = typer.Typer(no_args_is_help=True, help="Further addresses an account may write as.")

Alias = Annotated[str, typer.Argument(metavar="ADDRESS", help="Such as sales@example.org.")]
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Such as you@example.org.")]

_COLUMNS: Columns[dict[str, str]] = {
    "address": lambda pair: pair["address"],
    "target": lambda pair: pair["target"],
}


@alias_app.command("add")
def add_alias(
    address: Alias,
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Who gets the mail.")],
    config: ConfigOption = None,
) -> None:
    """Let an address lead to one or more others."""
    alias, goals = _alias_and_goals(address, targets)

    def unit(tx: Tx) -> None:
        if accounts.domain(tx, alias.rpartition("@")[2]) is None:
            raise CommandError(f"the domain of {alias} is not one of ours")
        for goal in goals:
            accounts.add_alias(tx, alias, goal)

    _run(config, unit)
    say_done(f"{alias} leads to {', '.join(goals)}")
    warn_of_nobody(config, goals)


@alias_app.command("list")
def list_aliases(
    domain: Annotated[str | None, typer.Option(help="Only those of this domain.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """All aliases."""
    only = the_domain(domain) if domain else None

    def unit(tx: Tx) -> list[tuple[str, str]]:
        if only is not None:
            the_domain_of_ours(tx, only)
        return list(accounts.aliases(tx, only))

    async def work(store: Store, _world: World, _: Config) -> list[tuple[str, str]]:
        return await store.read(unit)

    print_rows(_pairs(in_store(config, work)), _COLUMNS, json=json)


@alias_app.command("show")
def show_alias(address: Alias, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Where an address leads."""
    alias = the_address(address)

    async def work(store: Store, _world: World, _: Config) -> list[str]:
        return list(await store.read(lambda tx: accounts.targets(tx, alias)))

    found = in_store(config, work)
    if not found:
        raise CommandError(f"there is no alias {alias} here")
    pairs = _pairs([(alias, target) for target in found])
    print_rows(pairs, _COLUMNS, json=json, as_json={"address": alias, "targets": found})


@alias_app.command("set")
def set_alias(
    address: Alias,
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Who gets the mail.")],
    config: ConfigOption = None,
) -> None:
    """Let an address lead to exactly these."""
    alias, goals = _alias_and_goals(address, targets)

    def unit(tx: Tx) -> None:
        before = accounts.targets(tx, alias)
        if not before:
            raise CommandError(f"there is no alias {alias} here")
        for goal in before:
            if goal not in goals:
                accounts.remove_alias(tx, alias, goal)
        for goal in goals:
            if goal not in before:
                accounts.add_alias(tx, alias, goal)

    _run(config, unit)
    say_done(f"{alias} leads to {', '.join(goals)}")
    warn_of_nobody(config, goals)


@alias_app.command("remove")
def remove_alias(
    address: Alias,
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="Only this one; else all.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Remove an alias, or one of its targets."""
    alias = the_address(address)
    only = the_address(target) if target else None

    def unit(tx: Tx) -> None:
        goals = [goal for goal in accounts.targets(tx, alias) if only in (None, goal)]
        if not goals:
            raise CommandError(f"there is no alias {alias}{f' to {only}' if only else ''} here")
        for goal in goals:
            accounts.remove_alias(tx, alias, goal)

    _run(config, unit)
    say_done(f"alias {alias} removed")


@identity_app.command("add")
def add_identity(account: Account, address: Alias, config: ConfigOption = None) -> None:
    """Let an account write as a further address."""
    who, further = the_address(account), the_address(address)
    _run(config, lambda tx: accounts.add_identity(tx, _account(tx, who), further))
    say_done(f"{who} may write as {further}")


@identity_app.command("list")
def list_identities(
    account: Account, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """The further addresses an account may write as."""
    who = the_address(account)

    async def work(store: Store, _world: World, _: Config) -> list[str]:
        return list(await store.read(lambda tx: accounts.identities(tx, _account(tx, who))))

    found = in_store(config, work)
    columns: Columns[str] = {"account": lambda _: who, "identity": lambda further: further}
    print_rows(found, columns, json=json, as_json={"account": who, "identities": found})


@identity_app.command("remove")
def remove_identity(account: Account, address: Alias, config: ConfigOption = None) -> None:
    """Take a further address back."""
    who, further = the_address(account), the_address(address)

    def unit(tx: Tx) -> None:
        owner = _account(tx, who)
        if further not in accounts.identities(tx, owner):
            raise CommandError(f"{who} has no identity {further}")
        accounts.remove_identity(tx, owner, further)

    _run(config, unit)
    say_done(f"{who} may no longer write as {further}")


def _pairs(found: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"address": address, "target": target} for address, target in found]


def _alias_and_goals(address: str, targets: list[str]) -> tuple[str, list[str]]:
    alias, goals = the_address(address), [the_address(t) for t in targets]
    if alias in goals:
        raise UsageMistake(f"{alias} cannot lead to itself")
    return alias, goals


def _account(tx: Tx, address: str) -> int:
    found = accounts.account(tx, address)
    if found is None:
        raise CommandError(f"there is no account {address} here")
    return int(found.id)


def _run(config: ConfigOption, unit: Unit[None]) -> None:
    async def work(store: Store, _world: World, _: Config) -> None:
        await store.run(unit)

    in_store(config, work)
