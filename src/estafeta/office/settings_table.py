"""Settings table: every setting as a row, for docs/settings.md and the completeness of its tests.

What a setting takes, its default, an example and when a change of it counts are read off the types
in `config`, so that a setting needs to be declared once only.
"""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from estafeta.office.config import Config
from estafeta.office.config_read import describe, peel
from estafeta.office.config_types import format_duration, format_size

FIXED_AT_START = ("server.", "log.", "listener[", "dns.", "http.", "bodies.", "s3.")
"""Beginnings of keys that a reload leaves as they are.

Doors, store, bodies, resolver and pages are made once; the other settings are read at each use.
"""

_EXAMPLES = {
    "network": '"192.0.2.0/24"',
    "address": '"192.0.2.1"',
    "optional address": '"192.0.2.1"',
    "listening address": '"192.0.2.1"',
    "server": '"192.0.2.53"',
    "host name": '"mail.example.org"',
    "store": '"sqlite:///var/lib/estafeta/estafeta.db"',
    "duration": '"30s"',
    "size": '"50MiB"',
    "rate": '"100/1m"',
}
"""By form, for settings whose default shows nothing and that bring no example of their own."""


class Setting(msgspec.Struct, frozen=True):
    """One setting as documented. default: as written in the file, "" where it must be given.

    takes: its type with unit and bounds. example: a value as written; "" for tables, which have a
    section of their own. restart: a reload does not change it.
    """

    table: str
    key: str
    takes: str
    default: str
    example: str
    restart: bool
    about: str


class Section(msgspec.Struct, frozen=True):
    """A table of the file. header: "[server]" or "[[listener]]"."""

    header: str
    about: str
    settings: tuple[Setting, ...]


def sections() -> list[Section]:
    """All tables of the file, in its order."""
    found: list[Section] = []
    for name, kind in get_type_hints(Config, include_extras=True).items():
        _collect(name, kind, found)
    return found


def written(value: Any, kind: Any) -> str:
    """A value as the file would have it, in TOML."""
    base, _ = peel(kind)
    form = extra(kind, "form")
    if form == "duration":
        return f'"{format_duration(value)}"'
    if form == "size":
        return f'"{format_size(value)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        inner = get_args(base)[0]
        return f"[{', '.join(written(item, inner) for item in value)}]"
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """A basic string of TOML."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in plain) + '"'


def extra(kind: Any, name: str) -> Any:
    """What the Metas of a type say under that name, "" for nothing."""
    return next((m.extra[name] for m in peel(kind)[1] if m.extra and name in m.extra), "")


def about(kind: Any) -> str:
    """What a setting is for."""
    return next((m.description for m in peel(kind)[1] if m.description), "")


def is_struct(kind: Any) -> bool:
    base = peel(kind)[0]
    return isinstance(base, type) and issubclass(base, msgspec.Struct)


def takes_tables(kind: Any) -> bool:
    """It is a list of tables, each with a section of its own."""
    base = peel(kind)[0]
    return get_origin(base) is list and is_struct(get_args(base)[0])


def _collect(table: str, kind: Any, found: list[Section]) -> None:
    base, _ = peel(kind)
    many = get_origin(base) is list
    struct = peel(get_args(base)[0])[0] if many else base
    hints = get_type_hints(struct, include_extras=True)
    settings: list[Setting] = []
    below: list[tuple[str, Any]] = []
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        if takes_tables(hint):
            below.append((f"{table}.{field.name}", hint))
        default = _default(field, hint)
        settings.append(
            Setting(
                table=table,
                key=field.name,
                takes=_takes(hint),
                default=default,
                example=_example(hint, default),
                restart=f"{table}{'[' if many else '.'}".startswith(FIXED_AT_START),
                about=about(hint),
            )
        )
    header = f"[[{table}]]" if many else f"[{table}]"
    found.append(Section(header, (struct.__doc__ or "").strip(), tuple(settings)))
    for name, hint in below:
        _collect(name, hint, found)


def _takes(kind: Any) -> str:
    """Its type in words, with unit and bounds."""
    text = describe(kind)
    metas = peel(kind)[1]
    least = extra(kind, "least") or next((m.ge for m in metas if m.ge is not None), None)
    if least == -1:  # nothing was said
        least = 0
    most = next((m.le for m in metas if m.le is not None), None)
    if (form := extra(kind, "form")) == "size":
        return f"{text}, in octets" + (f", at least {format_size(int(least))}" if least else "")
    if form == "duration":
        return f"{text}, in seconds"
    if most is not None:
        return f"{text}, {least or 0} to {most}"
    return f"{text}, at least {least}" if least is not None else text


def _example(kind: Any, default: str) -> str:
    base = peel(kind)[0]
    if takes_tables(kind):
        return ""
    if own := extra(kind, "example"):
        return str(own)
    if default not in ("", '""', "[]", "the usual one"):
        return default
    if get_origin(base) is list:
        return f"[{_example(get_args(base)[0], '')}]"
    if choices := [choice for choice in get_args(base) if choice]:
        return written(choices[0], str)
    return _EXAMPLES.get(extra(kind, "form"), "")


def _default(field: msgspec.structs.FieldInfo, hint: Any) -> str:
    if field.required:
        return ""
    value = (
        field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    )
    if value in (-1, ""):
        return '""' if value == "" else "the usual one"
    return written(value, hint)
