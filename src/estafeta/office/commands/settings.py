"""estafeta config: is the configuration right, and what does it come to."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from estafeta.office.certificates import check_certificates
from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    find_config,
    load_config,
    print_json,
    print_table,
    say_done,
)
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.privileges import PrivilegeError, find_identity
from estafeta.office.settings_table import shown_settings

app = typer.Typer(no_args_is_help=True, help="The configuration.")


@app.command()
def check(config: ConfigOption = None) -> None:
    """Read the configuration and its certificates; say what is wrong. Exit 2 where something is."""
    loaded = load_config(config)
    try:
        find_identity(loaded.server.user, loaded.server.group)
        check_certificates(loaded.tls.certificates)
    except (CommandError, PrivilegeError) as wrong:
        raise UsageMistake(str(wrong)) from wrong
    say_done(f"{find_config(config)} is right")


@app.command()
def show(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Every setting and what it comes to, defaults included. Passwords are not shown."""
    loaded = load_config(config)
    rows = shown_settings(loaded)
    if json:
        print_json(_nested(msgspec.to_builtins(loaded)))
        return
    print_table(("setting", "value"), rows)


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "***" if k == "password" and v else _nested(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_nested(item) for item in value]
    return value
