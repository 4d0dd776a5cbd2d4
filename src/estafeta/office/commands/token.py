"""estafeta token: bearer tokens for the HTTP API."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
    now_ms,
    print_json,
    say_done,
    the_address,
)
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.config_types import parse_duration
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.times import shown_time
from estafeta.store import accounts, bearers
from estafeta.store.bearers import Bearer, BearersError
from estafeta.store.engine import Store, Tx
from estafeta.store.ledger import DAY_MS
from estafeta.world.seams import World

app = typer.Typer(no_args_is_help=True, help="Tokens that let programs use the HTTP API.")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_' and '-': monitoring.")
]

_COLUMNS: Columns[dict[str, Any]] = {
    "name": lambda row: str(row["name"]),
    "scope": lambda row: str(row["scope"]),
    "created": lambda row: shown_time(row["created"]),
    "expires": lambda row: shown_time(row["expires"]) if row["expires"] else "never",
    "last used": lambda row: str(row["last_used"] or "never"),
}


@app.command()
def add(
    name: Name,
    account: Annotated[
        str | None,
        typer.Option(help="May see and touch what this account has sent, and nothing else."),
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May see and touch everything.")] = False,
    expires: Annotated[
        str | None, typer.Option(help="Opens nothing any more after so long, such as 90d.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a token and print it. It is shown once: the store keeps a hash of it alone."""
    if not _NAME.fullmatch(name):
        raise UsageMistake(
            f'"{name}" is not a name: 1 to 64 letters, digits, ".", "_" and "-" were expected'
        )
    if admin == (account is not None):
        raise UsageMistake("--account or --admin was expected, one of them")
    address, lasts = the_address(account) if account else None, _lasting(expires)

    async def work(store: Store, world: World, _: Config) -> tuple[str, Bearer]:
        token, now = bearers.new_token(world.dice), now_ms(world)

        def unit(tx: Tx) -> Bearer:
            owner = None
            if address is not None:
                found = accounts.account(tx, address)
                if found is None:
                    raise CommandError(f"there is no account {address} here")
                owner = found.id
            until = now + lasts if lasts else 0
            bearers.add(tx, name, token, account=owner, now=now, expires=until)
            return Bearer(name, owner, address or "", now, until, 0)

        return token, await store.run(unit)

    try:
        token, made = in_store(config, work)
    except BearersError as why_not:
        raise CommandError(str(why_not)) from why_not
    if json:
        print_json({"token": token} | _row(made))
        return
    typer.echo(token)
    say_done(f"token {name} for {_scope(made)}: keep it, it is not shown again")


@app.command("list")
def list_(json: JsonOption = False, config: ConfigOption = None) -> None:
    """All tokens, without what is secret in them."""

    async def work(store: Store, _world: World, _: Config) -> list[Bearer]:
        return await store.read(bearers.bearers)

    print_rows([_row(each) for each in in_store(config, work)], _COLUMNS, json=json)


@app.command()
def remove(name: Name, config: ConfigOption = None) -> None:
    """Let a token open nothing any more, at once."""

    async def work(store: Store, _world: World, _: Config) -> None:
        await store.run(lambda tx: bearers.remove(tx, name))

    try:
        in_store(config, work)
    except BearersError as why_not:
        raise CommandError(str(why_not)) from why_not
    say_done(f"token {name} removed")


def _row(bearer: Bearer) -> dict[str, Any]:
    return {
        "name": bearer.name,
        "scope": _scope(bearer),
        "created": bearer.created,
        "expires": bearer.expires,
        "last_used": _day(bearer.used),
    }


def _scope(bearer: Bearer) -> str:
    return "admin" if bearer.is_admin else bearer.address or f"account {bearer.account}"


def _day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%Y-%m-%d") if day else ""


def _lasting(text: str | None) -> int:
    """Milliseconds; 0: for ever."""
    if text is None:
        return 0
    try:
        lasts = int(parse_duration(text) * 1000)
    except ValueError as wrong:
        raise UsageMistake(f'"{text}" is not a time: {wrong} was expected') from wrong
    if not 0 < lasts < 100 * 365 * DAY_MS:
        raise UsageMistake(f'"{text}" is not a time: more than none, less than a hundred years')
    return lasts
