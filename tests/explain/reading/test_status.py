"""Fields for programs (RFC 3464, RFC 6533), as the standard has them and as servers send them."""

from __future__ import annotations

import pytest
from tests.explain.reading.letters import RETURNED, STATUS, dsn, report

from estafeta.explain.reading import Reading, read_report

PLAIN = "text/plain; charset=utf-8"


def one(data: bytes) -> Reading:
    reading = read_report(data)
    assert len(reading.recipients) == 1
    return reading


def test_standard() -> None:
    reading = one(dsn())
    assert reading.kind == "bounce"
    assert reading.reporting_mta == "mx.one.example"
    assert reading.envid == "E1.ABC"
    assert reading.arrival == 1740992400
    recipient = reading.recipients[0]
    assert recipient.address == recipient.original_recipient == "ana@one.example"
    assert recipient.final_recipient == "ana.ruiz@in.one.example"
    assert (recipient.code, recipient.status, recipient.action) == (550, "5.1.1", "failed")
    assert recipient.text == "<ana.ruiz@in.one.example>: nobody here"
    assert recipient.host == "in.one.example"
    assert recipient.last_attempt == 1740992405
    returned = reading.returned
    assert (returned.message_id, returned.subject) == ("<original@sender.example>", "hello")
    assert (returned.sender, returned.to) == ("me@sender.example", ("ana@one.example",))


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("failed", "5.0.0", "bounce"),
        ("Failure", "5.0.0", "bounce"),
        ("delayed (still trying)", "4.4.1", "delay"),
        ("delivered", "2.0.0", "delivered"),
        ("relayed", "2.0.0", "delivered"),
        ("expanded", "2.0.0", "delivered"),
    ],
)
def test_action_tells_the_kind(action: str, status: str, kind: str) -> None:
    data = dsn(f"Final-Recipient: rfc822; ana@one.example\nAction: {action}\nStatus: {status}\n")
    assert read_report(data).kind == kind


def test_worst_recipient_tells_the_kind() -> None:
    blocks = "\n".join(
        f"Final-Recipient: rfc822; {name}@one.example\nAction: {action}\n"
        for name, action in (("a", "delivered"), ("b", "failed"), ("c", "delayed"))
    )
    reading = read_report(dsn(f"Reporting-MTA: dns; mx\n\n{blocks}"))
    assert reading.kind == "bounce"
    assert [r.action for r in reading.recipients] == ["delivered", "failed", "delayed"]


@pytest.mark.parametrize(
    "status",
    [
        STATUS.replace("\n\n", "\n"),  # no empty line
        STATUS.replace("Final-", "final-").replace("Status:", "STATUS :"),
        STATUS.replace(": nobody here", ":\n\t nobody\n  here"),  # folded
        "\n\n" + STATUS + "\n\n\n",
        STATUS + "\n",
        STATUS.replace("rfc822; ana.ruiz@in.one.example", "<ana.ruiz@in.one.example>"),
        STATUS.replace("rfc822;", "RFC822 ;").replace("dns; mx", "DNS;mx"),
        STATUS.replace("Status: 5.1.1", "Status: 5.1.1 (bad destination mailbox address)"),
        STATUS.replace("smtp; 550", "SMTP;550"),
        STATUS.replace("smtp; 550", "550"),
        STATUS.replace("smtp;", "x-postfix;"),
        STATUS.replace("smtp;", "LMTP;"),
        STATUS.replace("smtp; 550 5.1.1", "smtp; 550-5.1.1"),
        STATUS + "Final-Log-Id: 3\nX-Whatever: no\n",
        "\n".join(reversed(STATUS.split("\n\n")[1].strip().split("\n"))) + "\n",  # any order
        "\n".join("  " + line for line in STATUS.split("\n")),  # indented
        STATUS + "Status: 5.0.0\nAction: failed\n",  # doubled
    ],
)
def test_broken(status: str) -> None:
    recipient = one(dsn(status)).recipients[0]
    assert recipient.address == "ana@one.example"
    assert (recipient.code, recipient.status, recipient.action) == (550, "5.1.1", "failed")
    assert recipient.text == "<ana.ruiz@in.one.example>: nobody here"


def test_blocks_without_empty_lines() -> None:
    blocks = "".join(
        f"Final-Recipient: rfc822; {name}@one.example\nAction: failed\nStatus: 5.{name}.1\n"
        for name in "123"
    )
    reading = read_report(dsn(blocks))
    assert [(r.address, r.status) for r in reading.recipients] == [
        ("1@one.example", "5.1.1"),
        ("2@one.example", "5.2.1"),
        ("3@one.example", "5.3.1"),
    ]


def test_empty_line_within_a_block() -> None:
    status = STATUS.replace("Action:", "\nAction:")
    assert one(dsn(status)).recipients[0].code == 550


def test_as_plain_text() -> None:
    reading = one(report((PLAIN, "Failed.\n"), (PLAIN, STATUS), (PLAIN, RETURNED)))
    assert reading.recipients[0].status == "5.1.1"
    assert reading.returned.message_id == "<original@sender.example>"


def test_within_the_text() -> None:
    reading = one(report((PLAIN, f"Failed.\n\nTechnical report:\n\n{STATUS}")))
    assert reading.recipients[0].text == "<ana.ruiz@in.one.example>: nobody here"


def test_parts_in_any_order_and_missing() -> None:
    status = ("message/delivery-status", STATUS)
    assert one(report(("message/rfc822", RETURNED), status)).returned.subject == "hello"
    assert one(report(status, kind="multipart/mixed")).recipients[0].code == 550
    assert one(report(status)).kind == "bounce"
    headers = one(report(status, ("text/rfc822-headers", RETURNED)))
    assert headers.returned.message_id == "<original@sender.example>"


def test_without_any_boundary() -> None:
    data = dsn().replace(b"--==", b"")
    assert one(data).recipients[0].status == "5.1.1"


def test_base64() -> None:
    import base64

    encoded = base64.b64encode(STATUS.encode()).decode()
    part = ("message/delivery-status\nContent-Transfer-Encoding: base64", encoded)
    assert one(report((PLAIN, "x"), part)).recipients[0].code == 550


def test_internationalised() -> None:
    status = (
        "Reporting-MTA: dns; mx\n\nOriginal-Recipient: utf-8;jos\\x{E9}@one.example\n"
        "Final-Recipient: utf-8; josé@one.example\nAction: failed\nStatus: 5.1.1\n"
    )
    data = report((PLAIN, "x"), ("message/global-delivery-status", status))
    assert one(data).recipients[0].original_recipient == "josé@one.example"
    assert one(data).recipients[0].final_recipient == "josé@one.example"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("rfc822;ana+2Bnews@one.example", "ana+news@one.example"),
        ("rfc822;ana+news@one.example", "ana+news@one.example"),
        ("rfc822;ana+3Dbob@one.example", "ana=bob@one.example"),
        ("rfc822;ana+40x@one.example", "ana+40x@one.example"),  # two @: it was not encoded
    ],
)
def test_xtext(written: str, address: str) -> None:
    data = dsn(f"Original-Recipient: {written}\nAction: failed\nStatus: 5.1.1\n")
    assert one(data).recipients[0].address == address


@pytest.mark.parametrize("vague", ["unknown", "smtp; unknown", "smtp; 550", "X-Unix; 77", ""])
def test_text_says_more_than_the_fields(vague: str) -> None:
    status = (
        "Final-Recipient: rfc822; ana@one.example\nAction: failed\nStatus: 5.0.0\n"
        f"Diagnostic-Code: {vague}\n"
    )
    text = "<ana@one.example>: host mx.one.example[192.0.2.7] said: 552 5.2.2 over quota\n"
    recipient = one(dsn(status, text)).recipients[0]
    assert recipient.text == "over quota"
    assert recipient.status == "5.2.2"
    assert recipient.host == "mx.one.example"


def test_text_does_not_overrule_fields_that_say_enough() -> None:
    text = "<ana@one.example>: 552 5.2.2 something else\n"
    assert one(dsn(STATUS, text)).recipients[0].status == "5.1.1"


def test_pipe_names_the_address_behind_it() -> None:
    status = "Final-Recipient: rfc822;|/usr/bin/filter\nAction: failed\nStatus: 5.3.0\n"
    text = "|/usr/bin/filter\n    (expanded from: <ana@one.example>)\n"
    assert one(dsn(status, text)).recipients[0].address == "ana@one.example"


def test_other_scripts() -> None:
    words = "ユーザーは見つかりません".encode("iso-2022-jp").decode("ascii")
    status = STATUS.replace("nobody here", words)
    assert "ユーザーは見つかりません" in one(dsn(status)).recipients[0].text


def test_status_that_the_server_gave_with_its_code() -> None:
    status = STATUS.replace("Status: 5.1.1", "Status: 4.4.7")
    assert one(dsn(status)).recipients[0].status == "5.1.1"
    assert one(dsn(STATUS.replace("550 5.1.1", "550"))).recipients[0].status == "5.1.1"


def test_text_adds_the_command_that_the_fields_leave_out() -> None:
    text = (
        "<ana@one.example>: host in.one.example[192.0.2.7] said: 550 5.1.1\n"
        "    <ana.ruiz@in.one.example>: nobody here (in reply to RCPT TO command)\n"
    )
    assert one(dsn(STATUS, text)).recipients[0].command == "RCPT"
    other = text.replace("550 5.1.1", "451 4.7.1")  # another reply than the one of the fields
    assert one(dsn(STATUS, other)).recipients[0].command == ""
