"""ByDns: whether mail can go to a domain, as the DNS has it; no server is talked to."""

from __future__ import annotations

from collections.abc import Callable, Container

from estafeta.resolve.egress import EgressGuard
from estafeta.resolve.plan import RouteFailure, covers
from estafeta.resolve.resolver import Resolver
from estafeta.resolve.route import Router
from estafeta.world.seams import World


class ByDns:
    """routed: domains whose mail goes elsewhere than the DNS says, written as in
    resolve.plan.covers: it can go there. guard: which addresses mail is sent to."""

    def __init__(
        self,
        world: World,
        resolver: Resolver,
        *,
        routed: Callable[[], Container[str]],
        guard: EgressGuard,
    ) -> None:
        self._routed = routed
        self._router = Router(world, resolver, guard=guard)

    async def failing(self, domain: str) -> str:
        """A cause of the catalogue, "" where it can."""
        if covers(self._routed(), domain):
            return ""
        found = await self._router.route(domain)
        return found.outcome.cause if isinstance(found, RouteFailure) else ""
