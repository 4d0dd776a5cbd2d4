"""A cause for each kind of reply."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import estafeta
from estafeta.explain.cause import cause_of
from estafeta.explain.causes import causes
from estafeta.mail.outcome import Reply


@pytest.mark.parametrize(
    ("code", "status", "text", "cause"),
    [
        (550, "5.1.1", "User unknown", "unknown-user"),
        (550, "", "No such user here", "unknown-user"),
        (550, "5.1.2", "Host unknown", "domain-not-found"),
        (551, "5.1.6", "moved", "user-moved"),
        (556, "5.1.10", "null MX", "null-mx"),
        (452, "4.2.2", "Over quota", "mailbox-full"),
        (552, "5.2.2", "Over quota", "mailbox-full"),
        (552, "5.3.4", "Too big", "message-too-large"),
        (552, "5.2.3", "Too big", "message-too-large"),
        (554, "5.7.1", "Attachment .mov not allowed", "policy-attachment"),
        (554, "5.7.1", "Message refused as spam", "policy-content"),
        (554, "5.7.1", "<b@b.example>: Relay access denied", "relay-denied"),
        (550, "5.7.1", "Unable to relay", "relay-denied"),
        (550, "5.7.1", "<spam@relay.example>: not allowed", "policy"),
        (550, "5.7.1", "spam@relay.example is not welcome", "policy"),
        (
            553,
            "5.7.1",
            "<a@b.example> does not belong to account relay@c.example",
            "sender-rejected",
        ),
        (553, "5.7.1", "<a@b>: Sender address rejected: not owned by user c", "sender-rejected"),
        (450, "4.2.0", "Recipient address rejected: Greylisted", "greylisted"),
        (451, "4.7.1", "Please try again later", "greylisted"),
        (450, "", "graylisting in action", "greylisted"),
        (421, "", "Too busy", "server-busy"),
        (451, "4.3.0", "Local error", "server-trouble"),
        (451, "4.3.0", "Later", "server-busy"),
        (452, "4.3.1", "Insufficient storage", "server-full"),
        (421, "4.7.28", "Unusual rate", "rate-limited"),
        (450, "4.7.0", "Slow down", "rate-limited"),
        (550, "5.7.25", "No PTR record", "no-reverse-dns"),
        (550, "5.7.26", "Unauthenticated", "not-authenticated-mail"),
        (530, "5.7.0", "Must issue a STARTTLS command first", "tls-required"),
        (554, "5.4.6", "Too many hops", "loop"),
        (554, "5.7.1", "Not allowed here", "policy"),
        (553, "", "What address is that?", "bad-address"),
        (535, "5.7.8", "Bad login", "login-failed"),
        (554, "5.4.14", "Hop count", "loop"),
        (500, "", "What?", "other"),
        (554, "", "Transaction failed", "other"),
        (554, "5.3.2", "No service", "host-takes-no-mail"),
        (521, "", "Host does not accept mail", "null-mx"),
        (554, "5.0.0", "<a@b>: Recipient address rejected: I would prefer not to", "other"),
        (550, "5.7.1", "<a@b>: Recipient address rejected: Greylisted", "greylisted"),
    ],
)
def test_cause(code: int, status: str, text: str, cause: str) -> None:
    assert cause_of(Reply(code, status, text)) == cause


def test_every_cause_it_gives_is_in_the_catalogue() -> None:
    subjects = ["", *(f"{a}.{b}" for a in range(8) for b in range(40))]
    for subject in subjects:
        for code in (421, 450, 500, 550, 599):
            status = f"{code // 100}.{subject}" if subject else ""
            assert cause_of(Reply(code, status, "")) in causes()
    for code in range(400, 600):
        assert cause_of(Reply(code, "", "")) in causes()


def test_every_cause_that_routes_and_relay_name_is_in_the_catalogue() -> None:
    named: set[str] = set()
    for room in ("resolve", "relay"):
        for file in (Path(estafeta.__file__).parent / room).glob("*.py"):
            named |= set(re.findall(r'(?:\)|reply), "([a-z]+-[a-z-]+)"', file.read_text()))
    assert {"host-unreachable", "dns-trouble", "null-mx", "reply-lost", "tls-required"} <= named
    assert named <= causes().keys()
