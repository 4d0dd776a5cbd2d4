"""What a report comes to: a cause for each recipient, by the kind of report first."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.explain.reading.letters import dsn

import estafeta.explain.verdicts as verdicts_module
from estafeta.explain.reading import Reading, read_report, recipients
from estafeta.explain.reading.reply import said
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


def test_no_more_is_read_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(recipients, "said", lambda words: asked.append(words) or said(words))
    read_and_judge(dsn(status(*((f"p{n}@one.example", "failed") for n in range(900)))), 4)
    assert 0 < len(asked) < 20


def test_the_kind_is_that_of_all_recipients() -> None:
    actions = ["delivered"] * 9 + ["failed"]
    data = dsn(status(*((f"p{n}@one.example", action) for n, action in enumerate(actions))))
    reading, judged = read_and_judge(data, 4)
    assert reading.kind == "bounce"
    assert [found.cause for found in judged] == ["delivered"] * 4
    data = data.replace(b"Action: failed\r\n", b"").replace(b"Action: delivered\r\n", b"")
    data = data.replace(b"Status: 5.1.1", b"Status: 2.0.0", 9).replace(b"550 5.1.1", b"250", 9)
    assert read_and_judge(data, 4)[0].kind == "bounce"


def test_messages_in_a_row_are_read_until_there_are_enough() -> None:
    one = b"From x Mon Mar  3 10:00:00 2025\r\n"
    data = b"\r\n".join(
        one + dsn(status((f"p{n}@one.example", "failed")), text="x\n") for n in range(5)
    )
    addresses = [r.address for r in read_and_judge(data, 3)[0].recipients]
    assert addresses == [f"p{n}@one.example" for n in range(3)]
    assert len(read_report(data).recipients) == 5


def endless(data: bytes, most: int) -> Reading:
    re.search(r"(a|aa)+\Z", "a" * 300 + "b")
    raise AssertionError("never")


def test_no_pattern_holds_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts_module, "read_report", endless)
    monkeypatch.setattr(verdicts_module, "READING_SECONDS_MAX", 0.2)
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError):
        read_and_judge(dsn(), 4)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_alarm_is_put_back_where_reading_ends_in_time() -> None:
    before = signal.getsignal(signal.SIGALRM)
    read_and_judge(dsn(), 4)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_outside_the_main_thread_it_is_read_without_an_end() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(read_and_judge, dsn(), 4).result()[0].kind == "bounce"


def test_the_alarm_of_somebody_else_stays() -> None:
    signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        read_and_judge(dsn(), 4)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 3000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_what_it_says_can_be_written() -> None:
    words = "Final-Recipient: rfc822; a@one.example\nAction: failed\n"
    words += "Diagnostic-Code: smtp; 550 5.1.1 no =?utf-7?Q?+2AA-?= user\n"
    reading, _ = read_and_judge(dsn(words), 4)
    assert "\ufffd" in reading.recipients[0].text
    msgspec.json.encode(reading)
