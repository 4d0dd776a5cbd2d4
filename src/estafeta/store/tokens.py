"""Tokens: the installation's signed names of its messages, and where their key is kept.

Promises: one key for all workers and nodes of a store, made once; a token stays known through as
many rotations as keys are kept; what reads one always asks the store, what makes one remembers.
"""

from __future__ import annotations

import random

import msgspec

from estafeta.store import counters, meta
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import parse_queue_id, queue_id
from estafeta.trust import token
from estafeta.trust.token import KEY_OCTETS, Keys, Place

_NAME = "token-keys"


class Tokens:
    """Those of one process."""

    def __init__(self, store: Store, dice: random.Random) -> None:
        self._store = store
        self._dice = dice
        self._keys: Keys | None = None

    async def ready(self) -> None:
        """Must have returned once before `make`. Raises StoreError."""
        if self._keys is None:
            fresh = Keys(self._dice.randbytes(KEY_OCTETS))
            self._keys = await self._store.run(lambda tx: _agreed(tx, fresh))

    def forget(self) -> None:
        """The key may have been changed: the next `ready` asks for it."""
        self._keys = None

    def make(self, acceptance: int, place: Place) -> str:
        """The token that names an acceptance."""
        assert self._keys is not None, "ready() comes first"
        return token.make(self._keys, queue_id(acceptance), place)

    def message_id(self, acceptance: int, domain: str) -> str:
        """A Message-ID, with its brackets, for the message of that acceptance."""
        return f"<{self.make(acceptance, 'message-id')}@{domain}>"

    async def read(self, text: str, place: Place) -> int | None:
        """The acceptance that a token within `text` names, None where none is ours: whether it is
        there still is the ledger's matter. Raises StoreError."""
        keys = await self._store.read(stored)
        found = None if keys is None else token.read(keys, text, place)
        return None if found is None else parse_queue_id(found)


def stored(tx: Tx) -> Keys | None:
    """The keys of this store; None before the first token was made."""
    value = meta.get(tx, _NAME)
    return None if value is None else msgspec.json.decode(value, type=Keys)


def rotate(tx: Tx, fresh: bytes) -> Keys:
    """Another key from now on, for each process from its next start or reload."""
    counters.hold(tx, _NAME)
    keys = stored(tx)
    keys = Keys(fresh) if keys is None else keys.rotated(fresh)
    meta.put(tx, _NAME, _encoded(keys))
    return keys


def _agreed(tx: Tx, fresh: Keys) -> Keys:
    return msgspec.json.decode(meta.agreed(tx, _NAME, _encoded(fresh)), type=Keys)


def _encoded(keys: Keys) -> str:
    return msgspec.json.encode(keys).decode()
