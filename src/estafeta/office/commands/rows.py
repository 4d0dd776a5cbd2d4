"""Rows: the one way in which a command shows what it found: a table, or JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from estafeta.office.commands.common import print_json, print_table

T = TypeVar("T")

Columns = Mapping[str, Callable[[T], str]]
"""A column's head -> what stands below it for one thing."""


def print_rows(found: Sequence[T], columns: Columns[T], *, json: bool, as_json: Any = None) -> None:
    """A row for each. as_json: where a program gets something else than `found` as it is."""
    if json:
        print_json(found if as_json is None else as_json)
        return
    print_table(tuple(columns), [[cell(each) for cell in columns.values()] for each in found])


def print_one(found: dict[str, Any], lines: Columns[Any], *, json: bool) -> None:
    """One thing: a line for each of its sides. found: what a program gets."""
    if json:
        print_json(found)
        return
    print_table(("setting", "value"), [(head, cell(found)) for head, cell in lines.items()])
