"""Dossier: what is known of one transaction on port 25 or by LMTP while it is judged."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from estafeta.deliver.limits import POLICY_CLASSES_MAX
from estafeta.deliver.policy.rules import Effective
from estafeta.deliver.visitor import Visitor
from estafeta.intake.objection import Objection
from estafeta.store.admissions import Admission
from estafeta.store.rows import Account


class Terms(msgspec.Struct):
    """What holds for one recipient. account: None where the address is not one account's.

    reached: the accounts it leads to. admission: what its owner said of this sender; needed: what
    it overruled. again: the sender had been asked to come again, and did. refused: once the whole
    message was there.
    """

    address: str
    rules: Effective
    account: Account | None
    reached: Sequence[int]
    admission: Admission | None = None
    needed: Objection | None = None
    again: bool = False
    refused: bool = False

    @property
    def domain(self) -> str:
        """Whose words and rules count; `<postmaster>` has none of its own."""
        own = self.account.domain if self.account is not None else ""
        return self.address.rpartition("@")[2] if "@" in self.address else own

    @property
    def content_class(self) -> tuple[bytes, bool]:
        """Recipients with the same one are told the same of what a message holds."""
        return self.rules.content_class, self.admission is not None and self.rules.looks

    @property
    def looked_at(self) -> bool:
        """Whether something can still be objected to the whole message."""
        quota = self.account is not None and self.account.quota > 0
        return self.rules.looks or quota or self.needed is not None


class Dossier(msgspec.Struct):
    """visitor: who the client is, as far as was asked; hello: as it named itself. terms: parallel
    to the recipients. header: of the message."""

    visitor: Visitor
    hello: str
    terms: list[Terms] = []
    header: bytes = b""

    def has_place_for(self, terms: Terms, *, each: bool) -> bool:
        """Where one answer stands for all (RFC 5321 §4.5.3.1.10), all must be judged alike."""
        classes = {known.content_class for known in self.terms}
        if not classes or terms.content_class in classes:
            return True
        return each and len(classes) < POLICY_CLASSES_MAX
