"""Logs: structured lines on standard error, JSON or pretty, times in UTC.

Promises: never a password, never a message's content. What is named like a secret is blotted out
here, whoever logged it; values are cut, so that no line grows with what a stranger sends.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

VALUE_CHARACTERS_MAX = 500
_SECRETS = ("password", "secret", "token", "credential", "authorization", "private_key", "initial")
_BLOT = "***"

Level = Literal["debug", "info", "warning", "error"]
Event = MutableMapping[str, Any]


def set_up_logs(
    format: Literal["auto", "json", "pretty"] = "auto",
    level: Level = "info",
    to: TextIO | None = None,
) -> None:
    """Makes `structlog.get_logger()` and the standard library's loggers write to `to` (stderr)."""
    stream = to or sys.stderr
    pretty = format == "pretty" or (format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        cut_values,
    ]
    if pretty:
        last: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty())
        ]
    else:
        last = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging(stream, level, shared, last)


def _take_over_standard_logging(
    stream: TextIO,
    level: Level,
    shared: list[structlog.typing.Processor],
    last: list[structlog.typing.Processor],
) -> None:
    """What asyncio and uvicorn say takes the same form."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def hide_secrets(_logger: object, _method: str, event: Event) -> Event:
    """Blots out every value whose name says that it is a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRETS):
            event[key] = _BLOT
    return event


def cut_values(_logger: object, _method: str, event: Event) -> Event:
    """Bytes become text; what is long is cut."""
    for key, value in event.items():
        if key in ("exc_info", "exception", "stack") or key.startswith("_"):
            continue
        if isinstance(value, (bytes, bytearray)):
            value = event[key] = bytes(value[: VALUE_CHARACTERS_MAX + 1]).decode(
                "utf-8", "backslashreplace"
            )
        if isinstance(value, str) and len(value) > VALUE_CHARACTERS_MAX:
            event[key] = f"{value[:VALUE_CHARACTERS_MAX]}…"
    return event
