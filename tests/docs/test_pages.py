"""Documentation units: what exists and is not documented fails, as does a page that is stale."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import estafeta
from estafeta.__main__ import app
from estafeta.office.config import Config
from estafeta.office.docs import PAGES, make_page
from estafeta.office.docs_source import drafts, limits, rfcs_in_code, standards
from estafeta.office.metrics_catalogue import CATALOGUE
from estafeta.office.settings_shown import effective
from estafeta.office.settings_table import sections
from estafeta.wire.replies import CATALOGUE as REPLIES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_no_page_is_stale(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == make_page(name, DOCS, app), "run `make docs`"


def test_every_kind_of_bad_input_is_tested_where_the_page_says() -> None:
    page = (DOCS / "bad-input.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "tested in" not in line]
    assert len(rows) > 40
    for row in rows:
        named = re.findall(r"`(tests/[^`:]+)::([^`]+)`", row)
        assert named, row
        for file, test in named:
            begins = f"=== {test}\n" if file.endswith(".txt") else f"def {test}("
            assert begins in (DOCS.parent / file).read_text("utf-8"), f"{file}::{test}"


def test_every_setting_says_what_it_is_for() -> None:
    page = (DOCS / "settings.md").read_text("utf-8")
    found = [(s.header, setting) for s in sections() for setting in s.settings]
    assert len(found) > 50
    for header, setting in found:
        assert setting.about.endswith((".", "usual")), f"{header} {setting.key}"
        assert f"| `{setting.key}` |" in page, f"{header} {setting.key}"
    headers = {s.header for s in sections()}
    for field in msgspec.structs.fields(Config):
        assert headers & {f"[{field.name}]", f"[[{field.name}]]"}, field.name
    for section in sections():
        assert section.about.endswith("."), section.header


def test_every_setting_has_an_effect() -> None:
    """It is read somewhere, at least by its name, outside the files that declare settings."""
    office = Path(estafeta.__file__).parent / "office"
    files = [f for f in sorted(office.rglob("*.py")) if not f.name.startswith(("config", "docs"))]
    code = "".join(file.read_text("utf-8") for file in files)
    code += (office / "config_rules.py").read_text("utf-8")
    exact = ("imap", "pop3", "smtp", "queue", "relay")
    idle = []
    for section in sections():
        table = section.header.strip("[]").rpartition(".")[2].rstrip("s")
        for setting in section.settings:
            uses = re.findall(rf"\b([a-z0-9_]+)\.{setting.key}\b", code)
            if not uses or (table in exact and table not in uses):
                idle.append(f"{section.header} {setting.key}")
    assert idle == []


def test_every_setting_can_be_shown() -> None:
    keys = {each.key for each in effective(Config(), {})}
    assert "smtp.size_max" in keys
    assert "queue.retry" in keys


def test_every_metric_and_every_reply_is_on_its_page() -> None:
    metrics = (DOCS / "metrics.md").read_text("utf-8")
    assert all(f"`{metric.name}`" in metrics for metric in CATALOGUE)
    replies = (DOCS / "replies.md").read_text("utf-8")
    assert all(f"`{name}`" in replies for name in REPLIES)


def test_every_limit_is_on_its_page() -> None:
    page = (DOCS / "limits.md").read_text("utf-8")
    found = list(limits())
    assert len(found) > 50
    assert all(f"`{limit.name}`" in page for limit in found)


def test_every_rfc_the_code_refers_to_is_in_the_table_with_its_rooms() -> None:
    listed = {each.number: each for each in standards(DOCS)}
    referred = rfcs_in_code()
    assert not set(referred) - set(listed)
    for number, each in listed.items():
        missing = set(each.rooms) - set(referred.get(number, ()))
        assert not missing, f"RFC {number} is not referred to in {missing}"
        if each.state == "yes":
            assert each.rooms, f"RFC {number} is kept, but no room refers to it"


def test_every_draft_is_referred_to_by_its_rooms() -> None:
    source = Path(estafeta.__file__).parent
    for draft in drafts(DOCS):
        for room in draft.rooms:
            texts = (file.read_text("utf-8") for file in (source / room).rglob("*.py"))
            assert any(draft.name in text for text in texts), (draft.name, room)


def test_numbers_of_rfcs_are_listed_once() -> None:
    numbers = [each.number for each in standards(DOCS)]
    assert len(numbers) == len(set(numbers))
