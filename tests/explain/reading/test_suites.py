"""Other people's mail: nothing fails, bounces are found, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.require import suite

from estafeta.explain.reading import read_report

MIME = ("mime-cpython", "mime-mail-parser", "mime-nodemailer", "mime-mox", "mime-haraka")
BOUNCES = {  # by what they are
    "msg_16.txt": "bounce",
    "msg_25.txt": "bounce",
    "msg_43.txt": "bounce",
    "message-rfc822-multipart2.eml": "bounce",
    "delivery-status.eml": "bounce",
}
BOUNCES_AMONG_NOT_BOUNCES = ("rb-issue-368-bug",)
"""A report of a full mailbox; it lies there because it broke another reader."""


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", MIME)
def test_no_message_is_taken_for_a_report(name: str) -> None:
    for path in files(suite(name)):
        if path.suffix in (".json", ".md"):
            continue
        kind = read_report(path.read_bytes()).kind
        assert kind == BOUNCES.get(path.name, "other"), path


def test_not_bounces() -> None:
    for path in files(suite("sisimai-dev") / "not-bounces"):
        kind = read_report(path.read_bytes()).kind
        assert (kind == "bounce") == (path.stem in BOUNCES_AMONG_NOT_BOUNCES), path


def test_reports_of_complaints() -> None:
    for path in files(suite("reports-mail-auth") / "arf"):
        if path.suffix == ".eml":
            assert read_report(path.read_bytes()).kind == "feedback", path


def test_bounces() -> None:
    """Each is known for what it is, names its recipients, and says what is expected of it."""
    folder = suite("sisimai-dev")
    expected = json.loads((folder / "expected.json").read_text())
    failed: list[str] = []
    said = right = 0
    for name, facts in expected.items():
        reading = read_report((folder / "eml" / f"{name}.eml").read_bytes())
        entries = facts.get("expected", [])
        if reading.kind == "other" or (not reading.mailer and not reading.recipients):
            failed.append(name)
        if entries and len(entries) != len(reading.recipients):
            failed.append(f"{name}: {len(reading.recipients)} recipients")
        for entry, recipient in zip(entries, reading.recipients, strict=False):
            if entry["replycode"]:
                said += 1
                right += recipient.code == int(entry["replycode"])
            if entry["status"] and int(entry["status"].split(".")[2]) < 900:  # not made up
                said += 1
                right += recipient.status == entry["status"]
    assert len(failed) <= 1, failed
    assert right / said > 0.98


def test_all_suites() -> None:
    for path in files(suite("sisimai-dev").parent):
        if path.stat().st_size < 1_000_000:
            read_report(path.read_bytes())
