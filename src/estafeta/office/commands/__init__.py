"""Commands: what a person types. One file a group, imported when it is asked for (`lazily`); `main`
turns every error into one sentence.

Exit codes: 0 done · 1 it could not be done, or a check found something · 2 the command line or the
configuration is wrong.
"""

from __future__ import annotations

import sys

import typer

import estafeta
from estafeta.office.commands.common import clean, print_json
from estafeta.office.commands.lazily import Lazily
from estafeta.office.config_read import ConfigError
from estafeta.office.errors import (
    EXIT_FAILURE,
    EXIT_USAGE,
    CommandError,
    DoorError,
    NoConfiguration,
    UsageMistake,
    explain_startup_error,
)
from estafeta.office.privileges import PrivilegeError
from estafeta.store.accounts import AccountsError
from estafeta.store.engine import StoreError

app = typer.Typer(
    name="estafeta",
    cls=Lazily,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def whole() -> None:
    """A whole e-mail system that can tell, at any moment, where a message is and why."""


@app.command()
def version(json: bool = typer.Option(False, "--json", help="Print JSON, for programs.")) -> None:
    """Which estafeta this is."""
    if json:
        print_json({"version": estafeta.__version__})
    else:
        sys.stdout.write(f"estafeta {estafeta.__version__}\n")


def main(application: typer.Typer = app) -> None:
    """Runs the command line and exits."""
    try:
        application()
    except ConfigError as wrong:
        _end(str(wrong), EXIT_USAGE)
    except NoConfiguration as missing:
        _end(f"estafeta: {missing}", EXIT_USAGE)
    except UsageMistake as mistake:
        _end(f"estafeta: {mistake}", EXIT_USAGE)
    except (CommandError, AccountsError, DoorError, PrivilegeError, StoreError, OSError) as problem:
        if isinstance(problem, BrokenPipeError):
            sys.stderr.close()  # the reader of our output has gone: nothing more to say to it
            sys.exit(EXIT_FAILURE)
        _end(f"estafeta: {explain_startup_error(problem)}", EXIT_FAILURE)
    except KeyboardInterrupt:
        sys.exit(130)


def _end(text: str, code: int) -> None:
    sys.stderr.write("\n".join(clean(line) for line in text.split("\n")) + "\n")
    sys.exit(code)
