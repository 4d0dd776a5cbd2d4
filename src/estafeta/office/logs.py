"""Logs: structured lines on standard error, JSON or pretty, times in UTC.

Promises: never a password, never a message's content. What is named like a secret is blotted out
here, whoever logged it; values are cut, so that no line grows with what a stranger sends.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from time import time
from typing import Any, Literal, TextIO

import msgspec
import structlog

from estafeta.office.log_lines import Lines

VALUE_CHARACTERS_MAX = 500
_SECRETS = ("password", "secret", "token", "credential", "authorization", "private_key", "initial")
_BLOT = "***"
_WHOLE = frozenset(("exception", "stack"))
_LEVELS = {"warn": "warning", "exception": "error"}
_JSON = msgspec.json.Encoder(enc_hook=repr)

Level = Literal["debug", "info", "warning", "error"]
Event = MutableMapping[str, Any]


def set_up_logs(
    format: Literal["auto", "json", "pretty"] = "auto",
    level: Level = "info",
    to: TextIO | None = None,
    *,
    worker: int = 0,
) -> Lines:
    """Makes `structlog.get_logger()` and the standard library's loggers write to `to` (stderr).

    worker: its number where there are several, shown in every line. What is returned is to be
    flushed where the process ends without the interpreter's own farewell.
    """
    stream = to or sys.stderr
    lines = Lines(stream, shared=bool(worker))
    pretty = format == "pretty" or (format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [complete]
    if worker:
        shared.append(partial(_name_worker, worker))
    if pretty:
        last: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty())
        ]
    else:
        last = [
            structlog.processors.format_exc_info,
            render_json,
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lines.logger,
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging(lines, level, shared, last)
    return lines


def _take_over_standard_logging(
    lines: Lines,
    level: Level,
    shared: list[structlog.typing.Processor],
    last: list[structlog.typing.Processor],
) -> None:
    """What asyncio and uvicorn say takes the same form."""
    handler = logging.StreamHandler(lines)
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


def complete(_logger: object, method: str, event: Event) -> Event:
    """Adds level and time; blots out what is named like a secret; bytes become text, what is long
    is cut. One pass: a line is logged for every message."""
    for key in _secrets(tuple(event)):
        event[key] = _BLOT
    for key, value in event.items():
        if isinstance(value, str):
            if len(value) > VALUE_CHARACTERS_MAX and key not in _WHOLE:
                event[key] = _cut(value)
        elif isinstance(value, (bytes, bytearray)):
            start = bytes(value[: VALUE_CHARACTERS_MAX + 1])
            event[key] = _cut(start.decode("utf-8", "backslashreplace"))
    event["level"] = _LEVELS.get(method, method)
    now = time()
    second = int(now)
    event["timestamp"] = f"{_second(second)}.{int((now - second) * 1e6):06}Z"
    return event


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


def _name_worker(number: int, _logger: object, _method: str, event: Event) -> Event:
    event["worker"] = number
    return event


@lru_cache(maxsize=1024)
def _secrets(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are named like one. Names of fields come from the code, so there are few sets."""
    return tuple(key for key in keys if any(word in key.lower() for word in _SECRETS))


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    """A second since 1970 as the beginning of a time in UTC."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def render_json(_logger: object, _method: str, event: Event) -> str:
    """One line; what JSON has no form for is shown as Python shows it."""
    return _JSON.encode(event).decode()
