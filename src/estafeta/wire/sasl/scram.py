"""scram: the arithmetic and the message grammar of SCRAM-SHA-256 (RFC 5802, RFC 7677).

Both sides use it. What is stored of a password (`ScramKeys`) lets the server check a client and
prove itself, and does not let anybody log in.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from typing import Final

import msgspec

from estafeta.wire.sasl.prep import prepared_password

ITERATIONS: Final = 100_000
"""Rounds of PBKDF2 for a new password. RFC 7677 §4 asks for at least 4096; the keys lie beside an
argon2id hash and should not be the cheap way to the password."""


class ScramKeys(msgspec.Struct, frozen=True):
    """What a server keeps of a password (RFC 5802 §3)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def scram_keys(password: str, salt: bytes, iterations: int = ITERATIONS) -> ScramKeys:
    """The keys of a password. Takes about 0.3 us a round: off the event loop."""
    salted = salted_password(password, salt, iterations)
    return ScramKeys(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.sha256(client_key(salted)).digest(),
        server_key=server_key(salted),
    )


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    prepared = prepared_password(password).encode()
    return hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)


def client_key(salted: bytes) -> bytes:
    return mac(salted, b"Client Key")


def server_key(salted: bytes) -> bytes:
    return mac(salted, b"Server Key")


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def attributes(text: str) -> list[tuple[str, str]]:
    """The "k=value" parts of a message, in order. Raises ValueError (RFC 5802 §5.1, §7)."""
    found = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if len(key) != 1 or not key.isascii() or not key.isalpha() or not equals:
            raise ValueError("an attribute is a letter, an equals sign and a value")
        found.append((key, value))
    return found


def encode_name(name: str) -> str:
    """RFC 5802 §5.1: "=" and "," do not stand in a name."""
    return name.replace("=", "=3D").replace(",", "=2C")


def decode_name(name: str) -> str:
    """The name that `encode_name` wrote. Raises ValueError."""
    plain = name.replace("=2C", ",").replace("=3D", "\0")
    if "=" in plain:
        raise ValueError("an equals sign in a name is written =3D")
    return plain.replace("\0", "=")


def to_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def from_base64(text: str) -> bytes:
    """Raises ValueError."""
    return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
