"""Book: which rules hold for a recipient, remembered.

Promises: the store is read only for whom nothing is remembered, and once in `LOOK_SECONDS` to see
whether a policy was changed; so a change counts that much later, in every process. What is
remembered is bounded.
"""

from __future__ import annotations

import msgspec
import structlog

from estafeta.deliver.policy.limits import LOOK_SECONDS, POLICIES_CACHED_MAX
from estafeta.deliver.policy.rules import Effective, Rules, effective
from estafeta.store import policies
from estafeta.store.engine import Tx
from estafeta.store.rows import Account
from estafeta.world.seams import Clock

log = structlog.get_logger("policy")


class StoredRules(Rules, frozen=True, forbid_unknown_fields=False):
    """As they lie in the store: a newer version may have said more."""


_decode = msgspec.json.Decoder(StoredRules, strict=False).decode


class Book:
    """That of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], Effective] = {}
        self._number = -1
        self._looked = 0.0

    def of(self, tx: Tx, address_domain: str, account: Account | None = None) -> Effective:
        """What holds for an address of that domain which leads to `account`."""
        now = self._clock.now()
        # A clock that was set back must not keep us from looking.
        if not 0 <= now - self._looked < LOOK_SECONDS:
            self._look(tx, now)
        key = (address_domain, account.address if account is not None else "")
        found = self._known.get(key)
        if found is None:
            found = effective(stored(tx, scopes_of(address_domain, account)))
            # A snapshot from before the last change must not be remembered beyond it.
            if policies.number(tx) == self._number:
                if len(self._known) >= POLICIES_CACHED_MAX:
                    self._known.clear()
                self._known[key] = found
        return found

    def _look(self, tx: Tx, now: float) -> None:
        number = policies.number(tx)
        if number != self._number:
            self._known = {}
            self._number = number
        self._looked = now


def scopes_of(address_domain: str, account: Account | None) -> list[str]:
    """The scopes that speak, the widest first. An address of another domain than its account's is
    ruled by both."""
    if account is None:
        return ["", address_domain]
    return list(dict.fromkeys(("", address_domain, account.domain, account.address)))


def stored(tx: Tx, scopes: list[str]) -> list[Rules]:
    """What these scopes say, those that say nothing left out."""
    return [read_rules(said) for said in policies.rules_of(tx, scopes)]


def read_rules(said: str) -> Rules:
    """Rules as the store keeps them; what cannot be read says nothing, and is logged."""
    try:
        return Rules(*msgspec.structs.astuple(_decode(said)))
    except msgspec.DecodeError as error:
        log.error("a policy in the store cannot be read", error=str(error), rules=said[:200])
        return Rules()


def write_rules(rules: Rules) -> str:
    return msgspec.json.encode(rules).decode()
