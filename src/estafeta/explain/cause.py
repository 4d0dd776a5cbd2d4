"""cause: from one SMTP reply to a cause code of the catalogue.

The enhanced status decides first (RFC 3463, RFC 7372, IANA's registry), whole, then without its
class; where it says too little, a word of the text, then the code (RFC 5321 §4.2.3). Data, not
rules: a line is one fact about how servers speak.
"""

from __future__ import annotations

import re

from estafeta.mail.outcome import Reply

OTHER = "other"

_BY_STATUS = {
    "4.7.1": "greylisted",
    "4.7.0": "rate-limited",
    "4.3.1": "server-busy",
    "4.3.2": "server-busy",
    "5.3.2": "no-mail-host",
}
_BY_SUBJECT = {
    "1.1": "unknown-user",
    "1.2": "domain-not-found",
    "1.3": "bad-address",
    "1.6": "user-moved",
    "1.8": "sender-rejected",
    "1.10": "null-mx",
    "2.1": "mailbox-disabled",
    "2.2": "mailbox-full",
    "2.3": "message-too-large",
    "3.4": "message-too-large",
    "4.1": "host-unreachable",
    "4.2": "connection-lost",
    "4.3": "dns-trouble",
    "4.4": "no-mail-host",
    "4.5": "server-busy",
    "4.6": "loop",
    "4.7": "expired",
    "5.3": "too-many-recipients",
    "6.3": "content-conversion-needed",
    "6.7": "conversion-needed",
    "6.9": "content-conversion-needed",
    "7.4": "tls-required",
    "7.8": "login-failed",
    "7.10": "tls-required",
    "7.11": "tls-required",
    "7.20": "not-authenticated-mail",
    "7.21": "not-authenticated-mail",
    "7.22": "not-authenticated-mail",
    "7.23": "not-authenticated-mail",
    "7.24": "not-authenticated-mail",
    "7.25": "blocked-ip",
    "7.26": "not-authenticated-mail",
    "7.28": "rate-limited",
    "7.30": "tls-required",
}
_BY_WORD = (
    ("greylist", "greylisted"),
    ("graylist", "greylisted"),
    ("grey list", "greylisted"),
    ("sender address rejected", "sender-rejected"),  # Postfix
    ("not owned by user", "sender-rejected"),
    ("does not belong to account", "sender-rejected"),  # ours, of submission
    ("relay", "relay-denied"),
    ("attachment", "policy-attachment"),
    ("spam", "policy-content"),
)
_ADDRESS = re.compile(r"<[^<>\s]*>|\S+@\S+")
"""Taken out before words are looked for: an address may hold any of them."""

_VAGUE = frozenset(("", "0.0", "1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0", "7.1"))
_BY_CODE = {
    421: "server-busy",
    450: "server-busy",
    451: "server-busy",
    452: "server-busy",
    521: "no-mail-host",
    530: "login-failed",
    535: "login-failed",
    550: "unknown-user",
    551: "user-moved",
    552: "mailbox-full",
    553: "bad-address",
    556: "null-mx",
}


def cause_of(reply: Reply) -> str:
    """The cause code for a negative reply; "other" where it fits none."""
    subject = reply.status.partition(".")[2]
    if subject in _VAGUE:
        text = _ADDRESS.sub("", reply.text.lower())
        for word, cause in _BY_WORD:
            if word in text:
                return cause
    found = _BY_STATUS.get(reply.status) or _BY_SUBJECT.get(subject)
    if found:
        return found
    if subject in ("7.0", "7.1"):
        return "policy"
    return _BY_CODE.get(reply.code, OTHER)
