"""Checkers: what must hold of every run, whatever went wrong in it.

They judge by what was seen from outside: the letters' clients, the peers' own records, the observer
on the wire, and the mailboxes. Each returns sentences; none means that it holds.

What each would miss alone: `nothing_vanishes` a message given to the wrong person besides the right
one, and a bounce for what arrived (`nobody_else_gets_it` and `failures_are_true` see those);
`duplicates_are_excused` a loss; both of them a wrong order in time, which the audits during the run
see; `failures_have_a_reason` a refusal repeated for ever, which `the_plan_is_kept` sees. What two
workers on one store do to each other and these do not see is in `checkers_shared`.
"""

from __future__ import annotations

import email
import email.policy
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from estafeta.queue.runner import LEASE_SECONDS, RENEW_SECONDS

from .installation import GIVE_UP_SECONDS, RETRY
from .letters import (
    Letter,
    failed_addresses,
    failed_recipients,
    number_of,
    returned_number,
)
from .names import INSTALLATIONS, MACHINE_OF, NOWHERE, PEOPLE_ADDRESS
from .observer import Asked, Handover, Observer
from .peers import Peer
from .readers import Watched

SETTLE_SECONDS = 5.0
"""A machine that dies so soon after it heard a reply may not have it in its store."""

REMEMBERED_SECONDS = 14 * 60.0
"""Within it a submission that comes again is recognised (the promise says 15 minutes)."""

LATE_SECONDS = 1000.0
"""Over the give-up time: the last attempt may wait for a mute server."""

OVERTAKEN_SECONDS = LEASE_SECONDS - RENEW_SECONDS
"""Stopped for so long, a worker may have lost its leases, and another have taken its jobs."""

JITTER = 0.89
_UNIQUE = re.compile(r"^[rxf]\d+\.\d")

_LEADS_NOWHERE = frozenset(
    alias
    for domain in INSTALLATIONS.values()
    for alias, target in domain.aliases
    if target.rpartition("@")[2] in NOWHERE
)


@dataclass(slots=True)
class Evidence:
    """All that is known at the end of a run.

    boxes: address of an account -> its INBOX. deaths: process -> moments. double_bounces: letters
    of which some installation's ledger says that a recipient was dropped as a double bounce.
    reports: bounces that reached their sender. pauses: process -> from when to when it was stopped.
    watched: sessions of those who sat in an INBOX. uids: account -> (uid, modseq of its arrival).
    end: when all this was looked at.
    """

    letters: Sequence[Letter]
    observer: Observer
    peers: Sequence[Peer]
    boxes: Mapping[str, Sequence[bytes]]
    deaths: Mapping[str, Sequence[float]]
    double_bounces: frozenset[int] = frozenset()
    reports: list[bytes] = field(default_factory=list)
    pauses: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    watched: Sequence[Watched] = ()
    uids: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    end: float = math.inf
    _copies: Counter[tuple[str, int]] = field(default_factory=Counter)
    _failed: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    _lost: dict[int, list[Handover]] = field(default_factory=lambda: defaultdict(list))
    _lost_by_client: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        senders = {letter.number: letter.sender for letter in self.letters}
        for account, messages in self.boxes.items():
            for message in messages:
                number = number_of(message)
                if number is not None:
                    self._copies[account, number] += 1
                    continue
                about = returned_number(message)
                if about is not None and is_told(account, senders.get(about, "")):
                    self._failed[about] |= failed_addresses(message)
                    self.reports.append(message)
        for peer in self.peers:
            for taken in peer.taken:
                if taken.letter is not None:
                    for recipient in set(taken.recipients):
                        self._copies[recipient, taken.letter] += 1
                    continue
                about = returned_number(taken.octets)
                if about is not None and senders.get(about) in taken.recipients:
                    self._failed[about] |= failed_addresses(taken.octets)
                    self.reports.append(taken.octets)
        self._weigh_handovers()

    def copies(self, place: str, letter: int) -> int:
        """place: an account's address, or a recipient at a peer."""
        return self._copies[place, letter]

    def arrived(self) -> list[tuple[str, int]]:
        """(place, letter) of every copy that arrived anywhere."""
        return sorted(self._copies)

    def failed(self, letter: int) -> set[str]:
        """Recipients of which the sender was told that they failed."""
        return self._failed[letter]

    def excuses(self, letter: int, place: str) -> int:
        """How often an installation may not know that it handed the letter on to `place`."""
        return sum(
            any(place in places(address) for address in handover.recipients)
            for handover in self._lost[letter]
        )

    def client_excuses(self, letter: int) -> int:
        """How often its client may have handed it in twice, unrecognised."""
        return self._lost_by_client[letter]

    def _weigh_handovers(self) -> None:
        by_client: dict[int, list[Handover]] = defaultdict(list)
        for handover in self.observer.handovers:
            refused = handover.replied_at and handover.code // 100 != 2
            if handover.letter is None or (refused and not self._may_come_back(handover)):
                continue
            if handover.client == PEOPLE_ADDRESS:
                by_client[handover.letter].append(handover)
            elif refused or self.forgotten(handover) or self.overtaken(handover):
                self._lost[handover.letter].append(handover)
        for number, handovers in by_client.items():
            for this, following in pairwise(handovers):
                late = following.at - this.at > REMEMBERED_SECONDS
                unknown = this.replied_at is None or this.code // 100 != 2
                # A worker that was stopped accepts what its client had long handed to another.
                asleep = self.stopped(this.served_by, this.at, following.at)
                if unknown and (late or asleep or this.port == 25):
                    self._lost_by_client[number] += 1

    def _may_come_back(self, handover: Handover) -> bool:
        """Refused because its COMMIT could not be synced. Its frames are in SQLite's log, and if
        the machine dies before others overwrite them, its next life takes them for committed."""
        deaths = self.deaths.get(MACHINE_OF.get(handover.server, ""), ())
        return handover.code // 100 == 4 and any(death > handover.at for death in deaths)

    def forgotten(self, handover: Handover) -> bool:
        """Whoever handed it over may not know that he did."""
        if handover.replied_at is None:
            return True
        process = process_of(handover)
        end = handover.replied_at + SETTLE_SECONDS
        # While it is stopped it notes nothing, and may die so.
        end += sum(to - since for since, to in self.pauses.get(process, ()) if since < end < to)
        deaths = self.deaths[process]
        return any(handover.at <= death < end for death in deaths)

    def overtaken(self, handover: Handover) -> bool:
        """Whoever handed it over may have lost his lease before: he was stopped for too long in
        the middle of it, or in what came before and went on after."""
        end = (handover.replied_at or math.inf) + SETTLE_SECONDS
        return any(
            to - since > OVERTAKEN_SECONDS and since < end and handover.at < to + LATE_SECONDS
            for since, to in self.pauses.get(process_of(handover), ())
        )

    def stopped(self, process: str, since: float, to: float) -> bool:
        """Whether it was at any moment from `since` to `to`."""
        return any(begin < to and end > since for begin, end in self.pauses.get(process, ()))

    def upset(self, machine: str, since: float, to: float) -> bool:
        """Whether a worker of the machine died, or was stopped for too long, from since to to."""
        return any(
            self.failing(process, since, to)
            for process in self.deaths
            if process.partition("/")[0] == machine
        )

    def failing(self, process: str, since: float, to: float) -> bool:
        """The same of one worker: another may have taken its jobs."""
        return any(since <= death <= to for death in self.deaths[process]) or any(
            begin < to and end > since and end - begin > OVERTAKEN_SECONDS
            for begin, end in self.pauses.get(process, ())
        )


def process_of(seen: Handover | Asked) -> str:
    """Of the installation's that connected; a machine's first process has its machine's name."""
    return seen.process or MACHINE_OF[seen.client]


def base(address: str) -> str:
    """The account of a subaddress."""
    local, _, domain = address.partition("@")
    return f"{local.partition('+')[0]}@{domain}"


def is_told(account: str, sender: str) -> bool:
    """Whether a report about a letter of that sender is the account's: who has no return address is
    the postmaster's."""
    return base(sender) == account if sender else account.startswith("postmaster@")


def _is_last_resort(account: str, sender: str) -> bool:
    """The postmaster gets a report that a sender elsewhere could not get."""
    ours = {domain.name for domain in INSTALLATIONS.values()}
    return account.startswith("postmaster@") and sender.rpartition("@")[2] not in ours


def places(address: str) -> tuple[str, ...]:
    """Where a recipient's copies end: accounts, or the address itself at somebody else's."""
    domain = next((d for d in INSTALLATIONS.values() if address.endswith(f"@{d.name}")), None)
    if domain is None:
        return (address,)
    plain = base(address)
    if plain.partition("@")[0] in domain.people:
        return (plain,)
    targets = [target for alias, target in domain.aliases if alias == plain]
    return tuple(place for target in targets for place in places(target))


def check_all(evidence: Evidence) -> list[str]:
    found: list[str] = []
    for check in (
        nothing_vanishes,
        duplicates_are_excused,
        nobody_else_gets_it,
        octets_are_intact,
        failures_are_true,
        failures_have_a_reason,
        the_plan_is_kept,
        refusals_are_right,
    ):
        found += check(evidence)
    return found


def nothing_vanishes(evidence: Evidence) -> Iterable[str]:
    """What was answered 250 lies in a mailbox, at a peer, or the sender was told."""
    for letter in evidence.letters:
        for recipient in sorted(letter.acknowledged):
            told = recipient in evidence.failed(letter.number)
            dropped = not letter.sender and letter.number in evidence.double_bounces
            if not places(recipient) and not told and not dropped:
                yield f"letter {letter.number} to {recipient}: nobody's address, no bounce"
            for place in places(recipient):
                if not evidence.copies(place, letter.number) and not told and not dropped:
                    yield f"letter {letter.number} to {recipient} vanished on its way to {place}"


def duplicates_are_excused(evidence: Evidence) -> Iterable[str]:
    """Two copies only where a reply was lost, or a machine died before it could note it."""
    for letter in evidence.letters:
        ways = Counter(place for each in letter.recipients for place in places(each))
        for place, count in ways.items():
            most = count * (1 + evidence.client_excuses(letter.number))
            most *= 1 + evidence.excuses(letter.number, place)
            copies = evidence.copies(place, letter.number)
            if copies > most:
                yield f"letter {letter.number} is {copies} times at {place}, {most} at most"


def nobody_else_gets_it(evidence: Evidence) -> Iterable[str]:
    """A letter lies only where its recipients lead, a report only with its letter's sender."""
    meant = {
        letter.number: {place for each in letter.recipients for place in places(each)}
        for letter in evidence.letters
    }
    senders = {letter.number: letter.sender for letter in evidence.letters}
    for place, number in evidence.arrived():
        if place not in meant.get(number, ()):
            yield f"letter {number} came to {place}, for whom it was not"
    for account, messages in evidence.boxes.items():
        for message in messages:
            about = returned_number(message)
            if about is not None and number_of(message) is None:
                sender = senders[about]
                if not is_told(account, sender) and not _is_last_resort(account, sender):
                    yield f"{account} got a report about letter {about} of {sender}"


def octets_are_intact(evidence: Evidence) -> Iterable[str]:
    """Every copy ends in the letter's own octets, after header fields of those who carried it."""
    letters = {letter.number: letter for letter in evidence.letters}
    for account, messages in evidence.boxes.items():
        for message in messages:
            yield from _intact(f"{account}:", message, letters, b"Return-Path: ", True)
    for peer in evidence.peers:
        for taken in peer.taken:
            where = f"{', '.join(taken.recipients)}:"
            yield from _intact(where, taken.octets, letters, b"Received: ", peer.manner.eight_bit)


def _intact(
    where: str, message: bytes, letters: Mapping[int, Letter], begin: bytes, eight_bit: bool
) -> Iterable[str]:
    number = number_of(message)
    if number is None:
        if returned_number(message) not in letters:
            yield f"{where} a message that is no letter and no report: {message[:80]!r}"
        return
    letter = letters[number]
    if eight_bit or not letter.eight_bit:
        added = message[: len(message) - len(letter.octets)]
        if not message.endswith(letter.octets):
            yield f"{where} letter {number} arrived changed: {_difference(message, letter.octets)}"
        elif not added.startswith(begin) or not added.endswith(b"\r\n") or b"\r\n\r\n" in added:
            yield f"{where} letter {number} has {added[:200]!r} before it"
    elif not message.isascii():
        yield f"{where} letter {number} has octets above 127, which were not asked for"
    elif _text(message) != _text(letter.octets):
        yield f"{where} letter {number} says something else after its conversion to 7 bit"


def _difference(message: bytes, wanted: bytes) -> str:
    body = message[message.find(b"\r\n\r\n") :]
    own = wanted[wanted.find(b"\r\n\r\n") :]
    at = next((n for n, (a, b) in enumerate(zip(body, own, strict=False)) if a != b), len(own))
    near = slice(max(0, at - 10), at + 20)
    return f"{len(body)} for {len(own)} octets, first at {at}: {body[near]!r} for {own[near]!r}"


def _text(message: bytes) -> str:
    parsed = email.message_from_bytes(message, policy=email.policy.SMTP)
    payload = parsed.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n").rstrip("\n")


def failures_are_true(evidence: Evidence) -> Iterable[str]:
    """Nobody is told of the failure of what arrived, but where its reply was lost."""
    for letter in evidence.letters:
        twice = evidence.client_excuses(letter.number)
        for recipient in sorted(evidence.failed(letter.number)):
            where = places(recipient)
            if len(where) != 1 or (base(recipient) != where[0] and recipient != where[0]):
                continue
            arrived = evidence.copies(where[0], letter.number)
            if arrived and not evidence.excuses(letter.number, where[0]) and not twice:
                yield f"letter {letter.number} arrived at {recipient}, and was returned"


def failures_have_a_reason(evidence: Evidence) -> Iterable[str]:
    """Returned is what was refused for good, what leads nowhere, and what became too old."""
    refused = {asked.address for asked in evidence.observer.asked if asked.code >= 500}
    for handover in evidence.observer.handovers:
        if handover.code >= 500:
            refused.update(handover.recipients)
    for report in evidence.reports:
        for address, age in failed_recipients(report):
            domain = address.rpartition("@")[2]
            lasting = domain in NOWHERE or address in _LEADS_NOWHERE or address in refused
            turned_away = domain == "refuser.example"  # 554 in place of its greeting
            if not lasting and not turned_away and age < GIVE_UP_SECONDS * JITTER:
                yield f"{address} was returned after {age:.0f} s, and nobody had refused it"


def the_plan_is_kept(evidence: Evidence) -> Iterable[str]:
    """Nothing is tried again sooner than planned, after a refusal, or after it was given up."""
    ends: dict[tuple[str, str], float] = {}
    for handover in evidence.observer.handovers:
        ours = handover.client in MACHINE_OF
        if ours and handover.code >= 500 and not evidence.forgotten(handover):
            for address in handover.recipients:
                ends.setdefault((handover.client, address), handover.replied_at or 0.0)
    accepted = {letter.number: letter.acknowledged_at for letter in evidence.letters}
    for (machine, address), all_of_it in tries_of(evidence).items():
        begun = accepted[number_for(address)]
        for asked in all_of_it:
            late = LATE_SECONDS
            if begun and evidence.upset(machine, begun, asked.at):
                late += LEASE_SECONDS
            if begun and asked.at > begun + GIVE_UP_SECONDS + late:
                yield f"{address} was tried at {asked.at:.0f}, accepted at {begun:.0f}"
        for this, following in pairwise(all_of_it):
            at = this.replied_at
            if at is None or evidence.upset(machine, this.at, following.at):
                continue
            end = ends.get((this.client, address))
            if this.code >= 500 or (end is not None and following.at > end):
                yield f"{address} was refused at {at:.0f} and tried again at {following.at:.0f}"
            too_soon = following.at - at < RETRY[0] * JITTER and this.server == following.server
            if this.code // 100 == 4 and too_soon and not is_asked_again_at_once(address):
                yield f"{address} was deferred at {at:.1f}, tried again at {following.at:.1f}"


def tries_of(evidence: Evidence) -> dict[tuple[str, str], list[Asked]]:
    """By machine and recipient; of recipients of one letter, which was handed in once."""
    tries = defaultdict(list)
    for asked in evidence.observer.asked:
        if asked.client in MACHINE_OF and _UNIQUE.match(asked.address):
            number = number_for(asked.address)
            if not evidence.client_excuses(number):  # handed in anew, it begins anew
                tries[MACHINE_OF[asked.client], asked.address].append(asked)
    return tries


def number_for(address: str) -> int:
    """Of the letter that has this recipient, as no other does."""
    return int(re.findall(r"\d+", address)[0])


def is_asked_again_at_once(address: str) -> bool:
    """Its server takes few recipients in one message."""
    return address.endswith("@picky.example")


def refusals_are_right(evidence: Evidence) -> Iterable[str]:
    """Of those that a client was refused, none was good."""
    for letter in evidence.letters:
        for recipient in sorted(letter.refused):
            ours = recipient.endswith(f"@{letter.machine}.example")
            if (letter.port != 25 and not ours) or (ours and places(recipient)):
                yield f"letter {letter.number}: {recipient} was refused for good"
