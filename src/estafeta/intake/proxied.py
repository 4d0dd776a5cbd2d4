"""Proxied: who is behind a proxy, by the PROXY protocol, before anything else is said.

Promises: only from networks that the listener names is a header taken, and from these it must
come; what is no header, or does not come in time, is cut with a line in the log and no reply.
After it the connection's peer is the client: in limits, networks, Received and the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from estafeta.intake.limits import PROXY_HEADER_SECONDS
from estafeta.intake.networks import Network, within
from estafeta.wire.proxy import ProxyError, ProxyHeader, read_header
from estafeta.world.seams import Endpoint, Handler, Stream

log = structlog.get_logger("proxy")


def proxied(handler: Handler, networks: Sequence[Network]) -> Handler:
    """`handler`, for a listener at which the proxies of `networks` connect."""

    async def admit(stream: Stream) -> None:
        if not within(stream.peer.host, networks) or await introduced(stream):
            await handler(stream)

    return admit if networks else handler


async def introduced(stream: Stream) -> bool:
    """Takes the header that must come first; False, and cut, where it does not."""
    data = b""
    try:
        async with asyncio.timeout(PROXY_HEADER_SECONDS):
            while (header := read_header(data)) is None:
                more = await stream.read()
                if not more:
                    raise ProxyError("the connection ended before the header")
                data += more
    except (ProxyError, ConnectionError, TimeoutError) as error:
        # Who only looks whether the port is open says nothing: that is no trouble.
        say = log.warning if data else log.debug
        say("proxy refused", proxy=str(stream.peer), reason=str(error) or "no header in time")
        stream.abort()
        return False
    _introduce(stream, header, data[header.octets :])
    return True


def _introduce(stream: Stream, header: ProxyHeader, rest: bytes) -> None:
    peer, local = stream.peer, stream.local
    if header.source is not None and header.destination is not None:
        peer, local = Endpoint(*header.source), Endpoint(*header.destination)
    stream.introduce(peer, local, rest)
