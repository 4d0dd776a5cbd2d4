"""docs/interop.md: complete, readable by the code that wrote it, and of the servers we have."""

from __future__ import annotations

import importlib

import pytest
from tests.matrix import page
from tests.matrix.conftest import SERVERS
from tests.support.peers.server import Direction, Feature

ROW = page.Row("Postfix", "3.7.11-0+deb12u1", "sends", "STARTTLS", "yes", "")

# What one side alone can show.
RECEIVES_ONLY = frozenset(
    {
        Feature.OPPORTUNISTIC_TLS,
        Feature.SMARTHOST,
        *(Feature.BUSY, Feature.GREYLISTED, Feature.RATE, Feature.FULL),
        *(Feature.FORBIDDEN, Feature.REFUSED_OTHERWISE),
    }
)
SENDS_ONLY = frozenset(
    {
        *(Feature.WE_KNOW_NOBODY, Feature.WE_HAVE_CLOSED, Feature.WE_ARE_FULL),
        *(Feature.WE_ARE_FULL_FOR_GOOD, Feature.WE_FORBID, Feature.WE_TAKE_NO_MORE),
        *(Feature.WE_GREYLIST, Feature.WE_LIMIT, Feature.WE_ARE_BUSY, Feature.WE_LOOK_UP),
        *(Feature.WE_WANT_TLS, Feature.PRDR),
    }
)
NOT_SHOWN_BY = {Direction.SENDS: RECEIVES_ONLY, Direction.RECEIVES: SENDS_ONLY}


def test_a_page_gives_back_its_rows() -> None:
    rows = [
        ROW,
        page.Row("Postfix", "3.7.11-0+deb12u1", "sends", "BDAT", "no", "It: never: does."),
        page.Row("Postfix", "3.7.11-0+deb12u1", "receives", "BDAT", "yes", ""),
        page.Row("Exim", "4.96-15", "receives", "BDAT", "yes", "Remark."),
    ]
    read = page.read(page.render(rows))
    assert read == {row.key: row for row in rows}


@pytest.mark.parametrize(
    ("version", "same"),
    [("3.7.11-0+deb12u2", True), ("3.7.12-1", True), ("3.8.0-1", False), ("4.7.11-0", False)],
)
def test_a_patch_level_is_not_another_version(version: str, same: bool) -> None:
    other = page.Row("Postfix", version, "sends", "STARTTLS", "yes", "")
    assert ROW.same(other) is same


@pytest.mark.parametrize(("result", "why"), [("no", ""), ("yes", "But.")])
def test_another_result_is_another_row(result: str, why: str) -> None:
    assert not ROW.same(page.Row("Postfix", ROW.version, "sends", "STARTTLS", result, why))


@pytest.mark.parametrize("module", SERVERS)
def test_every_cell_is_on_the_page(module: str) -> None:
    if page.written_to():
        pytest.skip("the page is being made")
    name = importlib.import_module(f"tests.support.peers.{module}").SERVER.name
    shown = page.read(page.PAGE.read_text())
    for direction in Direction:
        for feature in Feature:
            if feature not in NOT_SHOWN_BY[direction]:
                assert (name, direction.value, feature.value) in shown
