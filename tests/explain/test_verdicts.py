"""What a report comes to: a cause for each recipient, by the kind of report first."""

from __future__ import annotations

import pytest
from tests.explain.reading.letters import dsn

from estafeta.explain.reading import read_report
from estafeta.explain.verdicts import read_and_judge, verdicts


def status(*recipients: tuple[str, str]) -> str:
    return "\n".join(
        f"Final-Recipient: rfc822; {address}\nAction: {action}\n"
        "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 user unknown\n"
        for address, action in recipients
    )


@pytest.mark.parametrize(
    ("action", "cause", "hard"),
    [("failed", "unknown-user", True), ("delivered", "delivered", False)],
)
def test_by_kind_first(action: str, cause: str, hard: bool) -> None:
    ((_, verdict),) = verdicts(read_report(dsn(status(("a@one.example", action)))))
    assert (verdict.cause, verdict.hard) == (cause, hard)


def test_each_recipient_of_a_mixed_report_by_itself() -> None:
    report = read_report(dsn(status(("a@one.example", "failed"), ("b@one.example", "delivered"))))
    assert [found.cause for _, found in verdicts(report)] == ["unknown-user", "delivered"]


def test_no_more_than_asked_for() -> None:
    data = dsn(status(*((f"p{n}@one.example", "failed") for n in range(9))))
    reading, judged = read_and_judge(data, 4)
    assert [r.address for r in reading.recipients] == [f"p{n}@one.example" for n in range(4)]
    assert [found.cause for found in judged] == ["unknown-user"] * 4
    assert read_and_judge(b"From: a@one.example\r\n\r\nhello\r\n", 4)[1] == []
