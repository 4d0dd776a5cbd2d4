"""Change: what a scope says, changed by an administrator or by the owner of an account.

Promises: what is kept can be meant (check) and loosens nothing that a wider scope has locked; two
who change at the same instant do so one after the other.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from estafeta.deliver.policy.book import read_rules, write_rules
from estafeta.deliver.policy.check import RulesError, check
from estafeta.deliver.policy.rules import FIELDS, OWNERS_FIELDS, Rules, changed, loosened
from estafeta.store import accounts, policies
from estafeta.store.accounts import NoSuchAccount, NoSuchDomain
from estafeta.store.engine import Tx


class Scope(msgspec.Struct, frozen=True):
    """name: its row: "", a domain, an address. wider: those around it, the widest first."""

    name: str = ""
    wider: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        return self.name or "the installation"


class NotYours(RulesError):
    """An owner may not say that."""


def scope_of(tx: Tx, *, domain: str = "", account: str = "") -> Scope:
    """At most one of them, canonical. Raises NoSuchDomain, NoSuchAccount."""
    if account:
        found = accounts.account(tx, account)
        if found is None:
            raise NoSuchAccount(f"there is no account {account}")
        return Scope(found.address, ("", found.domain))
    if domain:
        if accounts.domain(tx, domain) is None:
            raise NoSuchDomain(f"there is no domain {domain} here")
        return Scope(domain, ("",))
    return Scope()


def said(tx: Tx, scope: str) -> Rules:
    """What a scope says itself."""
    found = policies.policy(tx, scope)
    return Rules() if found is None else read_rules(found.rules)


def change(
    tx: Tx,
    scope: Scope,
    changes: Rules,
    *,
    unset: Collection[str] = (),
    who: str,
    now: int,
    owner: bool = False,
) -> Rules:
    """What the scope says from now on. who: for the record. owner: of the account, with no more
    rights than that. Raises RulesError, NotYours."""
    policies.hold(tx)
    before = said(tx, scope.name)
    after = planned(tx, scope, before, changes, unset=unset, owner=owner)
    if after == Rules():
        policies.drop(tx, scope.name)
    else:
        policies.put(tx, scope.name, write_rules(after), who, now)
    return after


def planned(
    tx: Tx,
    scope: Scope,
    before: Rules,
    changes: Rules,
    *,
    unset: Collection[str] = (),
    owner: bool = False,
) -> Rules:
    """What `change` would come to; nothing is written. Raises RulesError, NotYours."""
    if unknown := [name for name in unset if name not in FIELDS]:
        raise RulesError(f'there is no field "{unknown[0]}"; there are {", ".join(FIELDS)}')
    touched = [n for n in FIELDS if n in unset or getattr(changes, n) is not None]
    if owner:
        kept = before.locked or ()
        for name in touched:
            if name not in OWNERS_FIELDS or name in kept:
                raise NotYours(f"{name}: only an administrator may say that")
    check(changes)
    wider = [said(tx, each) for each in scope.wider]
    if looser := loosened(wider, changes):
        name = looser[0]
        by = next(s for s, r in zip(scope.wider, wider, strict=True) if name in (r.locked or ()))
        raise RulesError(
            f"{name}: {Scope(by).shown} has locked it; here it can only be made stricter"
        )
    return changed(before, changes, unset)
