"""Feedback: what a recipient's provider says a recipient said of a message (RFC 5965)."""

from __future__ import annotations

import re

import msgspec

from estafeta.explain.reading.forms import ADDRESS
from estafeta.explain.reading.letter import Letter, fields_of
from estafeta.explain.reading.limits import FIELDS_MAX, RECIPIENTS_MAX, STATUS_OCTETS_MAX
from estafeta.explain.reading.status import host_of
from estafeta.mail.dates import parse_date
from estafeta.mail.message.fields import pairs
from estafeta.mail.words import decode_text

_ADDRESS = re.compile(ADDRESS)
_KIND = re.compile(r"[a-z][a-z-]{1,40}")
_COMPLAINT = re.compile(r"\Acomplaint about message from \S+", re.IGNORECASE)


class Feedback(msgspec.Struct):
    """kind: Feedback-Type in lower case. reporter: its User-Agent or Reporting-MTA."""

    kind: str
    recipients: list[str]
    reporter: str = ""
    host: str = ""
    envid: str = ""
    arrival: float | None = None


def read_feedback(letter: Letter) -> Feedback | None:
    """The feedback in a letter, or None: also that of providers which send the message alone."""
    for octets in letter.feedback:
        found = _of_fields(octets[:STATUS_OCTETS_MAX])
        if found is not None:
            return found
    if letter.report == "feedback-report" and letter.returned:
        return Feedback(kind="abuse", recipients=_reported(letter))
    if _COMPLAINT.match(letter.header("subject").strip()) and letter.enclosed:  # Hotmail's JMRP
        return Feedback(kind="abuse", recipients=_reported(letter))
    return None


def _of_fields(octets: bytes) -> Feedback | None:
    found = Feedback(kind="", recipients=[])
    removed: list[str] = []
    for name, value in pairs(octets)[:FIELDS_MAX]:
        text = decode_text(value)
        key = name.lower()
        if key == b"feedback-type":
            match = _KIND.search(text.lower())
            found.kind = found.kind or (match[0] if match is not None else "other")
        elif key == b"original-rcpt-to":
            found.recipients += _ADDRESS.findall(text)[:RECIPIENTS_MAX]
        elif key in (b"removal-recipient", b"redacted-address"):
            removed += _ADDRESS.findall(text)[:RECIPIENTS_MAX]
        elif key == b"reporting-mta":
            found.reporter = found.reporter or host_of(text)
        elif key == b"user-agent":
            found.reporter = found.reporter or text[:200]
        elif key == b"source-ip":
            found.host = found.host or text[:64]
        elif key == b"original-envelope-id":
            found.envid = found.envid or text[:200]
        elif key in (b"arrival-date", b"received-date"):
            found.arrival = found.arrival or parse_date(text)
    found.recipients = list(dict.fromkeys(found.recipients or removed))[:RECIPIENTS_MAX]
    return found if found.kind else None


def _reported(letter: Letter) -> list[str]:
    """Who complained, by what providers add to the message that they hand on."""
    fields = fields_of(letter.returned)
    value = fields.get(b"x-hmxmroriginalrecipient", b"")
    return _ADDRESS.findall(decode_text(value))[:RECIPIENTS_MAX]
