"""estafeta domain: the domains whose mail is ours. Each change works at once, without a restart."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
    now_ms,
    say_done,
    the_address,
    the_domain,
    the_domain_of_ours,
    the_language,
    warn_of_nobody,
)
from estafeta.office.commands.rows import Columns, print_one, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import UsageMistake
from estafeta.store import accounts
from estafeta.store.engine import Store, Tx
from estafeta.store.rows import Domain
from estafeta.world.seams import World

app = typer.Typer(no_args_is_help=True, help="Domains whose mail is ours.")

SEPARATORS = "+-_=~#"
"""What stands in addresses unquoted and seldom in names; RFC 5233 leaves it to the site."""

Name = Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as example.org.")]
Separator = Annotated[
    str | None,
    typer.Option(
        help="What ends the account's part of an address (you+x@): one of + - _ = ~ #; "
        "empty: nothing does."
    ),
]
CatchAll = Annotated[
    str | None,
    typer.Option(help="Address that gets what no account or alias does. Empty: nobody."),
]
Language = Annotated[
    str | None, typer.Option(help="en or es; empty: as the installation.", show_default=False)
]

_COLUMNS: Columns[Domain] = {
    "domain": lambda d: d.name,
    "separator": lambda d: d.separator,
    "catch-all": lambda d: d.catch_all,
    "language": lambda d: d.language,
}
_LINES: Columns[dict[str, Any]] = {
    "domain": lambda d: d["name"],
    "separator": lambda d: d["separator"],
    "catch-all": lambda d: d["catch_all"],
    "language": lambda d: d["language"],
    "accounts": lambda d: ", ".join(d["accounts"]),
    "aliases": lambda d: ", ".join(f"{a} → {t}" for a, t in d["aliases"]),
}


@app.command()
def add(
    name: Name,
    separator: Separator = "+",
    catch_all: CatchAll = "",
    language: Language = "",
    config: ConfigOption = None,
) -> None:
    """Take a domain in."""
    domain = the_domain(name)
    given = _given(separator, catch_all, language)

    async def work(store: Store, world: World, _: Config) -> None:
        await store.run(lambda tx: accounts.add_domain(tx, domain, now_ms(world), **given))

    in_store(config, work)
    say_done(f"domain {domain} added")
    _warn_of_catch_all(config, given)


@app.command("list")
def list_(json: JsonOption = False, config: ConfigOption = None) -> None:
    """All domains."""

    async def work(store: Store, _world: World, _: Config) -> list[Domain]:
        return list(await store.read(accounts.domains))

    print_rows(in_store(config, work), _COLUMNS, json=json)


@app.command()
def show(name: Name, json: JsonOption = False, config: ConfigOption = None) -> None:
    """One domain and what it has."""
    domain = the_domain(name)

    def unit(tx: Tx) -> dict[str, Any]:
        found = the_domain_of_ours(tx, domain)
        return {
            **msgspec.structs.asdict(found),
            "accounts": [a.address for a in accounts.accounts(tx, domain)],
            "aliases": [list(a) for a in accounts.aliases(tx, domain)],
        }

    async def work(store: Store, _world: World, _: Config) -> dict[str, Any]:
        return await store.read(unit)

    print_one(in_store(config, work), _LINES, json=json)


@app.command("set")
def set_(
    name: Name,
    separator: Separator = None,
    catch_all: CatchAll = None,
    language: Language = None,
    config: ConfigOption = None,
) -> None:
    """Change a domain."""
    domain = the_domain(name)
    given = _given(separator, catch_all, language)
    if not given:
        raise UsageMistake("nothing to change: give --separator, --catch-all or --language")

    def unit(tx: Tx) -> None:
        the_domain_of_ours(tx, domain)
        accounts.set_domain(tx, domain, **given)

    async def work(store: Store, _world: World, _: Config) -> None:
        await store.run(unit)

    in_store(config, work)
    say_done(f"domain {domain} changed")
    _warn_of_catch_all(config, given)


@app.command()
def remove(name: Name, config: ConfigOption = None) -> None:
    """Give a domain up. Refused while it has accounts."""
    domain = the_domain(name)

    def unit(tx: Tx) -> None:
        the_domain_of_ours(tx, domain)
        accounts.remove_domain(tx, domain)

    async def work(store: Store, _world: World, _: Config) -> None:
        await store.run(unit)

    in_store(config, work)
    say_done(f"domain {domain} removed")


def _warn_of_catch_all(config: ConfigOption, given: dict[str, str]) -> None:
    if catch_all := given.get("catch_all"):
        warn_of_nobody(config, [catch_all])


def _given(separator: str | None, catch_all: str | None, language: str | None) -> dict[str, str]:
    given: dict[str, str] = {}
    if separator is not None:
        if len(separator) > 1 or separator not in SEPARATORS:
            raise UsageMistake(
                f'"{separator}" cannot separate: one of {" ".join(SEPARATORS)} was expected, '
                "or nothing"
            )
        given["separator"] = separator
    if catch_all is not None:
        given["catch_all"] = the_address(catch_all) if catch_all else ""
    if language is not None:
        given["language"] = the_language(language)
    return given
