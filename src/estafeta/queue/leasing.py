"""Leasing: which rows become jobs next, chosen and loaded within one unit of work.

Promises: of each destination no more than it has places for; a probe only of who is due for one;
one message whose body or record is lost does not keep the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice

import msgspec

from estafeta.queue import backoff, rows, wish
from estafeta.queue.errand import Job
from estafeta.queue.flow import Flow
from estafeta.queue.lately import Lately
from estafeta.store import ledger
from estafeta.store.bodies import Bodies, BodyMissing
from estafeta.store.engine import Tx

LEASE_DESTINATIONS_MAX = 20  # looked at in one unit


class Unloadable(msgspec.Struct):
    """Leased rows whose message is not there. why: for the log."""

    acceptance: int
    why: str


Found = list[Job | Unloadable]


class Term(msgspec.Struct, frozen=True):
    """now, until: of the leases, milliseconds. tokens: one for each. recipients: in one at most."""

    now: int
    until: int
    tokens: Sequence[int]
    recipients: int


class Leasing:
    """What is leased under the places that `flow` has. lately: what need not be read."""

    def __init__(self, flow: Flow, bodies: Bodies, lately: Lately) -> None:
        self._flow = flow
        self._bodies = bodies
        self._lately = lately

    def due(self, tx: Tx, term: Term, *, full: Collection[str]) -> Found:
        """What is due, of every destination but these."""
        most = LEASE_DESTINATIONS_MAX
        probes = backoff.probes_due(tx, term.now, term.until, most, full)
        found = [(name, probe, 1) for probe, name in probes]
        names = rows.due_destinations(tx, term.now, most, full)
        found += [(name, "", self._flow.places(name)) for name in names]
        return self._lease(tx, term, found)

    def returning(self, tx: Tx, term: Term) -> Found:
        """What is due to be returned, and nothing else."""
        return self._lease(tx, term, [(rows.RETURNING, "", self._flow.places(rows.RETURNING))])

    def _lease(self, tx: Tx, term: Term, found: Sequence[tuple[str, str, int]]) -> Found:
        """found: destination, the host it probes, places."""
        tokens = iter(term.tokens)
        jobs: Found = []
        for name, probe, places in found:
            wish.grant_due(tx, name, term.now)
            leases = rows.lease(
                tx,
                name,
                now=term.now,
                until=term.until,
                tokens=list(islice(tokens, places)),
                recipients_max=term.recipients,
                probe=probe,
            )
            if probe and not leases:
                backoff.settle(tx, probe)
            jobs.extend(self.load(tx, leased) for leased in leases)
        return jobs

    def load(self, tx: Tx, leased: rows.Leased) -> Job | Unloadable:
        """The job of rows that are leased."""
        kept = self._lately.find(leased.acceptance)
        if kept is not None:
            recipients = [kept.recipients[n] for n in leased.numbers]
            return Job(leased, kept.acceptance, recipients, kept.content, fresh=True)
        try:
            acceptance = ledger.acceptance(tx, leased.acceptance)
            recipients = [ledger.recipient(tx, leased.acceptance, n) for n in leased.numbers]
            content = self._bodies.content(tx, acceptance.body)
        except (BodyMissing, KeyError) as error:
            return Unloadable(leased.acceptance, str(error))
        return Job(leased, acceptance, recipients, content)
