"""Target: what a recipient's address means here, decided at RCPT and acted upon in the unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from estafeta.mail.outcome import Reply
from estafeta.store.engine import Tx
from estafeta.store.rows import Account


class ToAccount(msgspec.Struct, frozen=True):
    """A mailbox of ours. delivered_to: the address as it was named."""

    account: Account
    delivered_to: str


class ToAlias(msgspec.Struct, frozen=True):
    """An address that stands for others; addresses and targets are parallel."""

    addresses: tuple[str, ...]
    targets: tuple[Target, ...]


class ToRemote(msgspec.Struct, frozen=True):
    """Somebody else's. destination: domain as A-labels, or an address literal."""

    destination: str


Target = ToAccount | ToAlias | ToRemote

Directory = Callable[[Tx, str], "Target | Reply"]
"""address -> where it leads, or the reply that says why nowhere. Part of a read or of a unit."""


def accounts_of(targets: Sequence[Target | None]) -> set[int]:
    """Every account that delivery to `targets` touches."""
    found: set[int] = set()
    for target in targets:
        if isinstance(target, ToAccount):
            found.add(target.account.id)
        elif isinstance(target, ToAlias):
            found |= accounts_of(target.targets)
    return found
