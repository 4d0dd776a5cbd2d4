"""Common to all commands: the configuration, the store, output, and how errors end a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from estafeta.mail.address import AddressError, canonical, canonical_domain, subaddress
from estafeta.office.config import Config
from estafeta.office.config_read import read_config
from estafeta.office.config_types import format_size, parse_size
from estafeta.office.errors import CommandError, NoConfiguration, UsageMistake
from estafeta.office.objects import objects_of
from estafeta.office.privileges import find_identity, hand_over, prepare_folder
from estafeta.store import accounts
from estafeta.store.engine import Store, Tx
from estafeta.store.open import open_store
from estafeta.store.rows import Domain
from estafeta.world.real import real_world, run
from estafeta.world.seams import World

T = TypeVar("T")

CONFIG_FILES = (Path("estafeta.toml"), Path("/etc/estafeta/estafeta.toml"))
"""Looked for in this order where --config says nothing."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="ESTAFETA_CONFIG",
        show_default=False,
        help="The configuration. Default: ./estafeta.toml, else /etc/estafeta/estafeta.toml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def find_config(given: Path | None) -> Path:
    """The file to read. Raises NoConfiguration where there is none."""
    if given is not None:
        return given
    for file in CONFIG_FILES:
        if file.exists():
            return file
    raise NoConfiguration(
        f"no configuration: neither {' nor '.join(map(str, CONFIG_FILES))} is there; "
        "name one with --config"
    )


def load_config(given: Path | None) -> Config:
    """Raises ConfigError, NoConfiguration."""
    return read_config(find_config(given))


def in_store(given: Path | None, work: Callable[[Store, World, Config], Awaitable[T]]) -> T:
    """Runs `work` with the store of the configuration open; the server may run meanwhile."""
    config = load_config(given)
    data_dir = Path(config.server.data_dir)
    identity = find_identity(config.server.user, config.server.group)
    if identity is not None and os.geteuid() == 0:
        prepare_folder(data_dir, identity)

    async def main() -> T:
        world = real_world(data_dir, objects_of(config))
        store = await open_store(config.server.store, world)
        try:
            return await work(store, world, config)
        finally:
            await store.close()

    try:
        return run(main())
    finally:
        # A file of the store that stayed root's would shut the server out.
        hand_over(data_dir, identity)


def the_address(text: str) -> str:
    """An address as the store keeps it: canonical, the local part in lower case."""
    if "@" not in text:
        raise UsageMistake(f'"{text}" is not an address: a domain after @ was expected')
    try:
        address = canonical(text)
    except AddressError as wrong:
        raise UsageMistake(f'"{text}" is not an address: {wrong}') from wrong
    local, _, domain = address.rpartition("@")
    return f"{local.lower()}@{domain}"


def the_domain(text: str) -> str:
    """A domain as the store keeps it."""
    try:
        return canonical_domain(text)
    except AddressError as wrong:
        raise UsageMistake(f'"{text}" is not a domain: {wrong}') from wrong


def the_domain_of_ours(tx: Tx, name: str) -> Domain:
    """The row of a domain. Raises CommandError."""
    found = accounts.domain(tx, name)
    if found is None:
        raise CommandError(f"there is no domain {name} here")
    return found


def warn_of_nobody(config: Path | None, targets: Sequence[str]) -> None:
    """Says which of these addresses, though in our domains, are nobody's yet.

    They may be made later, so this is no mistake; until then mail for them is refused.
    """

    def unit(tx: Tx) -> list[str]:
        return [target for target in targets if _is_nobody(tx, target)]

    async def work(store: Store, _world: World, _: Config) -> list[str]:
        return await store.read(unit)

    for target in in_store(config, work):
        say_done(f"note: {target} is no account or alias yet: mail for it is refused until it is")


def _is_nobody(tx: Tx, target: str) -> bool:
    local, _, name = target.rpartition("@")
    domain = accounts.domain(tx, name)
    if domain is None or domain.catch_all not in ("", target):
        return False
    stems = {target, f"{subaddress(local, domain.separator)[0]}@{name}"}
    return not any(accounts.account(tx, x) or accounts.targets(tx, x) for x in stems)


def the_quota(text: str) -> int:
    """Octets; "none" and "0" are no quota."""
    if text.lower() in ("none", "0"):
        return 0
    try:
        return parse_size(text)
    except ValueError as wrong:
        raise UsageMistake(f'"{text}" is not a quota: {wrong}, or none, was expected') from wrong


def the_language(text: str) -> str:
    if text not in ("", "en", "es"):
        raise UsageMistake(f'"{text}" is not a language we speak: en or es was expected')
    return text


def shown_quota(octets: int) -> str:
    return format_size(octets) if octets else "none"


def now_ms(world: World) -> int:
    return int(world.clock.now() * 1000)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(data.decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; on a pipe as wide as it needs to be, so that nothing is cut."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console().print(table)


def console(*, stderr: bool = False) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    wide = None if terminal or "COLUMNS" in os.environ else 400
    return Console(stderr=stderr, highlight=False, width=wide, soft_wrap=not terminal)


def clean(text: str) -> str:
    """Without control characters: what others wrote must not steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def say_done(text: str) -> None:
    """One line to the person, on standard error: standard output is for results."""
    console(stderr=True).print(Text(clean(text)))
