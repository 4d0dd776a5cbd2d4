"""Seen: a refusal in the form in which the conditions of a piece are held against it."""

from __future__ import annotations

import msgspec

from estafeta.explain.judge.knowledge import Piece
from estafeta.explain.judge.phrase import Words
from estafeta.explain.judge.tidy import status_within, tidy
from estafeta.explain.refusal import Refusal

_NOT_KNOWN = "-"


class Seen(msgspec.Struct, frozen=True):
    """words: tidied. command, mailer, action: "-" where not known."""

    words: Words
    status: str
    code: int
    command: str
    host: str
    mailer: str
    action: str

    def fits(self, piece: Piece) -> bool:
        """Whether its conditions hold; its phrase is not looked at."""
        return (
            (not piece.status or self.status in piece.status)
            and (not piece.code or self.code in piece.code)
            and (not piece.command or self.command in piece.command)
            and (not piece.mailer or self.mailer in piece.mailer)
            and (not piece.action or self.action in piece.action)
            and (not piece.host or self._said_by(piece.host))
            and not any(phrase.fits(self.words) for phrase in piece.unless)
        )

    def _said_by(self, hosts: tuple[str, ...]) -> bool:
        host = self.host
        return any(host == name or host.endswith(f".{name}") for name in hosts)


def see(refusal: Refusal) -> Seen:
    """A refusal, as it is held against pieces. A status in its words counts where it says more."""
    status = refusal.status
    if not status or status.endswith(".0.0"):
        status = status_within(refusal.text) or status
    return Seen(
        words=Words(tidy(refusal.text)),
        status=status,
        code=refusal.code,
        command=refusal.command.upper() or _NOT_KNOWN,
        host=refusal.host.lower().partition(" ")[0].partition("[")[0].rstrip("."),
        mailer=refusal.mailer.lower() or _NOT_KNOWN,
        action=refusal.action.lower() or _NOT_KNOWN,
    )
