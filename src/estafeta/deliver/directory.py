"""Directory: where the address of a recipient leads (RFC 5321 §3.6, §4.5.1; RFC 5233 subaddress).

Order: account, alias, the same without its detail (`you+x@`), postmaster, catch-all. An address
whose domain is not ours is remote. Pure reads: part of a snapshot or of a unit.

An alias that turns up again below itself is left out there: who stands behind it is reached
already. So a walk ends, and what it gives can be expanded to the end without looking again.
"""

from __future__ import annotations

from estafeta.intake.objection import Objection, objection
from estafeta.intake.target import Target, ToAccount, ToAlias, ToRemote
from estafeta.mail.address import split, subaddress
from estafeta.store import accounts
from estafeta.store.engine import Tx
from estafeta.store.rows import Account, Domain
from estafeta.wire import replies

ALIAS_DEPTH_MAX = 10
"""A recipient that leads through more aliases of aliases than this is refused."""

ALIAS_TARGETS_MAX = 1000
"""Addresses that one recipient may stand for, over all levels; with more it is refused."""


class _TooFarError(Exception):
    """The walk came to one of its limits."""


class LocalDirectory:
    """The accounts and aliases of this installation.

    postmaster: where `<postmaster>`, and `postmaster@` of a domain without one, lead to; or "".
    """

    def __init__(self, *, postmaster: str = "") -> None:
        self._postmaster = postmaster

    def look_up(self, tx: Tx, address: str) -> Target | Objection:
        """Where `address` leads, or why nowhere."""
        walk = _Walk(tx, self._postmaster)
        try:
            found = walk.follow(address, address)
        except _TooFarError:
            return objection(replies.ALIAS_TOO_FAR, address=address)
        return objection(replies.UNKNOWN_USER, address=address) if found is None else found


class _Walk:
    """One look-up; counts the addresses it has been through and knows the way it came."""

    def __init__(self, tx: Tx, postmaster: str) -> None:
        self._tx = tx
        self._postmaster = postmaster
        self._left = ALIAS_TARGETS_MAX
        self._way: list[str] = []

    def follow(self, address: str, written: str) -> Target | Objection | None:
        """Where `address` leads, as the place of `written`. None: back to where we came from.

        Raises _TooFarError.
        """
        if self._left <= 0 or len(self._way) > ALIAS_DEPTH_MAX:
            raise _TooFarError
        self._left -= 1
        local, name = split(address)
        if not name:
            # RFC 5321 §4.5.1: <postmaster>, and nobody else, is taken without a domain.
            if "@" not in self._postmaster:
                return objection(replies.UNKNOWN_USER, address=written)
            return self._instead(self._postmaster, written)
        local = local.lower()
        key = f"{local}@{name}"
        known = accounts.local(self._tx, name, key)
        if known is None:
            return ToRemote(name)
        domain, account = known
        if account is not None:
            return self._account(account, written)
        if key in self._way:
            return None
        self._way.append(key)
        try:
            return self._elsewhere(local, key, domain, written)
        finally:
            self._way.pop()

    def _elsewhere(
        self, local: str, key: str, domain: Domain, written: str
    ) -> Target | Objection | None:
        """Where an address that is no account's leads."""
        addresses = accounts.targets(self._tx, key)
        if addresses:
            return self._alias(addresses, written)
        user, detail = subaddress(local, domain.separator) if domain.separator else (local, "")
        if detail:
            without = f"{user}@{domain.name}"
            account = accounts.account(self._tx, without)
            if account is not None:
                return self._account(account, written)
            addresses = accounts.targets(self._tx, without)
            if addresses:
                return self._alias(addresses, written)
        for other in (self._postmaster if local == "postmaster" else "", domain.catch_all):
            if other not in ("", key):
                return self._instead(other, written)
        return objection(replies.UNKNOWN_USER, address=written)

    def _instead(self, other: str, written: str) -> Target | Objection | None:
        found = self.follow(other, written)
        # Elsewhere nobody knows the address that was written.
        return ToAlias((other,), (found,)) if isinstance(found, ToRemote) else found

    @staticmethod
    def _account(account: Account, written: str) -> Target | Objection:
        if account.disabled:
            return objection(replies.USER_DISABLED, address=written, account=account.id)
        return ToAccount(account, written)

    def _alias(self, addresses: list[str], written: str) -> Target | Objection | None:
        found = [(address, self.follow(address, address)) for address in addresses]
        kept = [(address, target) for address, target in found if target is not None]
        if not kept:
            return None
        # What is refused with no thought of the way here is refused when looked up again, too.
        anywhere = len(kept) == len(found) or len(self._way) == 1
        if anywhere and all(isinstance(target, Objection) for _, target in kept):
            return objection(replies.UNKNOWN_USER, address=written)
        # A target that leads nowhere is not forgotten: it is queued, refused there and returned.
        return ToAlias(
            tuple(address for address, _ in kept),
            tuple(_nobody(a) if isinstance(target, Objection) else target for a, target in kept),
        )


def _nobody(address: str) -> ToRemote:
    return ToRemote(split(address)[1], ours=True)
