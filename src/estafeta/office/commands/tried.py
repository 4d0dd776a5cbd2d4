"""estafeta tried: who tried to reach an account and did not get in, or not yet; letting them in."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.text import Text

from estafeta.deliver.letting import grant
from estafeta.deliver.policy.book import Book
from estafeta.deliver.tried import why_not
from estafeta.explain.words import pick_language
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    clean,
    console,
    in_store,
    now_ms,
    print_json,
    say_done,
    the_address,
    the_language,
)
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.times import shown_time
from estafeta.office.tried import Tried, given_by, let_in_row, tried_row
from estafeta.store import accounts, admissions, knocks
from estafeta.store.admissions import Admission, NotLetIn
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids, parse_queue_id, queue_id
from estafeta.store.knocks import Knock
from estafeta.store.limits import KNOCKS_MAX
from estafeta.store.rows import Account
from estafeta.world.seams import World

app = typer.Typer(
    no_args_is_help=True, help="Who tried to reach an account and did not get in, or not yet."
)

_COLUMNS: Columns[Tried] = {
    "row": lambda row: row.row,
    "last": lambda row: shown_time(row.last),
    "times": lambda row: str(row.times),
    "what": lambda row: row.words[0],
    "let in until": lambda row: _until(row),
}

AccountAddress = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Whose journal.")]
RowName = Annotated[str, typer.Argument(metavar="ROW", help="As `tried list` calls it.")]
Language = Annotated[
    str, typer.Option("--lang", help="en or es; default: as the account, else as LANG says.")
]


@app.command("list")
def list_(
    account: AccountAddress,
    limit: Annotated[int, typer.Option(min=1, max=KNOCKS_MAX, help="At most so many rows.")] = 100,
    language: Language = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Those who tried within 30 days, the last ones first."""
    address, asked = the_address(account), the_language(language)

    def unit(tx: Tx) -> list[Tried]:
        owner = _owner(tx, address)
        given = given_by(tx, owner)
        spoken = _spoken(asked, owner)
        return [
            tried_row(each, owner, given.get(each.id), spoken)
            for each in knocks.knocks(tx, owner.id, limit=limit)
        ]

    async def work(store: Store, _world: World, _: Config) -> list[Tried]:
        return await store.read(unit)

    print_rows(in_store(config, work), _COLUMNS, json=json)


@app.command()
def show(
    account: AccountAddress,
    row: RowName,
    language: Language = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """All that is known of one row, with the answer that was given."""
    address, asked, number = the_address(account), the_language(language), _number(row)

    def unit(tx: Tx) -> Tried:
        owner = _owner(tx, address)
        found = _knock(tx, owner, number)
        return tried_row(found, owner, given_by(tx, owner).get(found.id), _spoken(asked, owner))

    async def work(store: Store, _world: World, _: Config) -> Tried:
        return await store.read(unit)

    found = in_store(config, work)
    if json:
        print_json(found)
        return
    to = console()
    for line in [*found.words, found.reply]:
        if line:
            to.print(Text(clean(line)))


@app.command("let-in")
def let_in(
    account: AccountAddress,
    row: RowName,
    language: Language = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Let the next message of that sender in: one, within 7 days, where the policy allows it."""
    address, asked, number = the_address(account), the_language(language), _number(row)

    async def work(store: Store, world: World, loaded: Config) -> tuple[Knock, Admission]:
        owner = await store.read(lambda tx: _owner(tx, address))
        found = await store.read(lambda tx: _knock(tx, owner, number))
        ids, book, now = Ids(world.clock, world.dice), Book(world.clock), now_ms(world)

        def unit(tx: Tx) -> Admission:
            return grant(
                tx,
                book,
                owner,
                number,
                now,
                id=ids.next(),
                size_max=loaded.smtp.size_max,
            )

        try:
            return found, await store.run(unit, accounts=(owner.id,))
        except NotLetIn as refused:
            raise CommandError(why_not(refused, _spoken(asked, owner), cause=found.cause)) from None

    found, made = in_store(config, work)
    if json:
        print_json(let_in_row(made))
        return
    who = found.detail.sender or found.who
    say_done(f"let in until {shown_time(made.until)}: one message from {_whom(made, who)}")


@app.command()
def revoke(account: AccountAddress, row: RowName, config: ConfigOption = None) -> None:
    """Take back what `let-in` gave and nobody has used."""
    address, number = the_address(account), _number(row)

    def unit(tx: Tx) -> bool:
        return admissions.revoke(tx, _owner(tx, address).id, number)

    async def work(store: Store, _world: World, _: Config) -> bool:
        return await store.run(unit)

    if not in_store(config, work):
        raise CommandError(f"nobody is let in for the row {row}, or somebody came in already")
    say_done(f"nobody is let in any more for the row {row}")


def _owner(tx: Tx, address: str) -> Account:
    found = accounts.account(tx, address)
    if found is None:
        raise CommandError(f"there is no account {address} here")
    return found


def _knock(tx: Tx, owner: Account, number: int) -> Knock:
    found = knocks.knock(tx, owner.id, number)
    if found is None:
        raise CommandError(f"there is no row {queue_id(number)} in the journal of {owner.address}")
    return found


def _number(row: str) -> int:
    try:
        return parse_queue_id(row)
    except ValueError:
        raise UsageMistake(
            f'"{row}" is not a row: 13 letters and digits were expected, as `tried list` has them'
        ) from None


def _spoken(asked: str, owner: Account) -> str:
    environment = (
        os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG", "")
    )
    return pick_language(asked, owner.language, environment)


def _until(row: Tried) -> str:
    admission = row.admission
    if admission is None:
        return ""
    return "came in" if admission.used_by else shown_time(admission.until)


def _whom(admission: Admission, who: str) -> str:
    if admission.domain:
        return f"the servers of {admission.domain} for addresses of it"
    return f"{who}, from the network {admission.network}"
