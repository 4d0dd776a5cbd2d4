"""estafeta config: is the configuration right, and what does it come to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    find_config,
    print_json,
    print_table,
)
from estafeta.office.config_read import read_with_lines
from estafeta.office.errors import UsageMistake
from estafeta.office.settings_shown import as_toml, effective
from estafeta.world.real import real_world, run

app = typer.Typer(no_args_is_help=True, help="The configuration.")


@app.command()
def check(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Find what `serve` would stumble over, and change nothing: the file, user, folders,
    certificates, store, ports, DNS. Exit 0: all is well; 1: warnings; 2: errors.
    """
    # What the server would find around it is dear to import; the other commands do without.
    from estafeta.office.check.everything import check_machine, read_checked
    from estafeta.office.check.finding import exit_code
    from estafeta.office.serving import dns_servers

    file = find_config(config)
    loaded, findings = read_checked(file)
    if loaded is not None:
        world = real_world(Path(loaded.server.data_dir))
        findings += run(check_machine(loaded, file, world, dns_servers(loaded)))
    code = exit_code(findings)
    if json:
        print_json({"ok": code == 0, "file": str(file), "findings": findings})
    else:
        print_table(("", "what", "finding"), [(f.level, f.about, f.text) for f in findings])
    raise typer.Exit(code)


@app.command()
def show(
    toml: Annotated[
        bool, typer.Option("--toml", help="Print a whole file that says the same, explained.")
    ] = False,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Show passwords too. Mind who looks on.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Every setting, what it comes to, and where that is from: a line of the file or a default."""
    if json and toml:
        raise UsageMistake("--json or --toml was expected, not both")
    file = find_config(config)
    loaded, lines = read_with_lines(file)
    if toml:
        sys.stdout.write(as_toml(loaded, file, secrets=secrets))
        return
    found = effective(loaded, lines, secrets=secrets)
    if json:
        rows = [{"key": e.key, "value": e.value, "line": e.line or None} for e in found]
        print_json({"file": str(file), "settings": rows})
        return
    print_table(("setting", "value", "from"), [(e.key, e.written, e.source) for e in found])
