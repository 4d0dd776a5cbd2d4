"""Dossier: what is known of one transaction on port 25 or by LMTP while it is judged."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from estafeta.deliver.limits import POLICY_CLASSES_MAX
from estafeta.deliver.policy.rules import Effective
from estafeta.deliver.visitor import Visitor
from estafeta.intake.objection import Objection
from estafeta.mail.outcome import Reply
from estafeta.store.admissions import Admission
from estafeta.store.rows import Account


class Terms(msgspec.Struct):
    """What holds for one recipient. account: None where the address is not one account's.

    reached: the accounts it leads to. admission: what its owner said of this sender, once that was
    asked; needed: what it overruled; lost: what is answered where another message uses it up at the
    same instant. again: the sender had been asked to come again, and did. refused: once the whole
    message was there.
    """

    address: str
    rules: Effective
    account: Account | None
    reached: Sequence[int]
    admission: Admission | None = None
    asked: bool = False
    needed: Objection | None = None
    again: bool = False
    refused: bool = False
    lost: Reply | None = None

    @property
    def domain(self) -> str:
        """Whose words and rules count; `<postmaster>` has none of its own."""
        own = self.account.domain if self.account is not None else ""
        return self.address.rpartition("@")[2] if "@" in self.address else own

    @property
    def content_class(self) -> tuple[bytes, frozenset[str]]:
        """Recipients with the same one are told the same of what a message holds."""
        if self.admission is None or not self.rules.looks:
            return self.rules.content_class, frozenset()
        return self.rules.content_class, frozenset(self.rules.let_in) & {"type", "size"}

    @property
    def looked_at(self) -> bool:
        """Whether something can still be objected to the whole message."""
        quota = self.account is not None and self.account.quota > 0
        return self.rules.looks or quota or self.needed is not None


class Dossier(msgspec.Struct):
    """visitor: who the client is, as far as was asked; hello: as it named itself. terms: parallel
    to the recipients. header, size: of the message. put_aside: somebody was told to come in a
    message of their own."""

    visitor: Visitor
    hello: str
    terms: list[Terms] = []
    header: bytes = b""
    put_aside: bool = False
    size: int = 0

    def takes_although_full(self, objections: Sequence[Objection | None]) -> bool:
        """Where one answer stands for all: a mailbox that is full keeps nobody else from the
        message, neither who is named beside it nor who was put aside for it; it gets its copy once
        more than it should, or from the queue."""
        found = [each for each in objections if each is not None]
        if any(each.cause != "mailbox-full" for each in found):
            return False
        return len(found) < len(objections) or (
            self.put_aside and not any(each.permanent for each in found)
        )

    def has_place_for(self, terms: Terms, *, each: bool) -> bool:
        """Where one answer stands for all (RFC 5321 §4.5.3.1.10), all must be judged alike."""
        classes = {known.content_class for known in self.terms}
        if not classes or terms.content_class in classes:
            return True
        return each and len(classes) < POLICY_CLASSES_MAX
