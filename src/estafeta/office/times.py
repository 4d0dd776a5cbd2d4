"""Times: milliseconds since 1970 as people read them, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def shown_time(ms: int | None, *, millis: bool = False) -> str:
    """ "2026-11-24 21:00:00Z", with milliseconds on request; "" for None."""
    if ms is None:
        return ""
    text = datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{ms % 1000:03}Z" if millis else f"{text}Z"
