"""profile: what one SMTP or LMTP listener offers, and its capability lines.

Capability lines are those of RFC 5321 §4.1.1.1, in an order that does not change between runs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from estafeta.wire import limits

Role = Literal["mx", "submission", "lmtp"]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a session may do. size_max: octets of a message; counts are per session or message.

    auth_mechanisms: offered under TLS, and in the clear too where auth_without_tls says so.
    """

    role: Role
    host_name: str
    banner: str = "estafeta"
    size_max: int = limits.MESSAGE_OCTETS_MAX
    recipients_max: int = limits.RECIPIENTS_MAX
    errors_max: int = limits.ERRORS_MAX
    recipients_refused_max: int = limits.RECIPIENTS_REFUSED_MAX
    auth_failures_max: int = limits.AUTH_FAILURES_MAX
    tls_offered: bool = False
    auth_mechanisms: tuple[str, ...] = ()
    auth_without_tls: bool = False
    smtputf8: bool = True
    chunking: bool = True
    dsn: bool = True
    prdr: bool = False


@lru_cache(maxsize=256)
def capabilities(profile: Profile, *, tls: bool, authenticated: bool) -> tuple[str, ...]:
    """The lines behind the first one of a positive reply to EHLO or LHLO."""
    lines = ["PIPELINING", f"SIZE {profile.size_max}", "8BITMIME"]
    if profile.smtputf8:
        lines.append("SMTPUTF8")
    if profile.chunking:
        lines.append("CHUNKING")
    lines.append("ENHANCEDSTATUSCODES")
    if profile.dsn:
        lines.append("DSN")
    if profile.tls_offered and not tls:
        # RFC 3207 §4.2: not offered once TLS is active.
        lines.append("STARTTLS")
    if auth_offered(profile, tls=tls) and not authenticated:
        lines.append("AUTH " + " ".join(profile.auth_mechanisms))
    if profile.prdr:
        lines.append("PRDR")
    # RFC 9422 §4.
    lines.append(f"LIMITS RCPTMAX={profile.recipients_max}")
    lines.append("HELP")
    return tuple(lines)


def offered_commands(profile: Profile, *, tls: bool, authenticated: bool) -> tuple[str, ...]:
    """The commands that lead to something on this listener, now."""
    commands = ["LHLO"] if profile.role == "lmtp" else ["EHLO", "HELO"]
    commands += ["MAIL", "RCPT", "DATA"]
    if profile.chunking:
        commands.append("BDAT")
    commands += ["RSET", "NOOP", "VRFY", "HELP", "QUIT"]
    if profile.tls_offered and not tls:
        commands.append("STARTTLS")
    if auth_offered(profile, tls=tls) and not authenticated:
        commands.append("AUTH")
    return tuple(commands)


def auth_offered(profile: Profile, *, tls: bool) -> bool:
    """May AUTH be used now? RFC 4954 §4: no plaintext password without TLS."""
    return bool(profile.auth_mechanisms) and (tls or profile.auth_without_tls)
