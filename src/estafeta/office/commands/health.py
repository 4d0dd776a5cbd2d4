"""estafeta health: asks the running server how it is; for containers and monitoring."""

from __future__ import annotations

import http.client
import json as json_format
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from estafeta.office.commands.common import (
    ConfigOption,
    JsonOption,
    load_config,
    print_json,
    print_table,
)
from estafeta.office.config import Config, Listener
from estafeta.office.errors import EXIT_FAILURE, CommandError
from estafeta.office.limits import HEALTH_PAGE_OCTETS_MAX

_HERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound


def health(
    seconds: Annotated[float, typer.Option(min=0.1, help="Wait at most so long.")] = 5.0,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask the running server how it is (/healthz). Exit 0 where it is well, else 1."""
    well, body = _ask(_door(load_config(config)), seconds)
    if json:
        print_json(body)
    else:
        print_table(("part", "state"), list(_parts(body)))
    if not well:
        raise typer.Exit(EXIT_FAILURE)


def _parts(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(part, state) of one process, or of each worker's. Raises what a stranger's page leads to."""
    workers = body.get("workers")
    if workers is None:
        workers = {"": body["checks"]}
    for number, checks in sorted(workers.items()):
        for part, state in sorted(checks.items()):
            yield f"worker {number}: {part}" if number else str(part), str(state)
    for name, text in sorted(body.get("remarks", {}).items()):
        yield str(name), str(text)


def _door(config: Config) -> Listener:
    for listener in config.listener:
        if listener.role == "http" and listener.port:
            return listener
    raise CommandError(
        'there is no [[listener]] with role = "http" and a port: /healthz is not served'
    )


def _ask(door: Listener, seconds: float) -> tuple[bool, dict[str, Any]]:
    """(whether it is well, what it says). Raises CommandError."""
    host = _HERE.get(door.address, door.address)
    connection = http.client.HTTPConnection(host, door.port, timeout=seconds)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        body = json_format.loads(answer.read(HEALTH_PAGE_OCTETS_MAX))
        list(_parts(body))  # it is as it should be
        return answer.status == 200, body
    except (OSError, http.client.HTTPException) as trouble:
        reason = (getattr(trouble, "strerror", None) or str(trouble) or "no answer").lower()
        raise CommandError(f"no answer from {host} port {door.port}: {reason}") from trouble
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise CommandError(f"what answers at {host} port {door.port} is not estafeta") from wrong
    finally:
        connection.close()
