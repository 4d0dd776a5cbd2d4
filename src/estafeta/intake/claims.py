"""Claims: what reports from outside say of messages of ours.

Promises: a report changes no fate; what it says is an event of the message it concerns, written in
the very unit that accepts the report, and moves its sender's copies where it is proven. It is
*proven* only where the report brings back the token of ENVID, which servers alone have seen; every
reader of a message knows its Message-ID. Whatever the report is, its own acceptance goes on, at
most CLAIM_SECONDS_MAX later: reading happens in another process.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import msgspec
import structlog

from estafeta.explain.reading import Reading, ReportedRecipient
from estafeta.explain.reading.limits import REPORT_OCTETS_MAX
from estafeta.explain.refusal import Verdict
from estafeta.explain.verdicts import read_and_judge
from estafeta.intake.limits import (
    CLAIM_CANDIDATES_MAX,
    CLAIM_NAME_CHARACTERS_MAX,
    CLAIM_SECONDS_MAX,
    CLAIM_TEXT_CHARACTERS_MAX,
    CLAIMS_MAX,
)
from estafeta.intake.prepared import Incoming
from estafeta.mail.protocols import Meter
from estafeta.store import ledger, tracker, trail
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.ledger import ALL_RECIPIENTS, Entry
from estafeta.store.messages import Text
from estafeta.store.rows import Acceptance
from estafeta.store.tokens import Tokens
from estafeta.world.seams import World

FROM_OUTSIDE = frozenset({"smtp", "lmtp"})
KINDS = frozenset({"bounce", "delay", "delivered", "feedback"})
EVENT = "claim"
_MOVING = frozenset({"bounce", "delivered"})

_DAEMON = re.compile(
    rb"mailer[- ]?daemon|postmaster|mail delivery|complaint about message from|sns\.amazonaws"
)
"""In ENVELOPE: whoever reports without multipart/report is called so, or writes such a Subject."""

log = structlog.get_logger("claims")


class Claim(msgspec.Struct, frozen=True):
    """One event. n: the recipient, or ALL_RECIPIENTS where the report names none of the message's.

    report: queue id of the report. by: what led to the message: "envid" and "message-id" a token of
    ours, "returned" the Message-ID of what was returned, "recipient" who wrote to whom. text: the
    server's words.
    """

    id: int
    n: int
    report: str
    kind: str
    by: str
    address: str
    cause: str
    permanent: bool
    status: str = ""
    code: int = 0
    text: str = ""
    host: str = ""
    mailer: str = ""

    @property
    def proven(self) -> bool:
        return self.by == "envid"


class Claims:
    """Finds the message that a report concerns."""

    def __init__(
        self, *, store: Store, ids: Ids, tokens: Tokens, world: World, meter: Meter
    ) -> None:
        self._store = store
        self._ids = ids
        self._tokens = tokens
        self._world = world
        self._meter = meter

    async def of(self, incoming: Incoming, text: Text | None) -> PreparedClaims | None:
        """What the message says of one of ours; None where it says nothing, or cannot be read.

        text: what the store keeps of it, where it has been looked at.
        """
        if incoming.origin not in FROM_OUTSIDE or not may_be_report(incoming, text):
            return None
        try:
            async with asyncio.timeout(CLAIM_SECONDS_MAX):
                octets = incoming.body.read(0, REPORT_OCTETS_MAX)
                reading, judged = await self._world.cpu.apart(read_and_judge, octets, CLAIMS_MAX)
                if reading.kind not in KINDS or reading.wrapped:
                    return None
                found = await self._concerned(reading, incoming)
            if found is None:
                return None
            acceptance, by, entries = found
            claims = [
                self._claim(incoming, reading, by, entries, *each)
                for each in zip(reading.recipients, judged, strict=True)
            ]
            msgspec.json.encode(claims)  # what cannot be written is not to fail in the unit
            row = await self._store.read(lambda tx: ledger.acceptance(tx, acceptance))
        except Exception as error:
            # A report that is not understood is mail like any other.
            log.warning(
                "report not read",
                queue_id=queue_id(incoming.id),
                error=f"{type(error).__name__}: {error}",
            )
            return None
        at = int(self._world.clock.now() * 1000)
        return PreparedClaims(row, at, claims, self._meter)

    async def _concerned(
        self, reading: Reading, incoming: Incoming
    ) -> tuple[int, str, list[Entry]] | None:
        """(acceptance, what led there, its recipients); the surer ways first."""
        identifier = reading.returned.message_id
        named = await self._tokens.read(reading.envid, "envid")
        by = "envid"
        if named is None:
            named, by = await self._tokens.read(identifier, "message-id"), "message-id"
        addressees = {r.address.lower() for r in incoming.envelope.recipients}
        reported = {each.lower() for r in reading.recipients for each in _addresses(r)} - {""}

        def look(tx: Tx) -> tuple[int, str, list[Entry]] | None:
            if named is not None and ledger.find_acceptance(tx, named) is not None:
                return named, by, ledger.entries(tx, named)
            if identifier:
                for id in trail.sent_as(tx, identifier, CLAIM_CANDIDATES_MAX):
                    entries = ledger.entries(tx, id)
                    path = ledger.acceptance(tx, id).reverse_path.lower()
                    if path in addressees or _known(entries, reported):
                        return id, "returned", entries
                return None
            for address in sorted(addressees):
                for id in trail.newest(tx, address, CLAIM_CANDIDATES_MAX):
                    entries = ledger.entries(tx, id)
                    path = ledger.acceptance(tx, id).reverse_path.lower()
                    if path == address and _known(entries, reported):
                        return id, "recipient", entries
            return None

        return await self._store.read(look)

    def _claim(
        self,
        incoming: Incoming,
        reading: Reading,
        by: str,
        entries: Sequence[Entry],
        recipient: ReportedRecipient,
        verdict: Verdict,
    ) -> Claim:
        return Claim(
            id=self._ids.next(),
            n=_number(entries, recipient),
            report=queue_id(incoming.id),
            kind=_kind_of(reading, recipient),
            by=by,
            address=recipient.address[:CLAIM_NAME_CHARACTERS_MAX],
            cause=verdict.cause,
            permanent=verdict.permanent,
            status=recipient.status,
            code=recipient.code,
            text=recipient.text[:CLAIM_TEXT_CHARACTERS_MAX],
            host=(recipient.host or reading.reporting_mta)[:CLAIM_NAME_CHARACTERS_MAX],
            mailer=reading.mailer,
        )


class PreparedClaims:
    """Events that are ready. See queue.contract.Prepared."""

    def __init__(
        self, acceptance: Acceptance, at: int, claims: Sequence[Claim], meter: Meter
    ) -> None:
        self._acceptance = acceptance
        self._at = at
        self._meter = meter
        self.id = acceptance.id
        self.claims = claims
        # Of those that move its sender's copies.
        self._moving = [
            claim
            for claim in claims
            if claim.proven and claim.kind in _MOVING and claim.n != ALL_RECIPIENTS
        ]
        account = acceptance.account if self._moving else None
        self.accounts: Sequence[int] = () if account is None else (account,)

    def apply(self, tx: Tx) -> None:
        for claim in self.claims:
            detail = msgspec.to_builtins(claim)
            del detail["id"], detail["n"]
            detail["proven"] = claim.proven
            ledger.add_event(tx, claim.id, self.id, self._at, claim.n, EVENT, detail)
        for claim in self._moving:
            tracker.prove(tx, self._acceptance, claim.n, failed=claim.kind == "bounce")
        if self._moving:
            tracker.follow(tx, self._acceptance)

    def committed(self) -> None:
        for claim in self.claims:
            proven = "yes" if claim.proven else "no"
            self._meter.count("estafeta_claims_total", kind=claim.kind, proven=proven)
            log.info(
                "a report says",
                queue_id=queue_id(self.id),
                report=claim.report,
                kind=claim.kind,
                by=claim.by,
                cause=claim.cause,
            )

    def abandoned(self) -> None: ...

    def doubted(self) -> None: ...


def may_be_report(incoming: Incoming, text: Text | None) -> bool:
    """A cheap look, at all mail: no return address, or something that few others have."""
    if not incoming.envelope.reverse_path:
        return True
    if text is None:
        return False
    if b'"report"' in text.basic.lower():  # multipart/report (RFC 6522)
        return True
    return _DAEMON.search(text.envelope.lower()) is not None


def _kind_of(reading: Reading, recipient: ReportedRecipient) -> str:
    """A report may say different things of different recipients."""
    kinds = {"failed": "bounce", "delayed": "delay", "delivered": "delivered"}
    return kinds.get(recipient.action, reading.kind)


def _addresses(recipient: ReportedRecipient) -> tuple[str, str, str]:
    return recipient.address, recipient.original_recipient, recipient.final_recipient


def _known(entries: Sequence[Entry], reported: set[str]) -> bool:
    return any(not reported.isdisjoint(_names(entry)) for entry in entries)


def _number(entries: Sequence[Entry], recipient: ReportedRecipient) -> int:
    """Which of the message's recipients this is; the only one there is, whatever it is called."""
    reported = {each.lower() for each in _addresses(recipient)} - {""}
    for entry in entries:
        if not reported.isdisjoint(_names(entry)):
            return entry.n
    return entries[0].n if len(entries) == 1 else ALL_RECIPIENTS


def _names(entry: Entry) -> set[str]:
    return {
        entry.recipient.address.lower(),
        entry.recipient.orcpt.partition(";")[2].lower(),
    } - {""}
