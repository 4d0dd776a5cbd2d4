"""Settings table: every setting as a row, for docs/settings.md and `estafeta config show`."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from estafeta.office.config import Config
from estafeta.office.config_read import describe, peel
from estafeta.office.config_types import format_duration, format_size


class Setting(msgspec.Struct, frozen=True):
    """One setting as documented. default: as written in the file, "" where it must be given."""

    table: str
    key: str
    kind: str
    default: str
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


def shown_settings(config: Config) -> list[tuple[str, str]]:
    """(key, value as written in the file) of everything in `config`; passwords blotted out."""
    rows: list[tuple[str, str]] = []
    _walk(config, "", rows)
    return rows


def written(value: Any, kind: Any) -> str:
    """A value as the file would have it."""
    base, metas = peel(kind)
    form = next((m.extra["form"] for m in metas if m.extra and "form" in m.extra), "")
    if form == "duration":
        return f'"{format_duration(value)}"'
    if form == "size":
        return f'"{format_size(value)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        inner = get_args(base)[0]
        return f"[{', '.join(written(item, inner) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _collect(table: str, kind: Any, found: list[Section]) -> None:
    base, _ = peel(kind)
    many = get_origin(base) is list
    struct = peel(get_args(base)[0])[0] if many else base
    hints = get_type_hints(struct, include_extras=True)
    settings: list[Setting] = []
    below: list[tuple[str, Any]] = []
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        inner = peel(hint)[0]
        if get_origin(inner) is list and _is_struct(get_args(inner)[0]):
            below.append((f"{table}.{field.name}", hint))
        metas = peel(hint)[1]
        about = next((m.description for m in metas if m.description), "")
        settings.append(
            Setting(table, field.name, describe(hint), _default(field, hint), about or "")
        )
    header = f"[[{table}]]" if many else f"[{table}]"
    found.append(Section(header, (struct.__doc__ or "").strip(), tuple(settings)))
    for name, hint in below:
        _collect(name, hint, found)


def _is_struct(kind: Any) -> bool:
    base = peel(kind)[0]
    return isinstance(base, type) and issubclass(base, msgspec.Struct)


def _default(field: msgspec.structs.FieldInfo, hint: Any) -> str:
    if field.required:
        return ""
    value = (
        field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    )
    if value in (-1, ""):
        return '""' if value == "" else "the usual one"
    return written(value, hint)


def _walk(value: msgspec.Struct, path: str, rows: list[tuple[str, str]]) -> None:
    hints = get_type_hints(type(value), include_extras=True)
    for name, hint in hints.items():
        item = getattr(value, name)
        key = f"{path}.{name}" if path else name
        secret = any(m.extra and m.extra.get("secret") for m in peel(hint)[1])
        if isinstance(item, msgspec.Struct):
            _walk(item, key, rows)
        elif isinstance(item, list) and item and isinstance(item[0], msgspec.Struct):
            for n, each in enumerate(item):
                _walk(each, f"{key}[{n}]", rows)
        elif secret and item:
            rows.append((key, '"***"'))
        else:
            rows.append((key, written(item, hint)))
