"""Types of settings: durations, sizes, networks and names, as people write them in the file.

A type is the Python value plus a `msgspec.Meta` that names its form; `config_read` turns the
written form into the value and refuses what does not fit, in words.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta

from estafeta.office.limits import WORKERS_MAX

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_FACTOR = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_FACTOR |= {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def parse_duration(text: str) -> float:
    """Seconds of "90s", "5m", "1h30m", "5d". Raises ValueError."""
    seconds = 0.0
    at = 0
    for part in _DURATION.finditer(text):
        if text[at : part.start()].strip():
            break
        seconds += float(part[1]) * _SECONDS[part[2]]
        at = part.end()
    if at == 0 or text[at:].strip():
        raise ValueError('a duration such as "30s", "5m", "1h30m" or "5d"')
    return seconds


def parse_size(text: str) -> int:
    """Octets of "50MiB", "10MB", "1024". Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError('a size such as "50MiB", "10MB" or "1024"')
    return int(float(found[1]) * _FACTOR[(found[2] or "").lower()])


def parse_rate(text: str) -> tuple[int, float] | None:
    """(how many, in how many seconds) of "100/1m"; None of "". Raises ValueError."""
    if not text:
        return None
    count, slash, duration = text.partition("/")
    try:
        number, seconds = int(count), parse_duration(duration)
    except ValueError:
        number = 0
        seconds = 0.0
    if not slash or number < 1 or seconds < 1:
        raise ValueError('a rate such as "100/1m" or "1000/1h"')
    return number, seconds


def format_duration(seconds: float) -> str:
    """The shortest form that `parse_duration` reads back as the same number."""
    if seconds != int(seconds):
        for text in (f"{seconds * 1000:.0f}ms", f"{seconds!r}s"):
            if "e" not in text and parse_duration(text) == seconds:
                return text
        return f"{seconds:.30f}".rstrip("0") + "s"
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds / _SECONDS[unit])}{unit}"
    return f"{int(seconds)}s"


def format_size(octets: int) -> str:
    """The shortest form that `parse_size` reads back."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if octets and octets % factor == 0:
            return f"{octets // factor}{unit}"
    return str(octets)


def _duration(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError('a duration such as "30s" or "5d"')
    return parse_duration(value) if isinstance(value, str) else value


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _rate(value: object) -> object:
    parse_rate(str(value))
    return value


def _network(value: object) -> object:
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError as wrong:
        raise ValueError('an IP network such as "192.0.2.0/24" or "2001:db8::/32"') from wrong


def _address(value: object) -> object:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError as wrong:
        raise ValueError('an IP address such as "192.0.2.1" or "2001:db8::1"') from wrong


def _listen(value: object) -> object:
    return value if value in ("", "*") else _address(value)


def _optional_address(value: object) -> object:
    return value if value == "" else _address(value)


def _server(value: object) -> object:
    text = str(value)
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, "53"
    try:
        plain = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(port)
    except ValueError as wrong:
        raise ValueError('a server such as "192.0.2.53", "127.0.0.1:5353" or "[::1]:53"') from wrong
    if not 0 < number < 65536:
        raise ValueError("a port from 1 to 65535")
    return f"[{plain}]:{number}" if ":" in plain else f"{plain}:{number}"


def _hostname(value: object) -> object:
    text = str(value)
    if text and (
        len(text) > 253 or not all(_LABEL.fullmatch(part) for part in text.rstrip(".").split("."))
    ):
        raise ValueError('a host name such as "mail.example.org"')
    return text.rstrip(".").lower()


def _store_url(value: object) -> object:
    text = str(value)
    if text and not text.startswith(("sqlite:///", "postgresql://", "postgres://")):
        raise ValueError(
            'a store such as "sqlite:///var/lib/estafeta/estafeta.db" or'
            ' "postgresql://estafeta@db.example.org/estafeta"'
        )
    return text


FORMS: dict[str, Callable[[object], Any]] = {
    "duration": _duration,
    "size": _size,
    "rate": _rate,
    "network": _network,
    "address": _address,
    "optional address": _optional_address,
    "listening address": _listen,
    "server": _server,
    "host name": _hostname,
    "store": _store_url,
}
"""From a written value to the setting's; ValueError says what was expected."""

Duration = Annotated[float, Meta(ge=0, extra={"form": "duration"})]
Size = Annotated[int, Meta(ge=0, extra={"form": "size"})]
Rate = Annotated[str, Meta(extra={"form": "rate"})]
"""Or "" for none."""
Network = Annotated[str, Meta(extra={"form": "network"})]
Address = Annotated[str, Meta(extra={"form": "address"})]
OptionalAddress = Annotated[str, Meta(extra={"form": "optional address"})]
ListenAddress = Annotated[str, Meta(extra={"form": "listening address"})]
DnsServer = Annotated[str, Meta(extra={"form": "server"})]
HostName = Annotated[str, Meta(extra={"form": "host name"})]
StoreUrl = Annotated[str, Meta(extra={"form": "store"})]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
OwnDuration = Annotated[float, Meta(ge=-1, extra={"form": "duration"})]
"""Or -1 where nothing was said, and what holds for all counts."""
OwnCount = Annotated[int, Meta(ge=-1)]
Workers = Annotated[int, Meta(ge=1, le=WORKERS_MAX)]
Language = Literal["en", "es"]
