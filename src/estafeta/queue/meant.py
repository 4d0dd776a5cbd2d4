"""Meant: for recipients that lead nowhere, the address the sender probably meant.

Looked up only where a refusal says that it may be a slip. People are named from the correspondence
of the account that sent the message, and to nobody else; nothing is named for what an alias stands
for, which the sender did not write (docs/decisions/0115).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from estafeta.explain.likely import DOMAIN_CAUSES, PERSON_CAUSES, likely
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Delivered, Outcome
from estafeta.queue.conceal import written_in
from estafeta.queue.limits import MEANT_INLINE_MAX, MEANT_MAX, MEANT_SECONDS_MAX
from estafeta.store.correspondents import correspondents, own_domains
from estafeta.store.engine import Store, StoreError, Tx
from estafeta.store.ids import queue_id
from estafeta.store.rows import Acceptance
from estafeta.world.seams import Cpu

log = structlog.get_logger("queue")


async def meant(
    store: Store,
    cpu: Cpu,
    acceptance: Acceptance,
    recipients: Sequence[Recipient],
    outcomes: Sequence[Outcome],
) -> Sequence[str]:
    """Parallel to recipients, "" where there is nothing to name; () where that is so for all."""
    if acceptance.origin == "alias" or not acceptance.reverse_path:
        return ()
    slips = _first([_slip(*each) for each in zip(recipients, outcomes, strict=True)])
    if not any(slips):
        return ()
    account = acceptance.account
    personal = any(slip and slip[1] in PERSON_CAUSES for slip in slips)
    if account is None and personal and not any(s and s[1] in DOMAIN_CAUSES for s in slips):
        return ()

    def unit(tx: Tx) -> tuple[list[str], list[str]]:
        known = [] if account is None else correspondents(tx, account, acceptance.reverse_path)
        return known, own_domains(tx)

    try:
        known, domains = await store.read(unit)
    except StoreError as error:
        # Not worth waiting for.
        log.warning("not looked up", queue_id=queue_id(acceptance.id), error=str(error))
        return ()
    if len(known) + len(domains) <= MEANT_INLINE_MAX:
        return _named(slips, known, domains)
    try:
        async with asyncio.timeout(MEANT_SECONDS_MAX):
            return await cpu.apart(_named, slips, known, domains)
    except TimeoutError:
        log.warning("not compared in time", queue_id=queue_id(acceptance.id))
        return ()


def _first(slips: Sequence[tuple[str, str] | None]) -> list[tuple[str, str] | None]:
    """Those that are looked up: who writes to many knows how an old list goes."""
    left = MEANT_MAX
    found: list[tuple[str, str] | None] = []
    for slip in slips:
        found.append(slip if left > 0 else None)
        left -= slip is not None
    return found


def _slip(recipient: Recipient, outcome: Outcome) -> tuple[str, str] | None:
    """(address, cause) where that may be the sender's slip."""
    if isinstance(outcome, Delivered) or outcome.cause not in DOMAIN_CAUSES | PERSON_CAUSES:
        return None
    written = written_in(recipient.orcpt) or recipient.address
    if written.lower() != recipient.address.lower():
        return None
    return recipient.address, outcome.cause


def _named(
    slips: Sequence[tuple[str, str] | None], known: list[str], domains: list[str]
) -> list[str]:
    """A long correspondence takes a tenth of a second for each."""
    return [
        likely(*slip, correspondents=known, domains=domains) if slip is not None else ""
        for slip in slips
    ]
