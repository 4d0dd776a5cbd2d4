"""limits: how long the relay waits for others, and how much it tries in one attempt.

The waits are those of RFC 5321 §4.5.3.2; each covers the whole exchange it is named for, so that
a server that sends a byte now and then gains nothing.
"""

from __future__ import annotations

import msgspec

CONNECT_SECONDS = 30.0
"""TCP handshake with one address."""

CONNECT_STAGGER_SECONDS = 0.25
"""RFC 8305 §5: after so long without an answer the next address is tried beside the first."""

GREETING_SECONDS = 300.0
"""RFC 5321 §4.5.3.2.1."""

HELLO_SECONDS = 300.0
"""From EHLO to its reply; also for STARTTLS and AUTH."""

MAIL_SECONDS = 300.0
"""RFC 5321 §4.5.3.2.2."""

RCPT_SECONDS = 300.0
"""RFC 5321 §4.5.3.2.3."""

ENVELOPE_SECONDS_MAX = 1800.0
"""MAIL and all its RCPT together, however many."""

DATA_SECONDS = 120.0
"""RFC 5321 §4.5.3.2.4: from DATA to 354."""

BLOCK_SECONDS = 180.0
"""RFC 5321 §4.5.3.2.5: until a piece of the message (64 KiB) is taken."""

FINAL_SECONDS = 600.0
"""RFC 5321 §4.5.3.2.6: from the final dot to the reply."""

QUIT_SECONDS = 5.0
"""Nobody waits for this one; the connection is closed without an answer too."""

LEAVE_SECONDS = 0.5
"""At the end of the program: for the answers to all QUITs together."""

IDLE_SECONDS = 2.0
"""A connection is kept so long for the next message to the same host."""

IDLE_CONNECTIONS_MAX = 100
"""Connections kept for a next message, over all hosts; the longest idle one is left first."""

MESSAGES_PER_CONNECTION_MAX = 100
"""Then a connection is left and another made; LIMITS MAILMAX may say less (RFC 9422 §4.1)."""

RECIPIENTS_MAX = 100
"""Of one transaction, where the server says nothing: what it must take (RFC 5321 §4.5.3.1.8)."""

SESSIONS_PER_ATTEMPT_MAX = 6
"""Sessions begun in one attempt, over all hosts and addresses; the rest is the next attempt's."""

SMALL_OCTETS_MAX = 64 * 1024
"""A message up to this is sent in one write."""

HEADER_OCTETS_MAX = 1024 * 1024
"""Of a header, the octets in which something other than ASCII is looked for."""

PAUSE_OCTETS = 1024 * 1024
"""After so much of a long content has been looked through, others get their turn."""

REPLY_CHARACTERS_MAX = 2000
"""Of another server's reply, what is kept in outcomes and journeys."""

TOLD_CHARACTERS_MAX = 500
"""A note of our own up to this is kept with its values too, to be told in any language."""

NOTES_MAX = 100
"""Notes of one attempt; further ones are counted in the last."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds; for tests and slow links."""

    connect: float = CONNECT_SECONDS
    stagger: float = CONNECT_STAGGER_SECONDS
    greeting: float = GREETING_SECONDS
    hello: float = HELLO_SECONDS
    mail: float = MAIL_SECONDS
    rcpt: float = RCPT_SECONDS
    data: float = DATA_SECONDS
    block: float = BLOCK_SECONDS
    final: float = FINAL_SECONDS
    quit: float = QUIT_SECONDS
    idle: float = IDLE_SECONDS

    def at_most(self, seconds: float) -> Timeouts:
        """None of those that wait for the other side lasts longer; 0 leaves them as they are."""
        if not seconds:
            return self
        names = ("connect", "greeting", "hello", "mail", "rcpt", "data", "block", "final")
        return msgspec.structs.replace(
            self, **{name: min(getattr(self, name), seconds) for name in names}
        )
