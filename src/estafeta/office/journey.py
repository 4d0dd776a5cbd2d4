"""Journey: the seven steps of one message, in a person's language, from what the store knows.

Pure: `tell` turns a `Story` into steps with texts; showing them is the command's. The other side's
words are given as they are. Steps 1 to 3 are the message's, 4 to 7 each recipient's; whether
somebody has read it is nobody's business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal

import msgspec

from estafeta.explain.causes import cause
from estafeta.explain.faults import Checked, faults
from estafeta.explain.words import DEFAULT_LANGUAGE, say, say_note, texts
from estafeta.office.times import shown_time
from estafeta.queue.rows import RETURNING
from estafeta.queue.suspended import Suspension
from estafeta.store.ids import queue_id
from estafeta.store.journey import Event, Waits
from estafeta.store.journey import Journey as Known
from estafeta.store.ledger import ALL_RECIPIENTS, Entry
from estafeta.store.rows import (
    FAULT_HELD,
    Cancelled,
    Dropped,
    Duplicate,
    Expanded,
    Fate,
    Relayed,
    Returned,
    Stored,
)

State = Literal["done", "waiting", "failed", "skipped"]
BY_HAND = frozenset({"retry", "hold", "release", "cancel", "correct"})
DNS_NOTES = frozenset({"dns"})
UNPARKED = "unparked"
CLAIM = "claim"
_CLAIMED = ("report", "kind", "address", "cause", "host")
SMTP_NOTES = frozenset({"connect", "tls", "auth", "mail", "reply"})


class Story(msgspec.Struct, frozen=True):
    """What the store knows of one acceptance.

    author, written: From and Date of its header, "" and None where unknown. login: address of the
    account that submitted it. places: (account, mailbox) -> address and mailbox name, for those
    that still exist. suspensions: by destination, those that keep its recipients waiting.
    tracker: what its sender's copies say (store/tracker.py), "" where nobody here submitted it.
    copies: names of the mailboxes in which they are. account: who is told, where that is not
    administration: of other people's mailboxes nothing is said.
    """

    known: Known
    author: str = ""
    written: int | None = None
    login: str = ""
    places: dict[tuple[int, int], str] = {}
    suspensions: dict[str, Suspension] = {}
    tracker: str = ""
    copies: tuple[str, ...] = ()
    account: int | None = None


class Step(msgspec.Struct, frozen=True):
    """One of the seven. at: milliseconds since 1970, or None. lines: what there is to say."""

    number: int
    name: str
    state: State
    at: int | None
    lines: tuple[str, ...]


class Way(msgspec.Struct, frozen=True):
    """One recipient: steps 4 to 7, and how it ended. fate: "open" or its name in the ledger.

    suggestion: the address that was probably meant, or "". claims: what reports from outside say of
    it, whatever is true.
    """

    recipient: str
    fate: str
    ending: str
    cause: str
    steps: tuple[Step, ...]
    suggestion: str = ""
    claims: tuple[str, ...] = ()


class Journey(msgspec.Struct, frozen=True):
    """The whole, JSON-able.

    claims: those that name none of its recipients. tracker: as in `Story`.
    """

    queue_id: str
    origin: str
    parent: str
    children: tuple[str, ...]
    steps: tuple[Step, ...]
    recipients: tuple[Way, ...]
    claims: tuple[str, ...] = ()
    tracker: str = ""


def tell(story: Story, language: str) -> Journey:
    """The journey in words."""
    told = _Teller(story, language)
    acceptance = story.known.acceptance
    return Journey(
        queue_id=queue_id(acceptance.id),
        origin=acceptance.origin,
        parent=queue_id(acceptance.parent) if acceptance.parent else "",
        children=tuple(child.queue_id for child in story.known.children),
        steps=tuple(told.message_steps()),
        recipients=tuple(told.way(entry) for entry in story.known.recipients),
        claims=tuple(told.claims(ALL_RECIPIENTS)),
        tracker=story.tracker,
    )


class _Note(msgspec.Struct, frozen=True):
    """at: milliseconds since 1970."""

    at: int
    kind: str
    text: str


class _Teller:
    def __init__(self, story: Story, language: str) -> None:
        self.story = story
        self.language = language
        self.waiting = {row.n: row for row in story.known.queue}

    def say(self, key: str, **values: object) -> str:
        return say(key, self.language, **values)

    def step(self, number: int, state: State, at: int | None, *lines: str) -> Step:
        name = self.say(f"trace.step-{number}")
        return Step(number, name, state, at, tuple(line for line in lines if line))

    def message_steps(self) -> Iterator[Step]:
        a = self.story.known.acceptance
        author = self.story.author or a.reverse_path
        yield self.step(
            1,
            "done",
            self.story.written,
            self.say("trace.from", address=author) if author else self.say("trace.null-sender"),
            self.say("trace.message-id", id=a.message_id) if a.message_id else "",
        )
        encrypted = (
            self.say("trace.encrypted", tls=a.tls) if a.tls else self.say("trace.in-the-clear")
        )
        yield self.step(
            2,
            "done",
            a.at,
            self.say("trace.client", peer=a.peer) if a.peer else self.say("trace.by-us"),
            encrypted if a.peer else "",
            self.say("trace.authenticated", account=self.story.login) if self.story.login else "",
        )
        yield self.step(
            3,
            "done",
            a.at,
            self.say("trace.queue-id", queue_id=queue_id(a.id)),
            self.say("trace.size", size=a.size),
            self.say("trace.parent", queue_id=queue_id(a.parent)) if a.parent else "",
            *(
                self.say("trace.copy", mailbox=name, keyword=self.story.tracker)
                for name in self.story.copies
            ),
        )

    def way(self, entry: Entry) -> Way:
        attempts = list(self._attempts(entry.n))
        steps = (
            self._dns_step(entry, attempts),
            self._smtp_step(entry, attempts),
            self._account_step(entry),
            self._mailbox_step(entry),
        )
        return Way(
            recipient=entry.recipient.address,
            fate=fate_name(entry.fate),
            ending=self.ending(entry),
            cause=self._last_cause(entry, attempts),
            steps=steps,
            suggestion=self._meant(entry),
            claims=tuple(self.claims(entry.n)),
        )

    def claims(self, n: int) -> Iterator[str]:
        """What reports from outside say of a recipient: nobody here vouches for it."""
        for event in self.story.known.events:
            if event.kind != CLAIM or event.n != n or "kind" not in event.detail:
                continue
            told = {key: str(event.detail.get(key, "")) for key in _CLAIMED}
            proven = "trace.claim-proven" if event.detail.get("proven") else "trace.claim"
            address = told["address"] or self.say("explain.somebody")
            words = cause(told["cause"]).in_words(self.language, address=address, host=told["host"])
            kind = told["kind"]
            what = self.say(f"trace.claim-{kind}")
            yield f"{shown_time(event.at)} " + self.say(
                proven, report=told["report"], what=what, title=words.title
            )
            if reply := _said({"reply": {**event.detail, "code": event.detail.get("code") or ""}}):
                by = "explain.words-of" if told["host"] else "explain.words"
                yield self.say(by, host=told["host"], reply=reply)

    def _attempts(self, n: int) -> Iterator[Event]:
        return self._events(n, ("attempt", "late-outcome"))

    def _events(self, n: int, kinds: Collection[str]) -> Iterator[Event]:
        for event in self.story.known.events:
            if event.kind not in kinds:
                continue
            among = event.detail.get("recipients", [n])
            if event.n == n or (event.n == ALL_RECIPIENTS and n in among):
                yield event

    def _by_hand(self, entry: Entry) -> Iterator[str]:
        """What somebody did to it, and when."""
        for event in self._events(entry.n, BY_HAND):
            who, reason = (str(event.detail.get(key, "")) for key in ("who", "reason"))
            to, child = str(event.detail.get("to", "")), int(event.detail.get("child", 0))
            again = event.kind == "correct" and to == entry.recipient.address
            what = "resend" if again else event.kind
            told = self.say(f"trace.by-hand-{what}", who=who, to=to, child=queue_id(child))
            because = f": {reason}" if reason and who not in reason else ""
            yield f"{shown_time(event.at)} {told}{because}"

    def _stands(self, entry: Entry) -> Iterator[str]:
        """What it waits for now, and whether its sender knows that it does."""
        for event in self._events(entry.n, ("delay",)):
            yield f"{shown_time(event.at)} {self.say('trace.delay-told')}"
        waits = self.waiting.get(entry.n)
        if waits is None or entry.fate is not None or waits.leased:
            return
        suspension = self.story.suspensions.get(waits.destination)
        if waits.destination == RETURNING and not waits.held:
            yield self.say("trace.returning", at=shown_time(waits.due))
        elif waits.held.startswith(FAULT_HELD):
            yield self._parked(entry, waits.held)
        elif waits.held:
            yield self.say("trace.on-hold", reason=waits.held)
        elif suspension is not None:
            told = self.say(
                "trace.suspended",
                destination=suspension.destination,
                at=shown_time(suspension.at),
                who=suspension.who,
            )
            yield f"{told}: {suspension.reason}" if suspension.reason else told
        elif waits.waits is not None:
            yield self._behind(waits.waits)
            if waits.attempts and waits.due > waits.waits.until:
                yield self.say("trace.next-try", at=shown_time(waits.due))
        elif waits.attempts:
            yield self.say("trace.next-try", at=shown_time(waits.due))

    def _parked(self, entry: Entry, held: str) -> str:
        """For which fault of ours it is held, and until when."""
        code, _, about = held.removeprefix(FAULT_HELD).partition(" ")
        last = [
            event.detail.get("parked", {}).get(str(entry.n)) for event in self._attempts(entry.n)
        ]
        parked: dict[str, Any] = next((each for each in reversed(last) if each), {})
        fault = faults().get(code)
        return self.say(
            "trace.parked",
            title=code if fault is None else fault.in_words(self.language).title,
            about=about or parked.get("why", {}).get("family", ""),
            until=shown_time(parked.get("until", 0)),
        )

    def _unparked(self, entry: Entry) -> Iterator[str]:
        """When it went on, or did not."""
        for event in self._events(entry.n, (UNPARKED,)):
            finding = event.detail.get("finding")
            if finding is None:
                told = self.say("trace.not-mended")
            else:
                finding = msgspec.convert(finding, Checked)
                told = self.say("trace.unparked", finding=finding.in_words(self.language))
            yield f"{shown_time(event.at)} {told}"

    def _behind(self, waits: Waits) -> str:
        """What keeps it from being tried before."""
        of_domain = waits.name.startswith("@")
        what = "domain" if of_domain else "probed" if waits.probed else "host"
        return self.say(
            f"trace.waits-{what}",
            host=waits.name.removeprefix("@"),
            since=shown_time(waits.since),
            at=shown_time(waits.until),
        )

    def _dns_step(self, entry: Entry, attempts: Sequence[Event]) -> Step:
        if not attempts:
            return self._no_travel(4, entry)
        last = attempts[-1]
        notes = self._notes(last)
        found = [(note.at, note.text) for note in notes if note.kind in DNS_NOTES]
        went_on = any(note.kind in SMTP_NOTES for note in notes)
        state: State = "done" if went_on else "failed" if entry.fate else "waiting"
        at = found[0][0] if found else last.at
        lines = [text for _, text in found]
        if not went_on:
            lines.append(self._reply(entry, last))
        return self.step(4, state, at, *lines)

    def _smtp_step(self, entry: Entry, attempts: Sequence[Event]) -> Step:
        stands = [*self._by_hand(entry), *self._unparked(entry), *self._stands(entry)]
        if not attempts:
            return self._no_travel(5, entry, *stands)
        lines: list[str] = []
        at = attempts[-1].at
        for number, event in enumerate(attempts, 1):
            told = self._smtp_notes(entry, event)
            texts = [text for _, text in told]
            if told and event is attempts[-1]:
                at = told[-1][0]  # an attempt begins with the DNS; this step, after it
            if len(attempts) > 1 and texts:
                lines.append(f"{self.say('trace.attempt', number=number)}: {texts[-1]}")
            else:
                lines += texts
        lines += stands
        state: State = "waiting"
        if isinstance(entry.fate, Relayed):
            state = "done"
        elif entry.fate is not None:
            state = "failed" if lines else "skipped"
        return self.step(5, state, None if state == "skipped" else at, *lines)

    def _smtp_notes(self, entry: Entry, event: Event) -> list[tuple[int, str]]:
        """What was seen by SMTP, the reply to this recipient at the end; not that to others."""
        told = [note for note in self._notes(event) if note.kind in SMTP_NOTES]
        if not told:
            return []
        own = self._reply(entry, event)
        others = {_said(outcome) for outcome in event.detail.get("outcomes", [])} - {own}
        kept = [
            (note.at, note.text) for note in told if note.kind != "reply" or note.text not in others
        ]
        # What we found out ourselves (too large for them, no SMTPUTF8) nobody has said.
        if own and all(own not in text for _, text in kept):
            kept.append((told[-1].at, own))
        return kept

    def _account_step(self, entry: Entry) -> Step:
        fate, ended = entry.fate, entry.ended
        match fate:
            case None:
                why = self._why(entry) or self.say("trace.not-yet")
                return self.step(6, "waiting", None, why)
            case Stored():
                return self.step(6, "done", ended, self.say("trace.local"))
            case Relayed(host, reply):
                return self.step(6, "done", ended, self.say("trace.taken-by", host=host), reply)
            case Expanded() | Duplicate():
                return self.step(6, "done", ended, self.ending(entry))
        why = self._why(entry) if isinstance(fate, Returned) else self._rule(fate)
        return self.step(6, "failed", ended, self.ending(entry), why)

    def _mailbox_step(self, entry: Entry) -> Step:
        match entry.fate:
            case None:
                return self.step(7, "waiting", None, self.say("trace.not-yet"))
            case Stored(account) if self.story.account not in (None, account):
                return self.step(7, "done", entry.ended)
            case Stored(account, mailbox, uid):
                name = self.story.places.get((account, mailbox))
                if name is None:
                    return self.step(7, "done", entry.ended, self.say("trace.mailbox-gone"))
                text = self.say("trace.mailbox", mailbox=name, uid=uid)
                return self.step(7, "done", entry.ended, text)
            case Relayed(host, _):
                return self.step(7, "skipped", None, self.say("trace.not-known", host=host))
            case Expanded(child):
                text = self.say("trace.child", queue_id=queue_id(child))
                return self.step(7, "skipped", None, text)
            case Duplicate(of):
                text = self.say("trace.child", queue_id=queue_id(of))
                return self.step(7, "skipped", None, text)
        return self.step(7, "failed", None)

    def _no_travel(self, number: int, entry: Entry, *lines: str) -> Step:
        if entry.fate is None:
            return self.step(number, "waiting", None, *(lines or (self.say("trace.not-yet"),)))
        if isinstance(entry.fate, Stored | Expanded | Duplicate):
            return self.step(number, "skipped", None, self.say("trace.not-needed"))
        return self.step(number, "skipped", None, *lines)

    def ending(self, entry: Entry) -> str:
        """Its fate in words."""
        match entry.fate:
            case Returned(other) | Expanded(other) | Duplicate(other):
                return self.say(f"fate.{fate_name(entry.fate)}", queue_id=queue_id(other))
            case Dropped(rule):
                return self.say("fate.dropped", rule=rule)
            case Cancelled(who):
                return self.say("fate.cancelled", who=who)
        return self.say(f"fate.{fate_name(entry.fate)}")

    def _rule(self, fate: Fate) -> str:
        """What a rule of ours that dropped it is about."""
        key = f"rule.{fate.rule}" if isinstance(fate, Dropped) else ""
        return self.say(key) if key in texts(DEFAULT_LANGUAGE) else ""

    def _why(self, entry: Entry) -> str:
        """What happened and what to do, in plain words; "" where nothing is known."""
        code = self._last_cause(entry, list(self._attempts(entry.n)))
        if not code:
            return ""
        words = cause(code).in_words(self.language, address=entry.recipient.address)
        remedy = words.remedy if entry.fate is None else words.returned or words.remedy
        if meant := self._meant(entry):
            remedy = f"{self.say('likely.did-you-mean', address=meant)} {remedy}"
        return f"{words.title}. {remedy}"

    def _meant(self, entry: Entry) -> str:
        """The address that was probably meant, "" where none is near."""
        for event in reversed(list(self._attempts(entry.n))):
            numbers, meant = (event.detail.get(key, ()) for key in ("recipients", "meant"))
            if entry.n in numbers and len(meant) == len(numbers):
                return str(meant[numbers.index(entry.n)])
        return ""

    def _last_cause(self, entry: Entry, attempts: Sequence[Event]) -> str:
        outcome = _outcome(attempts[-1], entry.n) if attempts else {}
        return str(outcome.get("cause", ""))

    def _notes(self, event: Event) -> list[_Note]:
        """What an attempt saw on its way; in words of ours or, as they are, of others."""
        return [
            _Note(
                event.at + int(note["at"] * 1000),
                note["kind"],
                say_note(note.get("data", {}), self.language, note["text"]),
            )
            for note in event.detail.get("notes", [])
        ]

    def _reply(self, entry: Entry, event: Event) -> str:
        return _said(_outcome(event, entry.n))


def fate_name(fate: Fate | None) -> str:
    """As in the ledger; "open" without one."""
    return "open" if fate is None else type(fate).__name__.lower()


def _outcome(event: Event, n: int) -> dict[str, Any]:
    numbers = event.detail.get("recipients", [])
    outcomes = event.detail.get("outcomes", [])
    if n in numbers and numbers.index(n) < len(outcomes):
        return dict(outcomes[numbers.index(n)])
    return {}


def _said(outcome: dict[str, Any]) -> str:
    """The reply of an outcome, as the notes have it."""
    reply = outcome.get("reply", {})
    parts = (str(reply.get(key, "")) for key in ("code", "status", "text"))
    return " ".join(part for part in parts if part)
