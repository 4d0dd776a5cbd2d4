"""Envelope: who a message is from and for, apart from what its header says (RFC 5321 §2.3.1).

Addresses are strings in canonical form: local part as written, "@", domain in lower case and as
A-labels (`mail.address.canonical`). The null reverse-path is "".
"""

from __future__ import annotations

import msgspec


class Recipient(msgspec.Struct, frozen=True):
    """One RCPT: the forward-path and the DSN wishes that came with it (RFC 3461 §4.1, §4.2).

    notify: subset of {"SUCCESS", "FAILURE", "DELAY"}, {"NEVER"}, or empty where nothing was said.
    orcpt: "type;address" still xtext-decoded, or "".
    """

    address: str
    notify: frozenset[str] = frozenset()
    orcpt: str = ""


class Envelope(msgspec.Struct, frozen=True):
    """One MAIL transaction. size: what SIZE declared, in octets, or 0 (RFC 1870)."""

    reverse_path: str
    recipients: tuple[Recipient, ...]
    smtputf8: bool = False
    eight_bit: bool = False
    size: int = 0
    ret: str = ""
    envid: str = ""
