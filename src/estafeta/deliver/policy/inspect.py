"""Inspect: a whole message against the rules that concern what it holds.

Promises: pure; never raises; time and memory are bounded, whatever the message is (budget). What
cannot be looked through within the bounds is refused where something is to be found in it: else a
bomb would be the way past every rule.
"""

from __future__ import annotations

from estafeta.deliver.policy import archives
from estafeta.deliver.policy.attachments import Attachment, attachments, build
from estafeta.deliver.policy.budget import Budget, TooMuch
from estafeta.deliver.policy.finding import Finding, Late, Verdict, shown
from estafeta.deliver.policy.headers import refused_by_header
from estafeta.deliver.policy.names import readings
from estafeta.deliver.policy.rules import Effective
from estafeta.deliver.policy.types import Types, types
from estafeta.mail.limits import DEPTH_MAX, HEADER_OCTETS_MAX, PARTS_MAX
from estafeta.mail.message.fields import Buffer, header_end
from estafeta.mail.message.parts import index

ENCRYPTED, UNREADABLE = "encrypted", "unreadable"

_VBA = "_VBA_PROJECT".encode("utf-16-le")
"""Where macros lie in a document of Office before it was an archive."""


def inspect(data: Buffer, rules: Effective) -> Finding | None:
    """The first reason why a message must not come in, or None."""
    found = look(data, rules, Budget())
    return None if isinstance(found, Late) else found


def look(data: Buffer, rules: Effective, budget: Budget, *, patient: bool = True) -> Verdict:
    """As `inspect`, within a budget. patient: what takes more than that is refused; else Late."""
    looking = _Looking(data if isinstance(data, bytes) else bytes(data), rules, budget)
    try:
        return looking.all()
    except TooMuch:
        return looking.gave_up() if patient else Late()


class _Looking:
    """One message. opened: the archive that is looked into, None while none is."""

    def __init__(self, data: bytes, rules: Effective, budget: Budget) -> None:
        self._data = data
        self._rules = rules
        self._budget = budget
        self._types: Types = types(rules.blocked_types)
        self._opened: Attachment | None = None

    def gave_up(self) -> Finding:
        if self._opened is not None:
            return Finding("archive", name=_name(self._opened.names), type=UNREADABLE)
        return Finding("parts", type=UNREADABLE)

    def all(self) -> Finding | None:
        """Raises TooMuch."""
        data, rules = self._data, self._rules
        if rules.size_max and len(data) > rules.size_max:
            return Finding("size")
        if rules.headers:
            end = header_end(data)
            if end > HEADER_OCTETS_MAX:
                return Finding("parts", type=UNREADABLE)
            if found := refused_by_header(data[:end], rules.headers):
                return found
        wanted = bool(rules.blocked_types) or rules.opens
        if not (wanted or rules.depth_max or rules.parts_max):
            return None
        tree = build(index(data), DEPTH_MAX, PARTS_MAX)
        if rules.parts_max and tree.parts > rules.parts_max:
            return Finding("parts")
        if rules.depth_max and tree.depth > rules.depth_max:
            return Finding("depth")
        if not wanted:
            return None
        if not tree.whole:
            return Finding("parts", type=UNREADABLE)
        opens = rules.opens or bool(self._types.macros)
        for attachment in attachments(data, tree.root, self._budget, opens=opens):
            self._opened = None
            if found := self._attached(attachment):
                return found
        return None

    def _attached(self, attachment: Attachment) -> Finding | None:
        names = [reading for name in attachment.names for reading in readings(name)]
        if entry := self._types.match(names, attachment.declared, attachment.head):
            return Finding("type", name=_name(attachment.names), type=entry)
        if self._types.macros and _VBA in attachment.whole:
            return Finding("type", name=_name(attachment.names), type=self._types.macros)
        if not attachment.whole:
            return None
        self._opened = attachment
        for file in archives.files(attachment.whole, _name(attachment.names), self._budget):
            if found := self._inside(file):
                return found
        return None

    def _inside(self, file: archives.File) -> Finding | None:
        """A file of an archive."""
        if file.encrypted and self._rules.encrypted_archives == "refuse":
            return Finding("archive", name=shown(file.inside), type=ENCRYPTED)
        names = [reading for name in file.names for reading in readings(name)]
        entry = ""
        if self._types.macros and "vbaproject.bin" in names:  # a document of Office is an archive
            entry = self._types.macros
        elif self._rules.inside_archives:
            entry = self._types.match(names, "", file.head)
        if not entry:
            return None
        return Finding("type", name=_name(file.names), type=entry, inside=shown(file.inside))


def _name(names: list[str] | tuple[str, ...]) -> str:
    return shown(names[0]) if names else ""
