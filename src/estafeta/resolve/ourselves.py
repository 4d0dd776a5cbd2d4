"""ourselves: what the DNS says of us: what other servers look up about who sends to them.

Each check ends in a `Checked` and does not raise; where the DNS gives no answer it says that it
cannot be told. `ask` is `Resolver.query`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

from estafeta.explain.faults import Checked, removal_at
from estafeta.resolve.answer import Answer, Found, Trouble
from estafeta.resolve.reverse import confirmed_name
from estafeta.resolve.spf import spf_result

Ask = Callable[[str, str], Awaitable[Answer]]

_ERRORS = ipaddress.ip_network("127.255.255.0/24")
"""Answers by which lists say that they do not serve us."""
_LISTED = ipaddress.ip_network("127.0.0.0/8")  # RFC 5782 §2.1


async def reverse_dns(ask: Ask, address: str) -> Checked:
    """The address has a name (PTR), and that name this address (RFC 1912 §2.1)."""
    found = await confirmed_name(ask, address)
    if found.name:
        return Checked(True, "reverse-holds", {"address": address, "name": found.name})
    if found.trouble is not None:
        pointer = ipaddress.ip_address(address).reverse_pointer
        return _trouble(found.trouble, found.claimed[0] if found.claimed else pointer)
    if not found.claimed:
        return Checked(False, "no-ptr", {"address": address})
    names = ", ".join(found.claimed)
    return Checked(False, "ptr-not-confirmed", {"address": address, "name": names})


async def block_list(ask: Ask, address: str, zone: str) -> Checked:
    """The list does not hold the address (RFC 5782 §2.1, §2.4)."""
    reversed_ = ipaddress.ip_address(address).reverse_pointer.rsplit(".", 2)[0]
    answer = await ask(f"{reversed_}.{zone}", "A")
    data = {"address": address, "zone": zone, "removal": removal_at(zone)}
    if isinstance(answer, Trouble):
        return _trouble(answer, zone)
    if not isinstance(answer, Found):
        return Checked(True, "not-listed", data)
    codes = [ipaddress.ip_address(record.address) for record in answer.records]  # type: ignore[attr-defined]
    if any(code in _LISTED and code not in _ERRORS for code in codes):
        return Checked(False, "listed", data)
    return Checked(None, "list-unwilling", data)


async def greeting(ask: Ask, name: str, address: str) -> Checked:
    """The name we greet with has this address (RFC 5321 §4.1.4). address: "" for any."""
    found: list[str] = []
    for rdtype in ("A", "AAAA"):
        answer = await ask(name, rdtype)
        if isinstance(answer, Trouble):
            return _trouble(answer, name)
        if isinstance(answer, Found):
            found += [str(ipaddress.ip_address(r.address)) for r in answer.records]  # type: ignore[attr-defined]
    data = {"name": name, "address": address or ", ".join(found)}
    if not found:
        return Checked(False, "greeting-nowhere", data)
    if address and address not in found:
        return Checked(False, "greeting-elsewhere", data)
    return Checked(True, "greeting-holds", data)


async def sender_domain(ask: Ask, domain: str) -> Checked:
    """The domain exists, and takes mail: it can be answered to (RFC 7505 §4.2)."""
    for rdtype in ("MX", "A", "AAAA"):
        answer = await ask(domain, rdtype)
        if isinstance(answer, Trouble):
            return _trouble(answer, domain)
        if not isinstance(answer, Found):
            continue
        if rdtype == "MX" and all(_text(r.exchange) == "" for r in answer.records):  # type: ignore[attr-defined]
            break
        return Checked(True, "sender-found", {"domain": domain})
    return Checked(False, "sender-nowhere", {"domain": domain})


async def sender_dns(ask: Ask, domain: str, address: str) -> Checked:
    """The SPF record of the domain lets the address send for it."""
    result = await spf_result(ask, domain, address)
    data = {"domain": domain, "address": address}
    match result:
        case "pass":
            return Checked(True, "spf-passes", data)
        case "none":
            return Checked(False, "spf-missing", data)
        case "temperror":
            return Checked(None, "spf-unknown", data)
        case _:
            return Checked(False, "spf-fails", {**data, "result": result})


def _trouble(trouble: Trouble, name: str) -> Checked:
    return Checked(None, "dns-trouble", {"name": name, "why": trouble.text})


def _text(name: object) -> str:
    return str(name).rstrip(".").lower()
