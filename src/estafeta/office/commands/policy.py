"""estafeta policy: what may come in, for the installation, a domain or an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from estafeta.deliver.policy.book import read_rules
from estafeta.deliver.policy.change import Scope, change, planned, said, scope_of
from estafeta.deliver.policy.check import RulesError
from estafeta.deliver.policy.limits import REPLAY_DAYS_MAX
from estafeta.deliver.policy.replay import Case, Replayed, replay
from estafeta.deliver.policy.rules import FIELDS, Rules, effective
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    in_store,
    now_ms,
    print_json,
    print_table,
    say_done,
    the_address,
    the_domain,
)
from estafeta.office.commands.progress import Teller, teller
from estafeta.office.commands.rows import Columns, print_rows
from estafeta.office.config import Config
from estafeta.office.errors import EXIT_FAILURE, UsageMistake
from estafeta.office.policy_values import parse_changes, shown_finding, shown_value
from estafeta.office.times import shown_time
from estafeta.store import policies
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids
from estafeta.store.ledger import DAY_MS
from estafeta.world.seams import World

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="What may come in.")

DomainOption = Annotated[
    str, typer.Option("--domain", help="What is said for this domain.", show_default=False)
]
AccountOption = Annotated[
    str, typer.Option("--account", help="What is said for this account.", show_default=False)
]
Said = Annotated[
    list[str],
    typer.Argument(
        metavar="KEY=VALUE…",
        help="Such as blocked_types=.mov,executable or size_max=10MiB. Lists: commas between.",
    ),
]
SaidIfAny = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]…", help="As for `policy set`; nothing is kept."),
]
Keys = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY]…", help="As they stand in `policy show`.")
]

_CASES: Columns[Case] = {
    "account": lambda case: case.account,
    "mailbox": lambda case: case.mailbox,
    "uid": lambda case: str(case.uid),
    "received": lambda case: shown_time(case.received),
    "subject": lambda case: case.subject[:60],
    "now": lambda case: shown_finding(case.before),
    "then": lambda case: shown_finding(case.after),
}


@app.command()
def show(
    domain: DomainOption = "",
    account: AccountOption = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What holds there, and who says so."""
    wanted = _asked(domain, account)

    def unit(tx: Tx) -> dict[str, Any]:
        scope = scope_of(tx, **wanted)
        names = (*scope.wider, scope.name)
        rules = [said(tx, name) for name in names]
        held = effective(rules)
        last = policies.policy(tx, scope.name)
        return {
            "scope": scope.name,
            "said": _as_json(rules[-1]),
            "effective": {name: getattr(held, name) for name in FIELDS},
            "said_by": {field: _said_by(field, names, rules) for field in FIELDS},
            "changed": None if last is None else {"by": last.who, "at": last.at},
        }

    async def work(store: Store, _world: World, _: Config) -> dict[str, Any]:
        return await store.read(unit)

    found = in_store(config, work)
    if json:
        print_json(found)
        return
    rows = [
        (name, shown_value(name, value), found["said_by"][name] or "the program")
        for name, value in found["effective"].items()
    ]
    print_table(("field", "value", "said by"), rows)


@app.command("list")
def list_(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Who says something."""

    async def work(store: Store, _world: World, _: Config) -> list[policies.Policy]:
        return await store.read(policies.policies)

    columns: Columns[policies.Policy] = {
        "scope": lambda each: Scope(each.scope).shown,
        "says": lambda each: "; ".join(
            f"{name}={shown_value(name, value)}"
            for name, value in msgspec.structs.asdict(read_rules(each.rules)).items()
            if value is not None
        ),
        "by": lambda each: each.who,
        "at": lambda each: shown_time(each.at),
    }
    found = in_store(config, work)
    as_json = [
        {"scope": p.scope, "said": _as_json(read_rules(p.rules)), "by": p.who, "at": p.at}
        for p in found
    ]
    print_rows(found, columns, json=json, as_json=as_json)


@app.command("set")
def set_(
    what: Said,
    domain: DomainOption = "",
    account: AccountOption = "",
    config: ConfigOption = None,
) -> None:
    """Say something there. It counts within a second; nothing that came in is touched.

    `policy test` shows beforehand what it would do.
    """
    wanted, changes = _asked(domain, account), _parsed(what)
    scope = _change(config, wanted, changes, ())
    say_done(f"{scope.shown} says so from now on")


@app.command()
def unset(
    what: Keys = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Nothing is said there any more.")
    ] = False,
    domain: DomainOption = "",
    account: AccountOption = "",
    config: ConfigOption = None,
) -> None:
    """Say nothing there of a field: what the wider scope says holds."""
    wanted = _asked(domain, account)
    if bool(what) == everything:
        raise UsageMistake("fields, or --all, were expected")
    scope = _change(config, wanted, Rules(), FIELDS if everything else tuple(what or ()))
    say_done(f"{scope.shown} says nothing of that any more")


@app.command("test")
def try_(
    what: SaidIfAny = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A field that would be unset. May be repeated.")
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=REPLAY_DAYS_MAX, help="How far back stored mail is tried.")
    ] = 7,
    domain: DomainOption = "",
    account: AccountOption = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try on stored mail what `policy set` would do: what would have been refused, and what not.

    Nothing is kept. Exit 1 where mail would have been refused that is there. Tried is what can be
    seen from a stored message: what it holds, how large it is, whether it came over TLS.
    """
    wanted, changes, unset = _asked(domain, account), _parsed(what or []), tuple(without or ())
    if not (what or unset):
        raise UsageMistake("nothing to try: give KEY=VALUE, or --without KEY")

    def plan(tx: Tx) -> tuple[Scope, Rules]:
        scope = scope_of(tx, **wanted)
        return scope, planned(tx, scope, said(tx, scope.name), changes, unset=unset)

    async def work(store: Store, world: World, _: Config) -> Replayed:
        scope, rules = await store.read(plan)
        bodies = Bodies(world.disk, Ids(world.clock, world.dice), objects=world.objects)
        since = now_ms(world) - days * DAY_MS
        return await replay(store, bodies, world, scope, rules, since=since, report=_Told(telling))

    with teller() as telling:
        found = _said_wrong(lambda: in_store(config, work))
    _print(found, days, json=json)
    if found.refused:
        raise typer.Exit(EXIT_FAILURE)


class _Told:
    """A replay's reports, to the person."""

    def __init__(self, telling: Teller) -> None:
        self._telling = telling
        self._behind = -1

    def __call__(self, behind: int, total: int) -> None:
        if self._behind < 0:
            self._telling.begin("trying", total, 0)
            self._behind = 0
        self._telling.advance("", behind - self._behind)
        self._behind = behind


def _print(found: Replayed, days: int, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    if found.cases:
        print_rows(found.cases, _CASES, json=False)
    more = f"; {found.left_out} more are not listed" if found.left_out else ""
    say_done(
        f"{found.looked} messages of {days} days: {found.refused} would have been refused, "
        f"{found.let_in} would not be any more{more}"
    )
    if found.late or found.missing:
        say_done(
            f"note: {found.late} could not be looked through in time, and of {found.missing} the "
            "content is not there"
        )


def _change(
    config: ConfigOption, wanted: dict[str, str], changes: Rules, unset: tuple[str, ...]
) -> Scope:
    async def work(store: Store, world: World, _: Config) -> Scope:
        def unit(tx: Tx) -> Scope:
            scope = scope_of(tx, **wanted)
            change(tx, scope, changes, unset=unset, who="administrator", now=now_ms(world))
            return scope

        return await store.run(unit)

    return _said_wrong(lambda: in_store(config, work))


def _asked(domain: str, account: str) -> dict[str, str]:
    if domain and account:
        raise UsageMistake("--domain or --account was expected, not both")
    return {
        "domain": the_domain(domain) if domain else "",
        "account": the_address(account) if account else "",
    }


def _parsed(words: list[str]) -> Rules:
    return _said_wrong(lambda: parse_changes(words))


def _said_wrong(work: Callable[[], T]) -> T:
    try:
        return work()
    except RulesError as wrong:
        raise UsageMistake(str(wrong)) from wrong


def _said_by(field: str, names: tuple[str, ...], rules: list[Rules]) -> str:
    """The narrowest scope that says something of a field; "" where none does."""
    speaking = [n for n, r in zip(names, rules, strict=True) if getattr(r, field) is not None]
    return Scope(speaking[-1]).shown if speaking else ""


def _as_json(rules: Rules) -> dict[str, Any]:
    """What it says, without what it does not."""
    return {k: v for k, v in msgspec.structs.asdict(rules).items() if v is not None}
