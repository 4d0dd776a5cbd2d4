"""Our own bounces, read as those of any server: what we tell programs is what `explain` finds."""

from __future__ import annotations

import email
import email.policy
import json
from email.message import EmailMessage
from typing import Any, cast

import pytest

from estafeta.explain.causes import cause
from estafeta.explain.reading import read_report
from estafeta.explain.verdicts import verdicts
from estafeta.office.docs_bounce import example_bounce


def data_of(message: bytes) -> dict[str, Any]:
    whole = email.message_from_bytes(message, policy=email.policy.default)
    said = cast(EmailMessage, next(iter(whole.iter_parts())))
    (attached,) = said.iter_attachments()
    return cast(dict[str, Any], json.loads(attached.get_content()))


@pytest.mark.parametrize("language", ["en", "es"])
def test_programs_are_told_what_explain_finds(language: str) -> None:
    message = example_bounce(language)
    data, reading = data_of(message), read_report(message)
    assert data["kind"] == reading.kind == "bounce"
    assert data["envelope"]["language"] == language
    assert reading.returned.message_id == data["envelope"]["message_id"]
    found = verdicts(reading)
    assert len(found) == len(data["recipients"]) == 3
    for told, (seen, verdict) in zip(data["recipients"], found, strict=True):
        assert told["address"] == seen.address
        assert told["cause"] == verdict.cause
        assert told["permanent"] == verdict.permanent
        assert told["hard"] == verdict.hard
        assert told["status"] == seen.status
        assert told["reply_code"] == seen.code
        assert told["repair_by"] == cause(verdict.cause).owner
        assert " ".join(told["remote_text"].split()) == " ".join(seen.text.split())
        assert told["host"] == seen.host


def test_what_it_says_of_each() -> None:
    told = data_of(example_bounce("en"))["recipients"]
    assert [each["cause"] for each in told] == ["unknown-user", "domain-not-found", "mailbox-full"]
    assert [each["hard"] for each in told] == [True, True, False]
    assert [each["repair_by"] for each in told] == ["you", "you", "recipient"]
