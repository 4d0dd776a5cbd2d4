"""Directory: where the address of a recipient leads (RFC 5321 §3.6, §4.5.1; RFC 5233 subaddress).

Order: account, alias, the same without its detail (`you+x@`), postmaster, catch-all. An address
whose domain is not ours is remote. Pure reads: part of a snapshot or of a unit.
"""

from __future__ import annotations

from estafeta.intake.target import Target, ToAccount, ToAlias, ToRemote
from estafeta.mail.address import split, subaddress
from estafeta.mail.outcome import Reply
from estafeta.store import accounts
from estafeta.store.engine import Tx
from estafeta.wire import replies

ALIAS_DEPTH_MAX = 10
"""An alias of aliases deeper than this, or one that leads back to itself, is refused."""

ALIAS_TARGETS_MAX = 1000
"""Addresses that one recipient may stand for, over all levels."""


class LocalDirectory:
    """The accounts and aliases of this installation.

    postmaster: where `<postmaster>`, and `postmaster@` of a domain without one, lead to; or "".
    """

    def __init__(self, *, postmaster: str = "") -> None:
        self._postmaster = postmaster

    def look_up(self, tx: Tx, address: str) -> Target | Reply:
        """Where `address` leads, or the reply that says why nowhere."""
        if address.lower() == "postmaster":
            # RFC 5321 §4.5.1: taken without a domain too.
            if not self._postmaster:
                return replies.UNKNOWN_USER(address=address)
            return self.look_up(tx, self._postmaster)
        if accounts.domain(tx, split(address)[1]) is None:
            return ToRemote(split(address)[1])
        return self._local(tx, address, 0)

    def _local(self, tx: Tx, address: str, depth: int) -> Target | Reply:
        local, name = split(address)
        domain = accounts.domain(tx, name)
        if domain is None:
            return ToRemote(name)
        lowered = f"{local.lower()}@{name}"
        found = self._named(tx, lowered, address, depth)
        if found is not None:
            return found
        user, detail = (
            subaddress(local.lower(), domain.separator) if domain.separator else (local, "")
        )
        if detail:
            found = self._named(tx, f"{user}@{name}", address, depth)
            if found is not None:
                return found
        if local.lower() == "postmaster" and self._postmaster and self._postmaster != lowered:
            return self._local(tx, self._postmaster, depth + 1)
        if domain.catch_all and domain.catch_all != lowered and depth < ALIAS_DEPTH_MAX:
            return self._local(tx, domain.catch_all, depth + 1)
        return replies.UNKNOWN_USER(address=address)

    def _named(self, tx: Tx, name: str, written: str, depth: int) -> Target | Reply | None:
        account = accounts.account(tx, name)
        if account is not None:
            if account.disabled:
                return replies.USER_DISABLED(address=written)
            return ToAccount(account.id, written)
        addresses = accounts.targets(tx, name)
        if not addresses:
            return None
        if depth >= ALIAS_DEPTH_MAX:
            return replies.LOOP
        found = [self._local(tx, address, depth + 1) for address in addresses[:ALIAS_TARGETS_MAX]]
        if all(isinstance(target, Reply) for target in found):
            return replies.UNKNOWN_USER(address=written)
        # A target that leads nowhere is not forgotten: it is queued, refused there and returned.
        targets = tuple(
            ToRemote(split(address)[1]) if isinstance(target, Reply) else target
            for address, target in zip(addresses, found, strict=False)
        )
        return ToAlias(tuple(addresses[:ALIAS_TARGETS_MAX]), targets)
