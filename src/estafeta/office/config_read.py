"""Config reading: from estafeta.toml to `Config`, or to a list of what is wrong with it.

Each problem names its key, its line, what was expected, and the nearest valid key. All problems of
a file are found in one pass.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import msgspec

from estafeta.office.config import Config
from estafeta.office.config_lines import Path, locate
from estafeta.office.config_rules import broken_rules, complete, fill_secrets
from estafeta.office.config_types import FORMS
from estafeta.office.limits import CONFIG_OCTETS_MAX


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong. line: from 1, or 0 where the file as a whole is meant."""

    file: str
    line: int
    key: str
    expected: str
    nearest: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        hint = f'; did you mean "{self.nearest}"?' if self.nearest else ""
        return f"{place}:{key} {self.expected}{hint}"


class ConfigError(Exception):
    """The configuration cannot be used. The text has one line for each problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def read_config(file: FilePath) -> Config:
    """Raises ConfigError. Relative paths in it are taken from the file's own folder."""
    return _parse(file, _read_text(file))


def read_with_lines(file: FilePath) -> tuple[Config, dict[Path, int]]:
    """The configuration, and on which line of its file each key stands. Raises ConfigError."""
    text = _read_text(file)
    return _parse(file, text), locate(text)


def _parse(file: FilePath, text: str) -> Config:
    return parse_config(text, str(file), base=file.parent.absolute())


def _read_text(file: FilePath) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(CONFIG_OCTETS_MAX + 1)
    except OSError as trouble:
        reason = (trouble.strerror or str(trouble)).lower()
        raise ConfigError([Problem(str(file), 0, "", f"cannot be read: {reason}")]) from trouble
    if len(data) > CONFIG_OCTETS_MAX:
        raise ConfigError([Problem(str(file), 0, "", f"larger than {CONFIG_OCTETS_MAX} octets")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise ConfigError([Problem(str(file), line, "", "UTF-8 was expected")]) from wrong


def parse_config(text: str, name: str = "estafeta.toml", *, base: FilePath | None = None) -> Config:
    """name: how problems call the file. base: folder that relative paths are taken from."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        message, _, place = str(wrong).partition(" (at ")
        line = place.removeprefix("line ").split(",")[0].rstrip(")")
        number = int(line) if line.isdigit() else text.count("\n") + 1
        raise ConfigError([Problem(name, number, "", f"not TOML: {message}")]) from wrong
    reader = _Reader(name, locate(text))
    built = reader.struct(Config, raw, ())
    if reader.problems:
        raise ConfigError(sorted(reader.problems, key=lambda problem: problem.line))
    config, unreadable = fill_secrets(complete(cast(Config, built), base))
    for path, expected in (*broken_rules(config), *unreadable):
        reader.complain(path, expected)
    if reader.problems:
        raise ConfigError(reader.problems)
    return config


def key_name(path: Path) -> str:
    """("listener", 0, "role") -> "listener[0].role"."""
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def describe(kind: Any) -> str:
    """What a setting of this type takes, in words: docs and complaints use the same."""
    base, metas = peel(kind)
    for meta in metas:
        if meta.extra and "form" in meta.extra:
            return str(meta.extra["form"])
    if get_origin(base) is list:
        inner = describe(get_args(base)[0])
        return "tables" if inner == "table" else f"list: {inner}"
    choices = [repr(c).replace("'", '"') for c in get_args(base) if c != ""]
    if choices:
        return " or ".join(choices)
    if isinstance(base, type) and issubclass(base, msgspec.Struct):
        return "table"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}[
        base.__name__
    ]


def peel(kind: Any) -> tuple[Any, tuple[msgspec.Meta, ...]]:
    """The plain type and its Metas."""
    if get_origin(kind) is Annotated:
        base, *rest = get_args(kind)
        return base, tuple(m for m in rest if isinstance(m, msgspec.Meta))
    return kind, ()


class _Bad(Exception):
    """The value's problem has been noted."""


class _Reader:
    def __init__(self, name: str, lines: dict[Path, int]) -> None:
        self.name = name
        self.lines = lines
        self.problems: list[Problem] = []

    def complain(self, path: Path, expected: str, nearest: str = "") -> None:
        line = next((self.lines[p] for p in _upwards(path) if p in self.lines), 0)
        self.problems.append(Problem(self.name, line, key_name(path), expected, nearest))

    def struct(self, kind: type[msgspec.Struct], value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            self.complain(path, f"a table was expected, not {_shown(value)}")
            raise _Bad
        hints = get_type_hints(kind, include_extras=True)
        for key in value:
            if key not in hints:
                near = difflib.get_close_matches(key.lower(), hints, n=1, cutoff=0.5)
                self.complain((*path, key), "no such setting", near[0] if near else "")
        given: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            if field.name in value:
                try:
                    given[field.name] = self.value(
                        hints[field.name], value[field.name], (*path, field.name)
                    )
                except _Bad:
                    continue
            elif field.required:
                self.complain(path, f'"{field.name}" is missing: {describe(hints[field.name])}')
        if self.problems:
            return None
        return kind(**given)

    def value(self, kind: Any, value: Any, path: Path) -> Any:
        base, metas = peel(kind)
        if get_origin(base) is list:
            if not isinstance(value, list):
                form = f"[{describe(get_args(base)[0])}, …]"
                self.complain(path, f"{form} was expected, not {_shown(value)}")
                raise _Bad
            inner = get_args(base)[0]
            return [self.value(inner, item, (*path, n)) for n, item in enumerate(value)]
        if isinstance(base, type) and issubclass(base, msgspec.Struct):
            return self.struct(base, value, path)
        return self.leaf(kind, metas, value, path)

    def leaf(self, kind: Any, metas: tuple[msgspec.Meta, ...], value: Any, path: Path) -> Any:
        try:
            for meta in metas:
                if meta.extra and "form" in meta.extra:
                    value = FORMS[meta.extra["form"]](value)
            built = msgspec.convert(value, kind, strict=True)
            for meta in metas:
                if meta.extra and "least" in meta.extra and built < meta.extra["least"]:
                    raise ValueError(f"at least {meta.extra['least']}")
            return built
        except msgspec.ValidationError as wrong:
            expected = describe(kind)
            bound = str(wrong) if ">=" in str(wrong) or "<=" in str(wrong) else ""
            text = bound.replace("Expected `int`", "a whole number").replace(
                "Expected `float`", "a number"
            )
            self.complain(path, f"{text or expected} was expected, not {_shown(value)}")
        except ValueError as wrong:
            self.complain(path, f"{wrong} was expected, not {_shown(value)}")
        raise _Bad


def _upwards(path: Path) -> Iterator[Path]:
    for end in range(len(path), 0, -1):
        yield path[:end]


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= 60 else f"{text[:57]}..."
