"""Nouns of a reading: what a report of any mail server says, in one form."""

from __future__ import annotations

from typing import Literal

import msgspec

from estafeta.explain.refusal import Refusal

Kind = Literal["bounce", "delay", "delivered", "feedback", "auto-reply", "other"]


class ReportedRecipient(Refusal, frozen=True, kw_only=True):
    """One recipient of a report. `address` is the one that was written to, as far as that is known.

    original_recipient, final_recipient: as RFC 3464 §2.3.1 and §2.3.2 mean them, without their
    type; "" where not said. last_attempt, will_retry_until: seconds since 1970, None where not
    said.
    """

    original_recipient: str = ""
    final_recipient: str = ""
    last_attempt: float | None = None
    will_retry_until: float | None = None


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """The message that a report concerns, as far as the report gives it back.

    message_id: with its angle brackets, or "". to: addresses of To and Cc. header: its octets, as
    they were returned; b"" where they were not.
    """

    message_id: str = ""
    subject: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    header: bytes = b""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one message says of the delivery of another.

    kind: "other" where it says nothing of it. mailer: the program or provider that wrote it, as
    `mailers.toml` names it, or "". reporting_mta, envid: of RFC 3464 §2.2, or "". arrival: when it
    had the message, seconds since 1970. feedback: Feedback-Type of RFC 5965, or "". wrapped:
    the report was found within another message, which somebody forwarded.
    """

    kind: Kind = "other"
    mailer: str = ""
    recipients: tuple[ReportedRecipient, ...] = ()
    reporting_mta: str = ""
    envid: str = ""
    arrival: float | None = None
    feedback: str = ""
    returned: Returned = Returned()
    wrapped: bool = False
