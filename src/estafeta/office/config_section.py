"""Config section: what every table of the file is made of."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Meta

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


def about(text: str, **extra: Any) -> Meta:
    """What a setting is for. extra: least, example, secret."""
    return Meta(description=text, extra=extra or None)
