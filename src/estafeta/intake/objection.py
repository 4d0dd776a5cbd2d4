"""Objection: why somebody or something does not come in, before it is put in words for anybody."""

from __future__ import annotations

from typing import Any

import msgspec

from estafeta.intake.words import refusal
from estafeta.mail.outcome import Reply
from estafeta.wire import replies
from estafeta.wire.replies import Template


class Objection(msgspec.Struct, frozen=True):
    """entry: of the catalogue of replies, with what it names."""

    entry: Reply | Template
    values: dict[str, Any] = {}

    @property
    def cause(self) -> str:
        """Code of the catalogue of causes."""
        return replies.cause_of(self.entry)

    @property
    def permanent(self) -> bool:
        return self.entry.code >= 500

    def said(self, *, language: str = "", utf8: bool = False, help: str = "") -> Reply:
        """See intake.words.refusal."""
        return refusal(self.entry, language=language, utf8=utf8, help=help, **self.values)


def objection(entry: Reply | Template, **values: object) -> Objection:
    return Objection(entry, values)
