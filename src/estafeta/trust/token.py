"""token: a short word, signed by us, that names one of our messages wherever it turns up again.

It stands where a report about the message brings it back: in ENVID (RFC 3461 §4.4) and in the
Message-IDs that we make. Nobody without our key can make one, and the one of a Message-ID, which
every reader of the message knows, does not pass for the one of ENVID, which servers alone see.
Letters, digits and dots only, so that nothing on the way has to quote it; case does not matter.

`E1.` queue id `.` the first 130 bits of an HMAC-SHA-256 (RFC 2104 §5: half of it at least), in base
32.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Literal

import msgspec

Place = Literal["envid", "message-id"]

KEY_OCTETS = 32
FORMER_KEYS_MAX = 2
"""Keys that were taken out of use, and still open what was signed with them."""

_VERSION = "E1"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # as of queue ids: no I, L, O, U
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SIGNATURE_LETTERS = 26
_SHIFTS = range(5 * (_SIGNATURE_LETTERS - 2), -1, -10)  # of its pairs of letters
_FORM = re.compile(
    rf"(?<![0-9A-Z.]){_VERSION}\.([{_ALPHABET}]{{13}})\.([{_ALPHABET}]{{{_SIGNATURE_LETTERS}}})"
    r"(?![0-9A-Z.])"
)
_LOOKED_AT_MAX = 1000
"""Of a text that may hold a token, the characters that are looked at."""


class Keys(msgspec.Struct, frozen=True):
    """What an installation signs with. former: the latest first."""

    current: bytes
    former: tuple[bytes, ...] = ()

    def rotated(self, fresh: bytes) -> Keys:
        """`fresh` signs from now on; what was signed before is known for some time."""
        return Keys(fresh, (self.current, *self.former)[:FORMER_KEYS_MAX])


def make(keys: Keys, queue_id: str, place: Place) -> str:
    """The token of the acceptance with that queue id."""
    return f"{_VERSION}.{queue_id}.{_signature(keys.current, queue_id, place)}"


def read(keys: Keys, text: str, place: Place) -> str | None:
    """The queue id that a token within `text` names; None where there is none of ours."""
    for queue_id, signature in _candidates(text):
        for key in (keys.current, *keys.former):
            if hmac.compare_digest(_signature(key, queue_id, place), signature):
                return queue_id
    return None


def _candidates(text: str) -> Iterable[tuple[str, str]]:
    upper = text[:_LOOKED_AT_MAX].upper()
    return ((found[1], found[2]) for found in _FORM.finditer(upper))


def _signature(key: bytes, queue_id: str, place: Place) -> str:
    digest = hmac.digest(key, f"{_VERSION}\0{place}\0{queue_id}".encode(), "sha256")
    number = int.from_bytes(digest[:17], "big") >> 6
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
