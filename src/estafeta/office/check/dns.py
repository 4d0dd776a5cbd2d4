"""DNS: whether the servers that would be asked answer at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dns.exception
import dns.message
import dns.rcode

from estafeta.office.check.finding import Finding, error, ok, warning
from estafeta.resolve.transport import Malformed, Transport
from estafeta.world.seams import Endpoint, World

_TRIES = 2
"""A datagram may get lost on its way."""


async def check_dns(servers: Sequence[Endpoint], world: World, seconds: float) -> list[Finding]:
    """Asks each server for the root's name servers. seconds: of one try."""
    if not servers:
        return [error("DNS", "no server is known: none in [dns] servers nor /etc/resolv.conf")]
    transport = Transport(world)
    try:
        found = await asyncio.gather(*(_ask(transport, each, seconds) for each in servers))
    finally:
        await transport.close()
    if any(finding.level == "ok" for finding in found):
        # One that is down costs time; mail goes on by the others.
        return [warning(f.about, f.text) if f.level == "error" else f for f in found]
    return list(found)


async def _ask(transport: Transport, server: Endpoint, seconds: float) -> Finding:
    about = f"DNS {server}"
    trouble = f"no answer within {seconds:g} s"
    for _ in range(_TRIES):
        try:
            async with asyncio.timeout(seconds):
                answer = await transport.udp(dns.message.make_query(".", "NS"), server)
        except TimeoutError:
            continue
        except (OSError, Malformed, dns.exception.DNSException) as wrong:
            trouble = f"no answer: {str(wrong).lower() or type(wrong).__name__}"
            continue
        if answer.rcode() in (dns.rcode.REFUSED, dns.rcode.SERVFAIL):
            code = dns.rcode.to_text(answer.rcode())
            return warning(about, f"it answers {code}: does it look names up for this machine?")
        return ok(about, "answers")
    return error(about, trouble)
