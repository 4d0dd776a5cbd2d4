"""Folding: a reverse-path without what changes from one message of the same sender to the next.

Signatures (BATV, SRS), the recipient in the sender (VERP), numbers and tokens. For telling whether
somebody was here before; never to send to.
"""

from __future__ import annotations

import re
from functools import lru_cache

from estafeta.deliver.limits import FOLDED_CACHED_MAX

_MARK = "#"

# draft-levine-smtp-batv-01 §4, and forms of it that are about.
_BATV = re.compile(r"(?:prvs|msprvs1)=[0-9a-z]+=|btv1==[0-9a-z]+==")
# SRS0=hash=day=domain=local, SRS1=hash=forwarder==hash=day=domain=local; after the tag, "+" and "-"
# may stand for the first "=".
_SRS0 = re.compile(r"srs0[=+-][^=]+=[^=]+=([^=]+)=(.+)")
_SRS1 = re.compile(r"srs1[=+-][^=]+=[^=]+=[=+-][^=]+=[^=]+=([^=]+)=(.+)")
# owner-list+bob=b.example: everything behind the first "+", or else the first "-", is the recipient
# and what came with them.
_VERP = re.compile(r"([^=+]+\+|[^=+-]+-)[^=]+=[a-z0-9._-]+\.[a-z0-9-]+")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_WORD = re.compile(r"[a-z0-9]+")
_DIGITS = re.compile(r"[0-9]+")
_MARKS = re.compile(r"#(?:[-_.=+/#]*#)+")
_HEX = frozenset("0123456789abcdef")

_HEX_CHARACTERS_MIN = 8
"""A word of so many hexadecimal digits, one of them a figure, is a token."""

_TOKEN_CHARACTERS_MIN = 12
"""And one of so many letters and figures, two of them figures."""


def unsigned(reverse_path: str) -> str:
    """The address that was signed by BATV; in lower case."""
    lowered = reverse_path.lower()
    match = _BATV.match(lowered)
    return lowered if match is None else lowered[match.end() :]


@lru_cache(FOLDED_CACHED_MAX)
def folded(reverse_path: str) -> str:
    """ "" for the null reverse-path."""
    local, at, domain = unsigned(reverse_path).rpartition("@")
    if not at:
        local, domain = domain, ""
    for form in (_SRS0, _SRS1):
        match = form.fullmatch(local)
        if match is not None:
            local = f"srs={match[1]}={match[2]}"
            break
    else:
        verp = _VERP.fullmatch(local)
        if verp is not None:
            local = verp[1] + _MARK
    local = _WORD.sub(_token, _UUID.sub(_MARK, local))
    return _MARKS.sub(_MARK, local) + at + domain


def _token(match: re.Match[str]) -> str:
    word = match[0]
    figures = sum(map(str.isdigit, word))
    if figures and len(word) >= _HEX_CHARACTERS_MIN and _HEX.issuperset(word):
        return _MARK
    if figures >= 2 and len(word) >= _TOKEN_CHARACTERS_MIN:
        return _MARK
    return _DIGITS.sub(_MARK, word) if figures else word
