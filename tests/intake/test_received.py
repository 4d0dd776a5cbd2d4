"""Received: the trace field for every role, TLS, login and UTF-8 (RFC 5321 §4.4, 3848, 6531)."""

from __future__ import annotations

import re

import pytest

from estafeta.intake.received import protocol_name, received_field
from estafeta.intake.role import Client, Transaction
from estafeta.mail.envelope import Recipient
from estafeta.store.ids import queue_id
from estafeta.store.rows import Account
from estafeta.wire.smtp_server.events import Mail
from estafeta.world.seams import Endpoint, TlsInfo

TLS = TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384")
ANA = Account(1, "ana@a.example", "a.example", "", "", 0, 0, False)
AT = 1_750_000_000.0


def transaction(*recipients: str, utf8: bool = False) -> Transaction:
    made = Transaction(4711, Mail("bob@b.example", smtputf8=utf8))
    made.recipients = [Recipient(each) for each in recipients]
    return made


@pytest.mark.parametrize(
    ("role", "esmtp", "tls", "login", "utf8", "name"),
    [
        ("mx", False, False, False, False, "SMTP"),
        ("mx", False, True, False, False, "SMTP"),
        ("mx", True, False, False, False, "ESMTP"),
        ("mx", True, True, False, False, "ESMTPS"),
        ("submission", True, False, True, False, "ESMTPA"),
        ("submission", True, True, True, False, "ESMTPSA"),
        ("submission", True, False, False, False, "ESMTP"),
        ("mx", True, False, False, True, "UTF8SMTP"),
        ("mx", True, True, False, True, "UTF8SMTPS"),
        ("submission", True, False, True, True, "UTF8SMTPA"),
        ("submission", True, True, True, True, "UTF8SMTPSA"),
        ("lmtp", True, False, False, False, "LMTP"),
        ("lmtp", True, True, False, False, "LMTPS"),
        ("lmtp", True, False, True, False, "LMTPA"),
        ("lmtp", True, True, True, False, "LMTPSA"),
        ("lmtp", True, False, False, True, "UTF8LMTP"),
        ("lmtp", True, True, False, True, "UTF8LMTPS"),
        ("lmtp", True, False, True, True, "UTF8LMTPA"),
        ("lmtp", True, True, True, True, "UTF8LMTPSA"),
    ],
)
def test_the_registered_names(
    role: str, esmtp: bool, tls: bool, login: bool, utf8: bool, name: str
) -> None:
    client = Client(
        Endpoint("192.0.2.9", 4711),
        tls=TLS if tls else None,
        hello="me",
        esmtp=esmtp,
        account=ANA if login else None,
    )
    assert protocol_name(client, transaction(utf8=utf8), role) == name


def test_the_whole_field() -> None:
    client = Client(Endpoint("2001:db8::9", 4711), tls=TLS, hello="me.example", esmtp=True)
    field = received_field(
        client, transaction("ana@a.example"), role="mx", host_name="mx.a.example", now=AT
    )
    assert field.decode() == (
        "Received: from me.example ([IPv6:2001:db8::9])\r\n"
        "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)\r\n"
        f"\tby mx.a.example with ESMTPS id {queue_id(4711)}\r\n"
        "\tfor <ana@a.example>;\r\n"
        "\tSun, 15 Jun 2025 15:06:40 +0000\r\n"
    )


@pytest.mark.parametrize("recipients", [(), ("ana@a.example", "eva@a.example")])
def test_of_several_recipients_none_is_told(recipients: tuple[str, ...]) -> None:
    """RFC 5321 §7.2: who else got it, perhaps by Bcc, is nobody's business."""
    client = Client(Endpoint("192.0.2.9", 4711), hello="me", esmtp=True)
    field = received_field(
        client, transaction(*recipients), role="mx", host_name="mx.a.example", now=AT
    )
    assert b"for" not in field
    assert re.search(rb" id \w+;\r\n", field)


def test_lines_stay_short_enough_whatever_the_peer_calls_itself() -> None:
    """RFC 5322 §2.1.1."""
    client = Client(Endpoint("192.0.2.9", 4711), tls=TLS, hello="x" * 255, esmtp=True)
    field = received_field(
        client,
        transaction(f"{'u' * 64}@{'d' * 180}.example"),
        role="mx",
        host_name="m" * 255,
        now=AT,
    )
    assert max(len(line) for line in field.split(b"\r\n")) <= 998
