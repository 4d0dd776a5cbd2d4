"""Refusal: what a server said of one recipient, and what that comes to. Nouns, shared by who reads
reports of other servers (`reading`) and who judges them (`judge`).
"""

from __future__ import annotations

import msgspec


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said of one recipient, as far as it is known."""

    code: int = 0
    """SMTP reply code (RFC 5321 §4.2); 0 unknown."""
    status: str = ""
    """Enhanced status "x.y.z" (RFC 3463); "" unknown."""
    text: str = ""
    """The server's words, decoded, without code and status."""
    host: str = ""
    """Who said it; "" unknown or ourselves."""
    mailer: str = ""
    """The program or provider that wrote the report ("postfix", "exchange", "gmail"…)."""
    command: str = ""
    """The SMTP command it answered ("RCPT", "DATA"…); "" unknown."""
    action: str = ""
    """Action of RFC 3464 §2.3.3: "failed", "delayed"…; "" unknown."""
    address: str = ""
    """The recipient."""


class Verdict(msgspec.Struct, frozen=True):
    """What a refusal comes to."""

    cause: str
    """A code of the catalogue."""
    permanent: bool
    """The class of RFC 3463 §3.1 is 5: trying again as it is will not help."""
    hard: bool
    """This address or domain will never take mail. Not a full mailbox, nor a blocked sender."""
    rule: str
    """The piece of knowledge that decided."""
