"""Checkers of what several workers on one store could do to each other.

Seen from outside, as by `checkers`: who connected, what was asked twice at once, and what programs
that sit in a mailbox were told, by whichever worker serves them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from .checkers import JITTER, Evidence, base, is_asked_again_at_once, process_of, tries_of
from .installation import RETRY
from .names import INSTALLATIONS, MACHINE_OF
from .observer import Asked, Handover
from .readers import Watched

HEARD_SECONDS = 0.5
"""After the 250 for a delivery reached its client, whoever is in IDLE has heard of it."""

SHAKEN_SECONDS = 5.0
"""A session that was served by a worker that died, or stopped, so long before need not hear."""


def check_shared(evidence: Evidence) -> list[str]:
    found: list[str] = []
    for check in (
        one_at_a_time,
        idle_sessions_hear,
        all_is_told,
        uids_rise,
        recent_once,
    ):
        found += check(evidence)
    return found


def one_at_a_time(evidence: Evidence) -> Iterable[str]:
    """No worker tries a recipient while another does, nor before its time has come again."""
    for (_, address), tries in tries_of(evidence).items():
        if is_asked_again_at_once(address):
            continue
        for this, following in pairwise(tries):
            first = process_of(this)
            if first == process_of(following):
                continue
            if evidence.failing(first, this.at - SHAKEN_SECONDS, following.at):
                continue  # what it held was passed on
            if following.at < _end(evidence, this, following.at) + RETRY[0] * JITTER:
                yield (
                    f"{address} was tried by {first} at {this.at:.3f}, "
                    f"by {process_of(following)} at {following.at:.3f}"
                )


def _end(evidence: Evidence, asked: Asked, following: float) -> float:
    """Of the attempt in which it was asked. following: when it was asked again."""
    ends = [asked.replied_at or asked.at]
    ends += [
        handover.replied_at or handover.at
        for handover in evidence.observer.handovers
        if handover.process == asked.process
        and asked.address in handover.recipients
        and asked.at <= handover.at < following
    ][:1]
    return max(ends)


def idle_sessions_hear(evidence: Evidence) -> Iterable[str]:
    """Of a delivery, whichever worker took it."""
    for handover in _deliveries(evidence):
        assert handover.replied_at is not None
        until = handover.replied_at + HEARD_SECONDS
        for account in sorted(set(_accounts(handover))):
            for session in evidence.watched:
                if session.account != account or not _attends(
                    evidence, session, handover.at, until
                ):
                    continue
                if not any(handover.at <= at <= until for at, _ in session.heard):
                    yield (
                        f"{account} was not told in IDLE at {session.process} of letter "
                        f"{handover.letter}, taken by {handover.served_by} at {handover.at:.3f}"
                    )


def _accounts(handover: Handover) -> Iterable[str]:
    """Of the installation that took it."""
    domain = INSTALLATIONS[MACHINE_OF[handover.server]].name
    for recipient in handover.recipients:
        if recipient.endswith(f"@{domain}"):
            yield base(recipient)


def _deliveries(evidence: Evidence) -> Iterable[Handover]:
    """Those of a letter that came once only: one that comes again may be known already."""
    came = Counter((handover.letter, handover.server) for handover in evidence.observer.handovers)
    for handover in evidence.observer.handovers:
        once = came[handover.letter, handover.server] == 1
        if once and handover.server in MACHINE_OF and handover.code == 250:
            yield handover


def _attends(evidence: Evidence, session: Watched, since: float, until: float) -> bool:
    if session.began > since - 1 or session.ended < until + 1:
        return False
    shaken = since - SHAKEN_SECONDS
    deaths = evidence.deaths[session.process]
    return not (
        any(shaken <= death <= until for death in deaths)
        or evidence.stopped(session.process, shaken, until)
    )


def all_is_told(evidence: Evidence) -> Iterable[str]:
    """In the end every session knows of every message."""
    for session in evidence.watched:
        there = [uid for uid, _ in evidence.uids.get(session.account, ())]
        lasts = session.ended == math.inf and session.began < evidence.end - SHAKEN_SECONDS
        if lasts and session.uids != there:
            yield (
                f"{session.account} knows of {len(session.uids)} messages at {session.process}, "
                f"of {len(there)}"
            )


def uids_rise(evidence: Evidence) -> Iterable[str]:
    """Uids and modseqs were given out in the order in which they became visible, each once."""
    for session in evidence.watched:
        if any(this >= following for this, following in pairwise(session.uids)):
            yield f"{session.account} was shown uids that do not rise: {session.uids}"
    for account, arrivals in evidence.uids.items():
        for (uid, modseq), (next_uid, following) in pairwise(arrivals):
            if modseq >= following:
                yield f"{account}: uid {uid} has modseq {modseq}, uid {next_uid} has {following}"
    validities = defaultdict(set)
    for session in evidence.watched:
        validities[session.account].add(session.validity)
    for account, several in validities.items():
        if len(several) > 1:
            yield f"{account} was shown {len(several)} values of UIDVALIDITY"


def recent_once(evidence: Evidence) -> Iterable[str]:
    """A message is \\Recent to one session, where its worker lived to write it down."""
    shown: dict[tuple[str, int], list[Watched]] = defaultdict(list)
    for session in evidence.watched:
        if not session.read_only:
            for uid in session.recent:
                shown[session.account, uid].append(session)
    for (account, uid), sessions in shown.items():
        first = sessions[0]
        deaths = evidence.deaths[first.process]
        if len(sessions) > 1 and not any(first.began < death for death in deaths):
            yield f"{account}: uid {uid} was \\Recent {len(sessions)} times"
