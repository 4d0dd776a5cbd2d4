"""Finding: one line of `estafeta config check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Level = Literal["ok", "warning", "error"]


class Finding(msgspec.Struct, frozen=True):
    """level: `error` where the server would not start or could not do its work, `warning` where it
    would, and somebody should look. about: which part, such as "port 25".
    """

    level: Level
    about: str
    text: str


def ok(about: str, text: str) -> Finding:
    return Finding("ok", about, text)


def warning(about: str, text: str) -> Finding:
    return Finding("warning", about, text)


def error(about: str, text: str) -> Finding:
    return Finding("error", about, text)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 all is well, 1 warnings, 2 errors."""
    levels = {finding.level for finding in findings}
    return 2 if "error" in levels else 1 if "warning" in levels else 0
