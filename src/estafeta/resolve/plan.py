"""plan: the shapes of routing: where a domain's mail may go, or why it cannot."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Literal

import msgspec

from estafeta.mail.outcome import Deferred, Looped, Refused
from estafeta.world.seams import Endpoint

TlsMode = Literal["may", "require", "verify", "implicit", "none"]
"""may: when offered; require: always, any certificate; verify: always, chain and name must hold;
implicit: as verify, from the first byte on (RFC 8314 §3.3, port 465); none: in the clear."""


class Host(msgspec.Struct, frozen=True):
    """One server. name: of the MX, for SNI and for the records. preference: as in the MX.

    addresses: in the order of trying, never empty.
    """

    name: str
    preference: int
    addresses: tuple[Endpoint, ...]


class Credentials(msgspec.Struct, frozen=True):
    """A login at a smarthost. clear: may be shown without TLS (for a trusted network)."""

    user: str
    password: str
    clear: bool = False


class RouteNote(msgspec.Struct, frozen=True):
    """Something of the way that the journey and the log should say."""

    text: str
    data: dict[str, str | int | float | bool]


class Route(msgspec.Struct, frozen=True):
    """Hosts in the order in which they are tried (RFC 5321 §5.1). ttl: seconds it holds.

    tls: None leaves it to the relay's own setting. authenticated: every answer had the AD bit.
    """

    hosts: tuple[Host, ...]
    notes: tuple[RouteNote, ...] = ()
    lmtp: bool = False
    tls: TlsMode | None = None
    credentials: Credentials | None = None
    ttl: float = 0.0
    authenticated: bool = False


class RouteFailure(msgspec.Struct, frozen=True):
    """No way: what becomes of the recipients."""

    outcome: Deferred | Refused | Looped
    notes: tuple[RouteNote, ...] = ()


class StaticRoute(msgspec.Struct, frozen=True):
    """The administrator's word on a domain's next hosts, in order.

    hosts: (name or IP address, port). Names are resolved by A and AAAA, never by MX.
    """

    hosts: tuple[tuple[str, int], ...]
    lmtp: bool = False
    tls: TlsMode | None = None
    credentials: Credentials | None = None


def patterns(domain: str) -> Iterator[str]:
    """What an entry of a table may say to mean `domain`, the most exact first: itself, then
    ".example.org" for all below it, the longest first."""
    yield domain
    at = domain.find(".")
    while at != -1:
        yield domain[at:]
        at = domain.find(".", at + 1)


def covers(names: Container[str], domain: str) -> bool:
    """Whether one of `names`, written so, means `domain`."""
    return any(pattern in names for pattern in patterns(domain))


class StaticRoutes:
    """A table: "example.org" is that domain, ".example.org" all below it, "*" all others.

    The exact entry wins, then the longest suffix, then "*".
    """

    __slots__ = ("_table",)

    def __init__(self, table: dict[str, StaticRoute]) -> None:
        self._table = {pattern.lower(): route for pattern, route in table.items()}

    def find(self, domain: str) -> StaticRoute | None:
        table = self._table
        if not table:
            return None
        for pattern in patterns(domain):
            found = table.get(pattern)
            if found is not None:
                return found
        return table.get("*")
