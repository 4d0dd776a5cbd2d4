"""Credentials: passwords as argon2id and SCRAM keys, and who may come in.

Promises: argon2id runs off the loop, a bounded number at once; a login that was right is right for
ten minutes without it, unless password, account or its state change: the row is read each time. An
unknown account costs the time of a known one and has SCRAM keys that look like any other's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
from collections import OrderedDict

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from estafeta.store import meta
from estafeta.store.engine import Row, Store
from estafeta.store.limits import HASHINGS_AT_ONCE, LOGIN_CACHE_SECONDS, LOGINS_CACHED_MAX
from estafeta.store.rows import Account
from estafeta.wire.sasl import ITERATIONS, ScramKeys, prepared_password, scram_keys
from estafeta.world.seams import World

# RFC 9106 §4 in half the memory: HASHINGS_AT_ONCE of them must fit beside the mail.
_HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1, type=Type.ID)
_SALT_OCTETS = 16
_SECRET = "login-secret"  # noqa: S105  (a name in `meta`)
_ROW = (
    "SELECT id, address, domain, name, language, quota, used, disabled, password,"
    " scram_salt, scram_iterations, scram_stored, scram_server FROM account WHERE address = ?"
)


class Password(msgspec.Struct, frozen=True):
    """What is kept of a password."""

    argon2id: str
    scram: ScramKeys


def make_password(plain: str, dice: random.Random) -> Password:
    """Takes about 0.1 s: on the loop only where nobody waits (the command line)."""
    salts = dice.randbytes(2 * _SALT_OCTETS)
    return _made(plain, salts)


async def hash_password(plain: str, dice: random.Random) -> Password:
    """The same in a thread; both hashes release the interpreter's lock."""
    salts = dice.randbytes(2 * _SALT_OCTETS)
    return await asyncio.to_thread(_made, plain, salts)


def _made(plain: str, salts: bytes) -> Password:
    return Password(
        argon2id=_HASHER.hash(prepared_password(plain), salt=salts[:_SALT_OCTETS]),
        scram=scram_keys(plain, salts[_SALT_OCTETS:]),
    )


def _matches(hashed: str, plain: str) -> bool:
    try:
        return _HASHER.verify(hashed, plain)
    except (VerificationError, InvalidHashError):
        return False


def _account(row: Row) -> Account:
    values = list(row[:8])
    values[7] = bool(values[7])
    return Account(*values)


class Authenticator:
    """Who may come in. secret: what fake SCRAM keys are made from; else one kept in the store."""

    def __init__(self, store: Store, world: World, secret: bytes | None = None) -> None:
        self._store = store
        self._world = world
        self._secret = secret
        self._cache_key = world.dice.randbytes(32)
        # Tag of (address, password, stored hash) -> until when, on the clock of the loop.
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._hashing = asyncio.Semaphore(HASHINGS_AT_ONCE)
        self._nobody: str | None = None

    async def check(self, address: str, password: str) -> Account | None:
        """The account, if `password` is its and it is not disabled. address: a key, or anything."""
        row = await self._store.read(lambda tx: tx.row(_ROW, (address.lower(),)))
        hashed: str = row[8] if row is not None else ""
        prepared = prepared_password(password)
        tag = self._tag(address.lower(), prepared, hashed)
        now = asyncio.get_running_loop().time()
        if hashed and self._known.get(tag, 0.0) > now:
            right = True
        else:
            async with self._hashing:
                # Nobody's hash takes the time that somebody's would.
                against = hashed or await self._nobodys()
                right = await asyncio.to_thread(_matches, against, prepared) and bool(hashed)
            if right:
                self._remember(tag, now + LOGIN_CACHE_SECONDS)
        if row is None or not right or row[7]:
            return None
        return _account(row)

    async def why_refused(self, address: str) -> str:
        """Why a login by that name failed, for the log alone: a client must not learn it."""
        row = await self._store.read(lambda tx: tx.row(_ROW, (address.lower(),)))
        if row is None:
            return "no such account"
        if row[7]:
            return "the account is disabled"
        return "wrong password" if row[8] else "the account has no password"

    async def certified(self, address: str) -> Account | str:
        """The account of a client whose certificate names it, or why it may not come in."""
        row = await self._store.read(lambda tx: tx.row(_ROW, (address.lower(),)))
        if row is None:
            return "no such account"
        return "the account is disabled" if row[7] else _account(row)

    async def scram(self, address: str) -> tuple[Account | None, ScramKeys]:
        """The account, None where there is none that may come in, and keys in either case."""
        row = await self._store.read(lambda tx: tx.row(_ROW, (address.lower(),)))
        if row is not None and row[9] is not None and not row[7]:
            return _account(row), ScramKeys(*row[9:13])
        secret = self._secret
        if secret is None:
            secret = self._secret = await self._stored_secret()
        fake = hmac.digest(secret, b"salt\0" + address.lower().encode("utf-8", "replace"), "sha256")
        # Keys that no password has: nobody can show the client key whose hash is this.
        key = hmac.digest(secret, b"key\0" + fake, "sha256")
        return None, ScramKeys(fake[:_SALT_OCTETS], ITERATIONS, key, hashlib.sha256(key).digest())

    def _tag(self, address: str, password: str, hashed: str) -> bytes:
        text = "\0".join((address, hashed, password)).encode("utf-8", "surrogatepass")
        return hmac.digest(self._cache_key, text, "sha256")

    def _remember(self, tag: bytes, until: float) -> None:
        self._known[tag] = until
        self._known.move_to_end(tag)
        if len(self._known) > LOGINS_CACHED_MAX:
            self._known.popitem(last=False)

    async def _nobodys(self) -> str:
        if self._nobody is None:
            salt = self._world.dice.randbytes(_SALT_OCTETS)
            self._nobody = await asyncio.to_thread(_HASHER.hash, "", salt=salt)
        return self._nobody

    async def _stored_secret(self) -> bytes:
        fresh = self._world.dice.randbytes(32).hex()

        return bytes.fromhex(await self._store.run(lambda tx: meta.agreed(tx, _SECRET, fresh)))
