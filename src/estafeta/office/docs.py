"""Docs: writes the pages that are made from code: settings, metrics, limits, replies, commands,
causes, standards. `python -m estafeta.office.docs [folder]`; tests fail when a page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from estafeta.office.docs_pages import causes_page, metrics_page, replies_page, settings_page
from estafeta.office.docs_source import commands_page, limits_page, standards_page

HEADER = "<!-- Made by `make docs` from the code; edit that. -->\n\n"

PAGES: dict[str, Callable[[Path], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "limits.md": limits_page,
    "replies.md": replies_page,
    "commands.md": commands_page,
    "causes.md": causes_page,
    "standards.md": standards_page,
}
"""A page by its file name: made from the folder `docs`."""


def make_page(name: str, folder: Path) -> str:
    """The whole text of one page."""
    text = PAGES[name](folder)
    return HEADER + "\n".join(line.rstrip() for line in text.rstrip().split("\n")) + "\n"


def write_pages(folder: Path) -> list[Path]:
    """Writes every page; returns those that changed."""
    changed: list[Path] = []
    for name in PAGES:
        file, text = folder / name, make_page(name, folder)
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
            changed.append(file)
    return changed


if __name__ == "__main__":
    for page in write_pages(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")):
        sys.stdout.write(f"{page}\n")
