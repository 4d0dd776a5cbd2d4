"""Docs: writes the pages that are made from code: settings, metrics, limits, replies, commands,
causes, queue states, API, standards, an example of a bounce in each language. `make docs` calls it;
tests fail when a page is stale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from estafeta.explain.words import LANGUAGES
from estafeta.office.api.openapi import openapi_page
from estafeta.office.api.page import api_page
from estafeta.office.docs_bounce import example_bounce
from estafeta.office.docs_pages import (
    causes_page,
    metrics_page,
    queue_states_page,
    replies_page,
    settings_page,
)
from estafeta.office.docs_source import commands_page, limits_page, standards_page

HEADER = "<!-- Made by `make docs` from the code; edit that. -->\n\n"
COMMANDS = "commands.md"
_FROM_CODE: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "limits.md": limits_page,
    "replies.md": replies_page,
    "causes.md": causes_page,
    "queue-states.md": queue_states_page,
    "api.md": api_page,
}
STANDARDS = "standards.md"
OPENAPI = "openapi.json"
_EXAMPLES = {f"example-bounce-{language}.eml": language for language in LANGUAGES}
PAGES = (*_FROM_CODE, COMMANDS, STANDARDS, OPENAPI, *_EXAMPLES)
"""The pages made here, in the folder `docs`."""


def make_page(name: str, folder: Path, app: typer.Typer) -> str:
    """The whole text of one page. folder: `docs`, where rfc.toml is. app: with every command."""
    if name in _EXAMPLES:
        return example_bounce(_EXAMPLES[name]).decode().replace("\r\n", "\n")
    if name == OPENAPI:
        return openapi_page()  # JSON has no comments
    if name == COMMANDS:
        text = commands_page(app)
    elif name == STANDARDS:
        text = standards_page(folder)
    else:
        text = _FROM_CODE[name]()
    return HEADER + "\n".join(line.rstrip() for line in text.rstrip().split("\n")) + "\n"


def write_pages(folder: Path, app: typer.Typer) -> list[Path]:
    """Writes every page; returns those that changed."""
    changed: list[Path] = []
    for name in PAGES:
        file, text = folder / name, make_page(name, folder, app)
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
            changed.append(file)
    return changed
