"""Target: what a recipient's address means here, decided at RCPT and acted upon in the unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from estafeta.intake.objection import Objection
from estafeta.store import accounts
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
    """Somebody else's. destination: domain as A-labels, or an address literal.

    ours: an alias names it, its domain is ours, and nobody is there: the queue looks once more and
    returns it.
    """

    destination: str
    ours: bool = False


Target = ToAccount | ToAlias | ToRemote

Directory = Callable[[Tx, str], "Target | Objection"]
"""address -> where it leads, or why nowhere. Part of a read or of a unit."""


def is_full(target: Target, size: int) -> bool:
    """Whether nobody whom it leads to has room for a message of `size` octets, 0 for unknown.

    An alias is full when all behind it are: who has room shall not wait for who has not.
    """
    if isinstance(target, ToAccount):
        return accounts.is_full(target.account, size)
    if isinstance(target, ToAlias):
        return all(is_full(each, size) for each in target.targets)
    return False


def accounts_of(targets: Sequence[Target | None]) -> set[int]:
    """Every account that delivery to `targets` touches."""
    found: set[int] = set()
    for target in targets:
        if isinstance(target, ToAccount):
            found.add(target.account.id)
        elif isinstance(target, ToAlias):
            found |= accounts_of(target.targets)
    return found


def the_one_of(target: Target) -> Account | None:
    """The only account that it leads to, be it by aliases; None where there are more, or others."""
    if isinstance(target, ToAlias) and len(target.targets) == 1:
        return the_one_of(target.targets[0])
    return target.account if isinstance(target, ToAccount) else None
