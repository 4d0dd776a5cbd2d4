"""standing: whether a host has time for us, asked before a connection and told after it.

What a host says of itself (no connection, 421, a greeting or a MAIL that says "not now", too many
connections) is the host's matter, the same for every message; what it says of a sender, a recipient
or a message is not. Who keeps the standings is handed to the relay; it knows it by shape only.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from estafeta.mail.outcome import Deferred, Outcome
from estafeta.resolve import Host

SMTP_PORT = 25
CROWDED = "too-many-connections"

_MESSAGE_CAUSES = frozenset(
    (
        *("greylisted", "sender-rejected", "bad-address", "not-authenticated-mail"),
        *("message-too-large", "policy-content", "policy-attachment", "too-many-recipients"),
    )
)
"""Causes of a MAIL that was turned down for what it is, not for who is busy."""


class Leave(Protocol):
    """Whether a connection may be opened; see queue.hosts."""

    @property
    def go(self) -> bool: ...
    @property
    def probe(self) -> bool: ...
    @property
    def why(self) -> Deferred | None: ...
    @property
    def since(self) -> int: ...
    @property
    def until(self) -> int: ...


class Gate(Protocol):
    """Who keeps the standings of hosts. After a leave to go one of the other three must follow."""

    async def ask(self, host: str) -> Leave: ...
    def opened(self, host: str) -> None: ...
    def failed(self, host: str, why: Deferred) -> None: ...
    def dropped(self, host: str) -> None: ...


class _Open(msgspec.Struct, frozen=True):
    go: bool = True
    probe: bool = False
    why: Deferred | None = None
    since: int = 0
    until: int = 0


class OpenGate:
    """Every host may be asked at any time."""

    async def ask(self, host: str) -> Leave:
        return _Open()

    def opened(self, host: str) -> None:
        return

    def failed(self, host: str, why: Deferred) -> None:
        return

    def dropped(self, host: str) -> None:
        return


class Seen(msgspec.Struct, frozen=True):
    """What an attempt saw of a host. failure: None where a probe was answered well."""

    host: str
    failure: Deferred | None


def standing_name(host: Host) -> str:
    """By which a host is known: its name, with the port where that is not the usual one."""
    port = host.addresses[0].port
    return host.name if port == SMTP_PORT else f"{host.name}:{port}"


def hosts_own(outcome: Outcome) -> Deferred | None:
    """The outcome, where a recipient's reply speaks of the host: 421 (RFC 5321 §3.8), or too many
    connections whatever the code."""
    if not isinstance(outcome, Deferred) or not outcome.reply.temporary:
        return None
    text = outcome.reply.text.lower()
    crowded = outcome.cause == CROWDED or ("too many" in text and "connection" in text)
    return outcome if crowded or outcome.reply.code == 421 else None


def turned_down(failure: Deferred) -> bool:
    """Whether a temporary reply to MAIL is about the host, not the message or its sender.

    RFC 3463: X.1.7 and X.1.8 are the sender's address, X.5.3 and X.6 this message.
    """
    subject = failure.reply.status.partition(".")[2]
    about_it = subject.startswith(("1.", "6.")) or subject == "5.3"
    return failure.reply.temporary and not about_it and failure.cause not in _MESSAGE_CAUSES
