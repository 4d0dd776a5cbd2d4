"""Strangers: what greylisting and lists say of one, for an operator, by whatever way he asks."""

from __future__ import annotations

import ipaddress
from typing import Literal

import msgspec

from estafeta.deliver.lists import Allowed, Listed, Lists
from estafeta.deliver.visitor import Visitors
from estafeta.intake.networks import network_of
from estafeta.mail.address import AddressError, canonical_domain


class Looked(msgspec.Struct, frozen=True):
    """name: that the DNS confirms for the address, or ""; organisation: of that name. verdict: what
    port 25 would make of it. zone: the list that says so, "" for our settings. about: what is
    listed. reason: the list's own words."""

    address: str
    network: str
    name: str
    organisation: str
    verdict: Literal["listed", "allowed", "unlisted"]
    zone: str = ""
    about: str = ""
    reason: str = ""


async def look_up(visitors: Visitors, lists: Lists, address: str, domain: str) -> Looked:
    """address: of a client. domain: of a reverse-path, or "". Raises ValueError for no address."""
    visitor = await visitors.of(str(ipaddress.ip_address(address)))
    found = await lists.look(visitor, domain)
    who = (visitor.address, visitor.network, visitor.name, visitor.organisation)
    match found:
        case Listed():
            return Looked(*who, "listed", found.zone, found.about, found.reason)
        case Allowed():
            return Looked(*who, "allowed", found.zone)
        case _:
            return Looked(*who, "unlisted")


def who_of(text: str) -> str:
    """As `deliver.visitor` calls them: a network, that of an address, or an organisation's domain.
    Raises ValueError, whose text says what was expected."""
    try:
        return network_of(str(ipaddress.ip_address(text)))
    except ValueError:
        pass
    if "/" in text:
        return str(ipaddress.ip_network(text))
    try:
        return canonical_domain(text)
    except AddressError as wrong:
        raise ValueError(f"{text[:320]!r} is no address, network or domain: {wrong}") from wrong
