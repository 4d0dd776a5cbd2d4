"""estafeta account: people with a mailbox. Each change works at once, without a restart."""

from __future__ import annotations

import enum
import secrets
import sys
import unicodedata
from typing import Annotated, Any

import msgspec
import typer

from estafeta.office.commands.by_hand import operator
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
    now_ms,
    print_json,
    say_done,
    shown_quota,
    the_address,
    the_domain,
    the_domain_of_ours,
    the_language,
    the_quota,
)
from estafeta.office.commands.rows import Columns, print_one, print_rows
from estafeta.office.config import Config
from estafeta.office.config_types import format_size
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.times import shown_time
from estafeta.queue import stopped as queue_stopped
from estafeta.store import accounts, credentials, mailboxes, stopped
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids
from estafeta.store.rows import Account
from estafeta.world.seams import World

app = typer.Typer(no_args_is_help=True, help="Accounts: people with a mailbox.")

PASSWORD_CHARACTERS = 20
"""Of a password that we make: 20 of 32 signs, 100 bits."""

_SIGNS = "abcdefghijkmnpqrstuvwxyz23456789"


class Switch(enum.StrEnum):
    ON = "on"
    OFF = "off"


Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="Such as you@example.org.")]
Quota = Annotated[str | None, typer.Option(help="Such as 5GiB; none: no limit.")]
PersonName = Annotated[str | None, typer.Option(help="The person's name.")]
Language = Annotated[
    str | None, typer.Option(help="en or es; empty: as the domain.", show_default=False)
]
SaveSent = Annotated[
    Switch | None,
    typer.Option(
        help="on: what it submits is filed in its Sent by the server; off: by its programs."
    ),
]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]
Generate = Annotated[
    bool, typer.Option("--generate", help="Make a password and print it on standard output.")
]

_COLUMNS: Columns[Account] = {
    "address": lambda a: a.address,
    "name": lambda a: a.name,
    "used": lambda a: format_size(a.used),
    "quota": lambda a: shown_quota(a.quota),
    "language": lambda a: a.language,
    "state": lambda a: _state(a.disabled),
}
_LINES: Columns[dict[str, Any]] = {
    "address": lambda a: a["address"],
    "name": lambda a: a["name"],
    "state": lambda a: _state(a["disabled"]),
    "sending": lambda a: _sending(a["stopped"]),
    "used": lambda a: format_size(a["used"]),
    "quota": lambda a: shown_quota(a["quota"]),
    "language": lambda a: a["language"],
    "save sent": lambda a: "on" if a["save_sent"] else "off",
    "identities": lambda a: ", ".join(a["identities"]),
    "aliases": lambda a: ", ".join(a["aliases"]),
}
_BOX_COLUMNS: Columns[dict[str, Any]] = {
    "mailbox": lambda m: m["name"],
    "role": lambda m: m["role"],
    "messages": lambda m: str(m["messages"]),
    "unseen": lambda m: str(m["unseen"]),
}


@app.command()
def add(
    address: Address,
    name: PersonName = "",
    quota: Quota = "none",
    language: Language = "",
    password_stdin: Stdin = False,
    generate: Generate = False,
    config: ConfigOption = None,
) -> None:
    """Make an account with its mailboxes. The password is asked for; off a terminal it is made."""
    where = the_address(address)
    octets = the_quota(quota or "none")
    spoken = the_language(language or "")
    plain, made = _get_password(password_stdin, generate)

    async def work(store: Store, world: World, _: Config) -> None:
        password = credentials.make_password(plain, world.dice)
        await store.run(
            lambda tx: accounts.add_account(
                tx,
                where,
                now_ms(world),
                name=name or "",
                language=spoken,
                quota=octets,
                password=password,
            )
        )

    in_store(config, work)
    say_done(f"account {where} added")
    if made:
        sys.stdout.write(plain + "\n")


@app.command("list")
def list_(
    domain: Annotated[str | None, typer.Option(help="Only those of this domain.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """All accounts."""
    only = the_domain(domain) if domain else None

    def unit(tx: Tx) -> list[Account]:
        if only is not None:
            the_domain_of_ours(tx, only)
        return accounts.accounts(tx, only)

    async def work(store: Store, _world: World, _: Config) -> list[Account]:
        return await store.read(unit)

    print_rows(in_store(config, work), _COLUMNS, json=json)


@app.command()
def show(address: Address, json: JsonOption = False, config: ConfigOption = None) -> None:
    """One account, its mailboxes and the addresses it may write as."""
    where = the_address(address)

    def unit(tx: Tx) -> dict[str, Any]:
        found = _existing(tx, where)
        return {
            **msgspec.structs.asdict(found),
            "stopped": _stopped(tx, found.id),
            "identities": list(accounts.identities(tx, found.id)),
            "aliases": [a for a, target in accounts.aliases(tx) if target == where],
            "mailboxes": [
                {"name": m.name, "role": m.role, "messages": m.messages, "unseen": m.unseen}
                for m in mailboxes.mailboxes(tx, found.id)
            ],
        }

    async def work(store: Store, _world: World, _: Config) -> dict[str, Any]:
        return await store.read(unit)

    found = in_store(config, work)
    print_one(found, _LINES, json=json)
    if not json:
        print_rows(found["mailboxes"], _BOX_COLUMNS, json=False)


@app.command("set")
def set_(
    address: Address,
    name: PersonName = None,
    quota: Quota = None,
    language: Language = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="No login and no mail, or again.")
    ] = None,
    save_sent: SaveSent = None,
    config: ConfigOption = None,
) -> None:
    """Change an account."""
    where = the_address(address)
    given: dict[str, Any] = {}
    if name is not None:
        given["name"] = name
    if quota is not None:
        given["quota"] = the_quota(quota)
    if language is not None:
        given["language"] = the_language(language)
    if disable is not None:
        given["disabled"] = disable
    if save_sent is not None:
        given["save_sent"] = save_sent is Switch.ON
    if not given:
        raise UsageMistake(
            "nothing to change: give --name, --quota, --language, --disable, --enable or"
            " --save-sent"
        )
    _change(config, where, given)
    say_done(f"account {where} changed")


@app.command()
def password(
    address: Address,
    password_stdin: Stdin = False,
    generate: Generate = False,
    config: ConfigOption = None,
) -> None:
    """Set a new password. It is asked for; off a terminal it is made and printed."""
    where = the_address(address)
    plain, made = _get_password(password_stdin, generate)

    async def work(store: Store, world: World, _: Config) -> None:
        password = credentials.make_password(plain, world.dice)
        await store.run(
            lambda tx: accounts.set_account(tx, _existing(tx, where).id, password=password)
        )

    in_store(config, work)
    say_done(f"password of {where} changed")
    if made:
        sys.stdout.write(plain + "\n")


@app.command()
def release(address: Address, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let an account send again that was stopped because it wrote to too many. What was held for
    that goes on; what somebody holds for another reason stays."""
    where = the_address(address)

    async def work(store: Store, world: World, _: Config) -> queue_stopped.Let:
        account = await store.read(lambda tx: _existing(tx, where).id)
        ids = Ids(world.clock, world.dice)
        return await queue_stopped.let_go(
            store, account, ids=ids, clock=world.clock, who=operator()
        )

    done = in_store(config, work)
    if json:
        print_json(done)
    elif done.was_stopped or done.released:
        say_done(f"account {where} may send again; {done.released} recipients released")
    else:
        say_done(f"account {where} was not stopped")


@app.command()
def remove(
    address: Address,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
) -> None:
    """Remove an account and all its mail, for good."""
    where = the_address(address)
    if not yes and not typer.confirm(f"Remove {where} with all its mail?", err=True):
        raise CommandError("nothing was removed")

    def unit(tx: Tx) -> None:
        account = _existing(tx, where).id
        if queue_stopped.held(tx, account, 1):
            # Nobody could release it any more, nor tell whose it was.
            raise CommandError(
                f"mail of {where} is held, because it was stopped for sending too much: first "
                f"`estafeta queue cancel --all --mine {where}`, or let it go by "
                f"`estafeta account release {where}`"
            )
        accounts.remove_account(tx, account)

    async def work(store: Store, _world: World, _: Config) -> None:
        account = await store.read(lambda tx: _existing(tx, where).id)
        await store.run(unit, accounts=(account,))

    in_store(config, work)
    say_done(f"account {where} removed")


def _change(config: Any, where: str, given: dict[str, Any]) -> None:
    async def work(store: Store, _world: World, _: Config) -> None:
        await store.run(lambda tx: accounts.set_account(tx, _existing(tx, where).id, **given))

    in_store(config, work)


def _state(disabled: bool) -> str:
    return "disabled" if disabled else "active"


def _stopped(tx: Tx, account: int) -> dict[str, Any] | None:
    found = stopped.find(tx, account)
    if found is None:
        return None
    held = queue_stopped.count_held(tx, account)
    return {"at": found.at, "limit": found.why, "held": held}


def _sending(found: dict[str, Any] | None) -> str:
    if found is None:
        return "allowed"
    since = shown_time(found["at"])
    return f"stopped since {since}: over {found['limit']}, {found['held']} recipients held"


def _existing(tx: Tx, address: str) -> Account:
    found = accounts.account(tx, address)
    if found is None:
        raise CommandError(f"there is no account {address} here")
    return found


def _get_password(from_stdin: bool, generate: bool) -> tuple[str, bool]:
    """(password, whether we made it). Never from the command line: others can read that."""
    if from_stdin and generate:
        raise UsageMistake("--password-stdin or --generate was expected, not both")
    if generate or not (from_stdin or sys.stdin.isatty()):
        return "".join(secrets.choice(_SIGNS) for _ in range(PASSWORD_CHARACTERS)), True
    if from_stdin:
        plain = sys.stdin.readline().rstrip("\r\n")
    else:
        plain = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if not plain:
        raise CommandError("a password was expected, not nothing")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in plain):
        # Surrogates stand for octets that are no UTF-8. No client could send either.
        raise CommandError("a password in UTF-8 without control characters was expected")
    return plain, False
