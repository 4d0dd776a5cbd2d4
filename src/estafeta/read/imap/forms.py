"""forms: flags and dates between the store's form and IMAP's."""

from __future__ import annotations

import time
from functools import lru_cache

from estafeta.store import flags as bits
from estafeta.wire.imap.commands import Flags
from estafeta.wire.imap.responses import date_time

_BITS = {
    "seen": bits.SEEN,
    "answered": bits.ANSWERED,
    "flagged": bits.FLAGGED,
    "deleted": bits.DELETED,
    "draft": bits.DRAFT,
}
SYSTEM_FLAGS = b"\\Answered \\Flagged \\Deleted \\Seen \\Draft"
OUR_KEYWORDS = " ".join(bits.OURS).encode("ascii")


def bit(name: str) -> int:
    """Of a system flag, lower case without backslash."""
    return _BITS[name]


def to_store(flags: Flags) -> tuple[int, frozenset[str]]:
    """(bits, keywords); what the server alone says is left out (RFC 3501 §7.1 PERMANENTFLAGS)."""
    value = 0
    for name in flags.system:
        value |= _BITS[name]
    return value, bits.of_clients(flags.keywords)


@lru_cache(maxsize=4096)
def flag_list(flags: int, keywords: str, recent: bool) -> bytes:
    """The parenthesised list of FLAGS."""
    names = bits.names(flags, keywords)
    if recent:
        names.append("\\Recent")
    return f"({' '.join(names)})".encode("ascii")


def internal_date(at: int) -> bytes:
    """at: ms since 1970 UTC."""
    t = time.gmtime(at // 1000)
    return date_time(t.tm_year, t.tm_mon, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec)
