"""job: what one attempt is given and what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from estafeta.explain.words import DEFAULT_LANGUAGE, say_note
from estafeta.mail.envelope import Envelope
from estafeta.mail.outcome import Outcome
from estafeta.mail.protocols import Content
from estafeta.relay.limits import (
    MESSAGES_PER_CONNECTION_MAX,
    NOTES_MAX,
    RECIPIENTS_MAX,
    TOLD_CHARACTERS_MAX,
    Timeouts,
)
from estafeta.relay.standing import Seen
from estafeta.resolve import TlsMode
from estafeta.world.seams import TlsConfig

NoteKind = Literal["dns", "connect", "tls", "auth", "mail", "reply"]
Data = dict[str, str | int | float | bool]


class Job(msgspec.Struct, frozen=True):
    """destination: domain (canonical) or address literal that all recipients share.

    sent: called before the final dot goes out; until then the attempt can be cancelled and nothing
    has happened.
    """

    destination: str
    envelope: Envelope
    content: Content
    sent: Callable[[], None] = lambda: None


class Note(msgspec.Struct, frozen=True):
    """One step of the journey. at: seconds since the attempt began."""

    at: float
    kind: NoteKind
    text: str
    data: Data


class Report(msgspec.Struct, frozen=True):
    """outcomes: one for each recipient, in the envelope's order.

    seen: hosts that failed as a whole, or were found to answer again. blocked: all hosts of the
    route, where none has time for us. untried: and so none was asked at all.
    """

    outcomes: tuple[Outcome, ...]
    notes: tuple[Note, ...]
    seen: tuple[Seen, ...] = ()
    blocked: tuple[str, ...] = ()
    untried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """hello_name: our name in EHLO, a domain or an address literal. source_v4, source_v6: local
    addresses to connect from, "" leaves it to the system.

    tls: for hosts without a static route that says otherwise. tls_client: takes any certificate;
    tls_verifying: for "verify" and "implicit". Without them nothing is encrypted, and what requires
    it defers.
    """

    hello_name: str
    source_v4: str = ""
    source_v6: str = ""
    tls: TlsMode = "may"
    tls_client: TlsConfig | None = None
    tls_verifying: TlsConfig | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    messages_per_connection_max: int = MESSAGES_PER_CONNECTION_MAX
    recipients_max: int = RECIPIENTS_MAX


class Journey:
    """Collects the notes of one attempt."""

    __slots__ = ("_began", "_clock", "_left_out", "_notes")

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._notes: list[Note] = []
        self._left_out = 0

    def note(self, kind: NoteKind, text: str, data: Data | None = None) -> None:
        """text: as it is, another server's words among them."""
        if len(self._notes) >= NOTES_MAX:
            self._left_out += 1
            return
        self._notes.append(Note(self.elapsed(), kind, text, data or {}))

    def tell(self, kind: NoteKind, what: str, data: Data) -> None:
        """A note in our own words, those of the text `note.<what>`."""
        data = {"what": what, **data}
        text = say_note(data, DEFAULT_LANGUAGE, what)
        # A long reply within it is kept once: an event has its limit, and is seldom translated.
        self.note(kind, text, data if len(text) <= TOLD_CHARACTERS_MAX else {})

    def elapsed(self) -> float:
        """Seconds since the attempt began."""
        return self._clock() - self._began

    def report(
        self,
        outcomes: tuple[Outcome, ...],
        seen: tuple[Seen, ...] = (),
        blocked: tuple[str, ...] = (),
        *,
        untried: bool = False,
    ) -> Report:
        if self._left_out:
            data: Data = {"what": "left-out", "count": self._left_out}
            text = say_note(data, DEFAULT_LANGUAGE, "")
            self._notes.append(Note(self.elapsed(), "reply", text, data))
        return Report(outcomes, tuple(self._notes), seen, blocked, untried)
