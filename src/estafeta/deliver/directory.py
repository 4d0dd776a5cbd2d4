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
from estafeta.store.rows import Account
from estafeta.wire import replies

ALIAS_DEPTH_MAX = 10
"""An alias of aliases deeper than this, or one that leads back to itself, is refused."""

ALIAS_TARGETS_MAX = 1000
"""Addresses that one recipient may stand for, over all levels; the rest is refused as a loop."""


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
        return _Walk(tx, self._postmaster).follow(address, 0)


class _Walk:
    """One look-up; counts the addresses it has been through."""

    def __init__(self, tx: Tx, postmaster: str) -> None:
        self._tx = tx
        self._postmaster = postmaster
        self._left = ALIAS_TARGETS_MAX

    def follow(self, address: str, depth: int) -> Target | Reply:
        if depth > ALIAS_DEPTH_MAX or self._left <= 0:
            return replies.LOOP
        self._left -= 1
        local, name = split(address)
        local = local.lower()
        lowered = f"{local}@{name}"
        known = accounts.local(self._tx, name, lowered)
        if known is None:
            return ToRemote(name)
        domain, account = known
        found = self._named(lowered, account, address, depth)
        if found is not None:
            return found
        user, detail = subaddress(local, domain.separator) if domain.separator else (local, "")
        if detail:
            without = f"{user}@{name}"
            found = self._named(without, accounts.account(self._tx, without), address, depth)
            if found is not None:
                return found
        if local == "postmaster" and self._postmaster not in ("", lowered):
            return self.follow(self._postmaster, depth + 1)
        if domain.catch_all not in ("", lowered):
            return self.follow(domain.catch_all, depth + 1)
        return replies.UNKNOWN_USER(address=address)

    def _named(
        self, name: str, account: Account | None, written: str, depth: int
    ) -> Target | Reply | None:
        if account is not None:
            if account.disabled:
                return replies.USER_DISABLED(address=written)
            return ToAccount(account, written)
        addresses = accounts.targets(self._tx, name)
        if not addresses:
            return None
        found = [self.follow(address, depth + 1) for address in addresses]
        if all(isinstance(target, Reply) for target in found):
            return replies.UNKNOWN_USER(address=written)
        # A target that leads nowhere is not forgotten: it is queued, refused there and returned.
        targets = tuple(
            ToRemote(split(address)[1]) if isinstance(target, Reply) else target
            for address, target in zip(addresses, found, strict=True)
        )
        return ToAlias(tuple(addresses), targets)
