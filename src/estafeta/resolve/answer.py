"""answer: what the DNS said, told apart the way mail needs it (RFC 2308 §2, RFC 5321 §5.1)."""

from __future__ import annotations

from typing import Literal

import msgspec
from dns.rdata import Rdata

TroubleKind = Literal["servfail", "timeout", "refused", "bogus", "chain", "name"]


class Found(msgspec.Struct, frozen=True):
    """Records of the type asked for. ttl: seconds they may still be used.

    authenticated: the AD bit, as trustworthy as the server and the way to it (RFC 6840 §5.8).
    chain: names that were aliases, the one asked for first; canonical_name: whose records these
    are. Names are lower case, without the final dot. server: who answered.
    """

    records: tuple[Rdata, ...]
    ttl: float
    authenticated: bool
    canonical_name: str
    chain: tuple[str, ...]
    server: str


class NameNotFound(msgspec.Struct, frozen=True):
    """NXDOMAIN: the name, or what it is an alias of, does not exist."""

    ttl: float
    authenticated: bool
    server: str


class NoData(msgspec.Struct, frozen=True):
    """The name exists, records of this type do not."""

    ttl: float
    authenticated: bool
    server: str


class Trouble(msgspec.Struct, frozen=True):
    """No answer that says anything about the name; to be asked again later.

    kind: servfail, timeout, refused; bogus: an answer that makes no sense; chain: aliases without
    end; name: it cannot be asked for at all (label or name too long).
    """

    kind: TroubleKind
    text: str
    ttl: float = 0.0
    server: str = ""


Answer = Found | NameNotFound | NoData | Trouble
