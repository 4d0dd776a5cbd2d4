"""Mailers: which program or provider wrote a report, by its marks (`mailers.toml`)."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from importlib.resources import files

import msgspec

from estafeta.explain.reading.letter import Letter
from estafeta.explain.reading.limits import (
    LINE_CHARACTERS_MAX,
    SENTENCES_CHARACTERS_MAX,
)


class Marks(msgspec.Struct, frozen=True):
    """How one mailer is known."""

    name: str
    fields: tuple[tuple[bytes, re.Pattern[str] | None], ...] = ()
    status: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None
    mta: re.Pattern[str] | None = None
    words: re.Pattern[str] | None = None


@lru_cache
def marks() -> tuple[Marks, ...]:
    """What the file holds, in its order."""
    data = tomllib.loads((files(__package__) / "mailers.toml").read_text("utf-8"))
    found: list[Marks] = []
    for name, table in data.items():
        fields = tuple(
            (field.encode("ascii"), None if value == "*" else re.compile(value, re.IGNORECASE))
            for field, value in table.get("fields", {}).items()
        )
        others = {
            key: re.compile(table[key], re.IGNORECASE)
            for key in ("status", "text", "mta", "words")
            if key in table
        }
        found.append(Marks(name=name, fields=fields, **others))
    return tuple(found)


def mailer_of(letter: Letter, text: str, mta: str, names: set[str], words: str) -> str:
    """The mailer's name, or "". names: fields in its delivery status. words: a reason's."""
    text = text[:SENTENCES_CHARACTERS_MAX]
    values = {
        name: value.decode("utf-8", "replace").strip()[:LINE_CHARACTERS_MAX]
        for name, value in letter.fields.items()
    }
    for each in marks():
        if _fits(each, values, text, mta, names, words):
            return each.name
    return ""


def _fits(
    each: Marks, values: dict[bytes, str], text: str, mta: str, names: set[str], words: str
) -> bool:
    for name, pattern in each.fields:
        value = values.get(name)
        if value is not None and (pattern is None or pattern.search(value)):
            return True
    if each.status is not None and any(each.status.fullmatch(name) for name in names):
        return True
    return any(
        pattern is not None and pattern.search(where) is not None
        for pattern, where in ((each.text, text), (each.mta, mta), (each.words, words))
    )
