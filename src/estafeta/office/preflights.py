"""Preflights: `compose.preflight` over an installation, or over the store alone for a command; and
what it found in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from estafeta.compose.by_dns import ByDns
from estafeta.compose.preflight import Found, Preflight, Verdict
from estafeta.deliver.directory import LocalDirectory
from estafeta.explain.causes import cause
from estafeta.explain.words import say
from estafeta.office.config import Config
from estafeta.resolve.egress import EgressGuard
from estafeta.resolve.resolver import Resolver
from estafeta.store.buckets import Buckets
from estafeta.store.engine import Store
from estafeta.store.outcomes import Last
from estafeta.world.seams import World


class Told(msgspec.Struct, frozen=True):
    """Of one address, in words. recipient: as it was given; address: its canonical form, or "".
    cause: why it is not fine, of the catalogue of causes. suggestion: the address that was probably
    meant. last: of the asker's own last message to it. text: all of that for a person."""

    recipient: str
    address: str
    verdict: Verdict
    cause: str
    suggestion: str
    last: Last | None
    text: str


def preflight(
    config: Config,
    world: World,
    store: Store,
    resolver: Resolver,
    rates: Buckets,
    drains: Callable[[], Iterable[str]],
) -> Preflight:
    """drains: domains that are drained to another host at the time."""

    def routed() -> set[str]:
        return {each.domain.lower() for each in config.relay.routes} | set(drains())

    by_dns = ByDns(world, resolver, routed=routed, guard=EgressGuard(config.relay.allow_networks))
    return Preflight(
        store=store,
        cpu=world.cpu,
        failing=by_dns.failing,
        directory=LocalDirectory(postmaster=config.server.postmaster).look_up,
        rates=rates,
    )


def told(found: Sequence[Found], language: str) -> list[Told]:
    return [
        Told(
            recipient=each.recipient,
            address=each.address,
            verdict=each.verdict,
            cause=each.cause,
            suggestion=each.suggestion,
            last=each.last,
            text=_text(each, language),
        )
        for each in found
    ]


def _text(found: Found, language: str) -> str:
    parts = []
    if found.cause:
        words = cause(found.cause).in_words(language, address=found.address or found.recipient)
        if found.verdict == "doubtful":
            parts.append(say("preflight.came-back", language, why=words.title))
        else:
            parts += [f"{words.title}.", words.explanation]
    elif found.verdict == "doubtful" and not found.suggestion:
        parts.append(say("preflight.came-back-somehow", language))
    if found.suggestion:
        parts.append(say("likely.did-you-mean", language, address=found.suggestion))
    return " ".join(parts) or say("preflight.fine", language)
