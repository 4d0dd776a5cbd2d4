"""Inspector: looks through messages as they come in, beside other work or apart.

Promises: a message in which nothing can lie costs microseconds; what may take longer than 2 ms is
looked at in another process; the answer comes within `INSPECT_SECONDS_MAX`, or it is Late.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import BrokenExecutor
from functools import lru_cache

import structlog

from estafeta.deliver.policy.budget import Budget
from estafeta.deliver.policy.finding import Finding, Late, Verdict
from estafeta.deliver.policy.headers import cost, refused_by_header
from estafeta.deliver.policy.inspect import inspect, look
from estafeta.deliver.policy.limits import (
    HEADER_RULE_OCTETS_MAX,
    INSPECT_SECONDS_MAX,
    INSPECTED_AT_ONCE,
    READ_PIECE_OCTETS,
    SMALL_OCTETS_MAX,
    UNPACKED_OCTETS_MAX_INLINE,
)
from estafeta.deliver.policy.plain import plain_type
from estafeta.deliver.policy.rules import Effective
from estafeta.deliver.policy.types import types
from estafeta.mail.message.fields import header_end
from estafeta.mail.protocols import Meter
from estafeta.store.bodies import Body, bring
from estafeta.world.seams import World

log = structlog.get_logger("policy")

_FILES_MAX_INLINE = 100
_STEPS_MAX_INLINE = 4_000_000
"""Instructions of all expressions times octets they search: a millisecond or two at the worst."""


class Inspector:
    """That of one process."""

    def __init__(self, world: World, meter: Meter) -> None:
        self._world = world
        self._meter = meter
        self._places = asyncio.Semaphore(INSPECTED_AT_ONCE)

    async def look(self, body: Body, rules: Effective) -> Verdict:
        """What keeps the message out, None where nothing does. Raises StoreError: it does not lie
        near, and cannot be brought."""
        if not rules.looks:
            return None
        found = self._at_once(body, rules)
        if isinstance(found, Late):
            found = await self._apart(body, rules)
        if found is not None:
            self._meter.count(
                "policy_findings", kind="late" if isinstance(found, Late) else found.kind
            )
        return found

    def _at_once(self, body: Body, rules: Effective) -> Verdict:
        """Late: it takes longer than that."""
        if rules.size_max and body.size > rules.size_max:
            return Finding("size")
        data = body.data
        if data is None:
            return Late()
        if rules.headers:
            steps = cost(rules.headers) * min(header_end(data), HEADER_RULE_OCTETS_MAX)
            if steps > _STEPS_MAX_INLINE:
                return Late()
        plain = plain_type(data)
        if plain:
            return _plain(data, plain, rules)
        if len(data) > SMALL_OCTETS_MAX:
            return Late()
        return look(
            data, rules, Budget(UNPACKED_OCTETS_MAX_INLINE, _FILES_MAX_INLINE), patient=False
        )

    async def _apart(self, body: Body, rules: Effective) -> Verdict:
        self._meter.count("policy_inspections_apart")
        try:
            async with asyncio.timeout(INSPECT_SECONDS_MAX), self._places:
                return await self._world.cpu.apart(inspect, await _read(body), rules)
        except TimeoutError:
            log.warning("a message was not looked through in time", octets=body.size)
        except BrokenExecutor:
            log.error("a message could not be looked through: the process died", octets=body.size)
        return Late()


@lru_cache(maxsize=256)
def _entry(blocked: tuple[str, ...], type: str) -> str:
    return types(blocked).match((), type, b"")


def _plain(data: bytes, type: str, rules: Effective) -> Finding | None:
    """A message that is one text and nothing else."""
    if entry := _entry(rules.blocked_types, type):
        return Finding("type", type=entry)
    return refused_by_header(data[: header_end(data)], rules.headers) if rules.headers else None


async def _read(body: Body) -> bytearray:
    """All of it, in pieces, that others may go on between them."""
    await bring(body)
    found = bytearray()
    for at in range(0, body.size, READ_PIECE_OCTETS):
        found += body.read(at, min(at + READ_PIECE_OCTETS, body.size))
        await asyncio.sleep(0)
    return found
