"""reverse: the name of an address that holds both ways (RFC 8601 §2.7.3, "iprev").

The owner of an address may give it any name; only the owner of the name can say that it is right.
Does not raise. `ask` is `Resolver.query`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

import msgspec

from estafeta.mail.address import AddressError, canonical_domain
from estafeta.resolve.answer import Answer, Found, Trouble
from estafeta.resolve.limits import NAMES_OF_ADDRESS_MAX

Ask = Callable[[str, str], Awaitable[Answer]]


class Reverse(msgspec.Struct, frozen=True):
    """name: that leads back to the address, "" for none, without the final dot. Of several the
    first of the alphabet: servers shuffle them, and an address should have the same name tomorrow.

    claimed: the names that PTR gave, up to `name`. trouble: the DNS did not say, so that none may
    be a matter of time.
    """

    name: str = ""
    claimed: tuple[str, ...] = ()
    trouble: Trouble | None = None


async def confirmed_name(ask: Ask, address: str) -> Reverse:
    """Asks at most `NAMES_OF_ADDRESS_MAX` + 1 questions. Raises ValueError for no IP address."""
    ip = ipaddress.ip_address(address)
    answer = await ask(ip.reverse_pointer, "PTR")
    if isinstance(answer, Trouble):
        return Reverse(trouble=answer)
    if not isinstance(answer, Found):
        return Reverse()
    claimed: list[str] = []
    trouble: Trouble | None = None
    names = {str(record.target).rstrip(".").lower() for record in answer.records}  # type: ignore[attr-defined]
    for name in sorted(names)[:NAMES_OF_ADDRESS_MAX]:
        claimed.append(name)
        forward = await ask(name, "A" if ip.version == 4 else "AAAA")
        if isinstance(forward, Trouble):
            trouble = forward
        elif _is_host(name) and _leads_to(forward, ip):
            return Reverse(name, tuple(claimed))
    return Reverse(claimed=tuple(claimed), trouble=trouble)


def _leads_to(answer: Answer, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(answer, Found) and any(
        ipaddress.ip_address(record.address) == ip  # type: ignore[attr-defined]
        for record in answer.records
    )


def _is_host(name: str) -> bool:
    """The DNS allows octets in names that have no place in a log, a header or a page."""
    try:
        return canonical_domain(name) == name
    except AddressError:
        return False
