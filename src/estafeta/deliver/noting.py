"""Noting: what the owner of an account is to read of a message that did not come in, or late."""

from __future__ import annotations

from estafeta.deliver.dossier import Dossier, Terms
from estafeta.deliver.journal import Journal, Knock
from estafeta.deliver.limits import JOURNALS_OF_ONE_MAX, PUT_OFF_MAX
from estafeta.intake.objection import Objection
from estafeta.mail import header as fields
from estafeta.mail.outcome import Reply
from estafeta.mail.words import decode_text
from estafeta.wire.smtp_server.events import Mail

_NOT_NOTED = frozenset(("too-many-recipients", "server-trouble"))
"""Causes that tell an owner nothing: the same message comes in another way, or again at once."""


def noted(found: Objection) -> bool:
    return found.cause not in _NOT_NOTED


class Noting:
    """Of one process. Whom another process put off is not known here to have come in after all,
    unless greylisting says so."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._put_off: dict[tuple[int, str, str], None] = {}

    def refused(
        self,
        dossier: Dossier,
        mail: Mail,
        terms: Terms,
        found: Objection,
        reply: Reply,
        *,
        size: int = 0,
    ) -> None:
        """size: octets of the message, 0 before it was there."""
        visitor = dossier.visitor
        aligned = visitor.aligned(mail.reverse_path.rpartition("@")[2])
        for account in terms.reached[:JOURNALS_OF_ONE_MAX]:
            if not found.permanent:
                self._put_off[account, visitor.who, mail.reverse_path] = None
                if len(self._put_off) > PUT_OFF_MAX:
                    del self._put_off[next(iter(self._put_off))]
            self._journal.note(
                Knock(
                    account=account,
                    who=visitor.who,
                    network=visitor.network,
                    organisation=visitor.organisation,
                    sender=mail.reverse_path,
                    named=terms.address,
                    cause=found.cause,
                    reply=str(reply),
                    hello=dossier.hello,
                    aligned=aligned,
                    size=size or mail.size,
                    subject=_subject(dossier.header) if size else "",
                    finding=str(found.values.get("name", "")),
                )
            )

    def accepted(self, dossier: Dossier, mail: Mail) -> None:
        """It is committed."""
        for terms in dossier.terms:
            if terms.refused:
                continue
            for account in terms.reached[:JOURNALS_OF_ONE_MAX]:
                who = (account, dossier.visitor.who, mail.reverse_path)
                known = self._put_off and who in self._put_off
                if known or terms.again or terms.needed is not None:
                    self._put_off.pop(who, None)
                    self._journal.arrived(*who)


def _subject(header: bytes) -> str:
    found = fields.find(header, "Subject")
    return decode_text(found[0]).strip() if found else ""
