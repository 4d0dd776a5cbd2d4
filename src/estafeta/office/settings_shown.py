"""Settings shown: what a configuration comes to, each value with where it is from, or as a file.

Promises: passwords are blotted out unless they are asked for; the file that `as_toml` gives with
them is read back as the same configuration.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, get_type_hints

import msgspec

from estafeta.office.config import Config
from estafeta.office.config_lines import Path
from estafeta.office.config_read import key_name
from estafeta.office.settings_table import about, extra, is_struct, takes_tables, written
from estafeta.store.open import shown_url

HIDDEN = "***"
_COLUMNS = 98


class Effective(msgspec.Struct, frozen=True):
    """One setting as it is used. written: as the file would have it.

    value: durations in seconds, sizes in octets. line: of the file, 0 for a default.
    """

    key: str
    value: Any
    written: str
    line: int

    @property
    def source(self) -> str:
        return f"line {self.line}" if self.line else "default"


def effective(
    config: Config, lines: Mapping[Path, int], *, secrets: bool = False
) -> list[Effective]:
    """Everything in `config`. lines: of its file, as `config_lines.locate` finds them."""
    found = []
    for path, value, kind in _leaves(config, ()):
        value = _seen(value, kind, secrets)
        line = lines.get(path, 0)
        found.append(
            Effective(key_name(path), msgspec.to_builtins(value), written(value, kind), line)
        )
    return found


def as_toml(config: Config, file: FilePath, *, secrets: bool = False) -> str:
    """A whole file that says what `config` says, each setting below what it is for."""
    out = [f"# What {file} comes to, defaults included."]
    if not secrets:
        out.append(f'# Passwords are shown as "{HIDDEN}": put them in before using this.')
    for name, kind in get_type_hints(Config, include_extras=True).items():
        for header, struct in _tables(name, kind, getattr(config, name)):
            out.append("")
            out += _comment((type(struct).__doc__ or "").strip())
            out.append(header)
            out += _lines_of(struct, secrets)
    return "\n".join(out) + "\n"


def _seen(value: Any, kind: Any, secrets: bool) -> Any:
    """The value as it may be shown; secrets: all of it."""
    if secrets or not value:
        return value
    if extra(kind, "secret"):
        return HIDDEN
    return shown_url(value) if extra(kind, "form") == "store" else value


def _leaves(value: msgspec.Struct, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """(path, value, type) of every setting that is no table."""
    for name, hint in get_type_hints(type(value), include_extras=True).items():
        item = getattr(value, name)
        if is_struct(hint):
            yield from _leaves(item, (*path, name))
        elif takes_tables(hint) and item:
            for n, each in enumerate(item):
                yield from _leaves(each, (*path, name, n))
        else:
            yield (*path, name), item, hint


def _tables(name: str, kind: Any, value: Any) -> Iterator[tuple[str, msgspec.Struct]]:
    """A table and those below it, in the order in which a file must have them."""
    found = value if takes_tables(kind) else [value]
    header = f"[[{name}]]" if takes_tables(kind) else f"[{name}]"
    for struct in found:
        yield header, struct
        for below, hint in get_type_hints(type(struct), include_extras=True).items():
            if takes_tables(hint):
                yield from _tables(f"{name}.{below}", hint, getattr(struct, below))


def _lines_of(struct: msgspec.Struct, secrets: bool) -> Iterator[str]:
    for name, hint in get_type_hints(type(struct), include_extras=True).items():
        value = getattr(struct, name)
        if takes_tables(hint):
            if not value:
                yield from _comment(f"{name}: none. {about(hint)}")
            continue
        yield from _comment(about(hint))
        yield f"{name} = {written(_seen(value, hint, secrets), hint)}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,  # names that are searched for stay in one piece
    )
