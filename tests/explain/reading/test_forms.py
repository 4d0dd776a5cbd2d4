"""How servers write for people: each way of speaking is read for its recipients and their words."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from estafeta.explain.reading import read_report

CASES: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "forms.toml").read_text("utf-8")
)


def message_of(case: dict[str, Any]) -> bytes:
    html = "html" in case
    lines = [
        f"From: {case['from']}",
        "To: me@sender.example",
        f"Subject: {case['subject']}",
        *case.get("fields", []),
        "MIME-Version: 1.0",
        f"Content-Type: text/{'html' if html else 'plain'}; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        case["html" if html else "text"],
    ]
    return "\r\n".join("\n".join(lines).split("\n")).encode()


@pytest.mark.parametrize("name", CASES)
def test_form(name: str) -> None:
    case = CASES[name]
    reading = read_report(message_of(case))
    assert reading.kind == case["kind"]
    seen = [f"{r.address}|{r.code}|{r.status}|{r.command}|{r.host}" for r in reading.recipients]
    assert seen == [line.rpartition("|")[0] for line in case["said"]]
    for line, recipient in zip(case["said"], reading.recipients, strict=True):
        assert line.rpartition("|")[2] in recipient.text
        assert "Original message" not in recipient.text
    assert reading.mailer == case.get("mailer", reading.mailer)
    assert reading.returned.message_id == case.get("message_id", reading.returned.message_id)
