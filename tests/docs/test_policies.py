"""docs/policies.md is written by hand: it must know every field, group and default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from estafeta.deliver.policy.rules import FIELDS, Effective, LetIn, Rules, stricter
from estafeta.deliver.policy.types import GROUPS
from estafeta.office.policy_values import parse_changes, shown_value

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text("utf-8")
FIELD_ROWS = {
    row[1].strip("` "): [cell.strip() for cell in row[1:-1]]
    for row in (line.split("|") for line in PAGE.splitlines() if re.match(r"\| `\w+` \|", line))
    if len(row) == 6
}


def test_every_field_is_told_of_with_what_holds_unless_it_is_said() -> None:
    assert set(FIELD_ROWS) == set(FIELDS)
    said = Effective()
    for name, (_, _, default, about) in FIELD_ROWS.items():
        value = getattr(said, name)
        shown = shown_value(name, value) or "none"
        assert default == ("all" if value == get_args(LetIn) else shown), name
        assert about, name


def test_every_group_is_told_of() -> None:
    assert all(f"`{group}`" in FIELD_ROWS["blocked_types"][3] for group in GROUPS)


def test_what_stricter_means_is_told_of_each_field() -> None:
    below = PAGE.partition("Stricter means:")[2]
    heads = [line.split("|")[1] for line in below.splitlines() if line.startswith("| `")]
    told = [name for head in heads for name in re.findall(r"`(\w+)`", head)]
    assert sorted(told) == sorted(FIELDS)
    assert stricter("size_max", 20, 30) == 20


def test_the_examples_can_be_said() -> None:
    lines = re.findall(r"^    estafeta policy (?:set|test) (.*)$", PAGE, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        words = re.findall(r"'([^']*)'|(\S+)", line)
        given = [quoted or bare for quoted, bare in words]
        fields = [word for word in given if re.match(r"\w+=", word)]
        assert parse_changes(fields) != Rules()
