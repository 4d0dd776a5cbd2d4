"""Self-checks: how each fault of our own set-up is looked for, with what the settings say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from estafeta.explain.faults import Checked, Fault
from estafeta.office.assemble import Installation
from estafeta.office.self_check_tls import check_tls
from estafeta.queue.parked import is_seen
from estafeta.resolve import Found
from estafeta.resolve.ourselves import (
    block_list,
    greeting,
    reverse_dns,
    sender_dns,
    sender_domain,
)


async def check_fault(installation: Installation, fault: Fault, about: str) -> Checked:
    """Does not raise for what DNS and network do. about: as in queue.parked.Parking."""
    ask = installation.resolver.query
    parts = about.split()
    match fault.check:
        case "tls":
            return await check_tls(installation)
        case "greeting":
            name = _hello_name(installation)
            return await greeting(ask, name, parts[0] if parts else "")
        case "sender-domain":
            return await sender_domain(ask, parts[0] if parts else _hello_name(installation))
        case "block-list":
            if len(parts) < 2:
                return Checked(None, "list-unknown", {"address": about})
            return await block_list(ask, parts[0], parts[1])
        case "sender-dns":
            # Without a sender it is the greeting's name that counts (RFC 7208 §2.4).
            domain, *known = parts or [_hello_name(installation)]
            return await _all(
                known or await own_addresses(installation),
                lambda address: sender_dns(ask, domain, address),
            )
        case "reverse-dns":
            return await _all(
                parts or await own_addresses(installation),
                lambda address: reverse_dns(ask, address),
            )


async def own_addresses(installation: Installation) -> Sequence[str]:
    """From which others see us come: what is set, what this machine has, or, behind a translation
    of addresses, what the DNS says of our name."""
    relay = installation.config.relay
    known = [each for each in (relay.source_ipv4, relay.source_ipv6) if each]
    seen = [each for each in known or installation.outside.own_addresses if is_seen(each)]
    if seen:
        return seen
    named: list[str] = []
    for rdtype in ("A", "AAAA"):
        answer = await installation.resolver.query(_hello_name(installation), rdtype)
        if isinstance(answer, Found):
            named += [str(record.address) for record in answer.records]  # type: ignore[attr-defined]
    return named


async def _all(addresses: Sequence[str], check: Callable[[str], Awaitable[Checked]]) -> Checked:
    """What fails goes before what cannot be told, and that before what holds."""
    found = [await check(address) for address in addresses]
    if not found:
        return Checked(None, "address-unknown")
    return min(found, key=lambda each: {False: 0, None: 1, True: 2}[each.holds])


def _hello_name(installation: Installation) -> str:
    config = installation.config
    return config.relay.hello_name or config.server.hostname
