"""Flags: system flags as bits, keywords as one sorted string (RFC 9051 §2.3.2)."""

from __future__ import annotations

from collections.abc import Iterable

from estafeta.store.limits import KEYWORD_OCTETS_MAX, KEYWORDS_MAX

SEEN = 1
ANSWERED = 2
FLAGGED = 4
DELETED = 8
DRAFT = 16
ALL = SEEN | ANSWERED | FLAGGED | DELETED | DRAFT

NAMES = {
    SEEN: "\\Seen",
    ANSWERED: "\\Answered",
    FLAGGED: "\\Flagged",
    DELETED: "\\Deleted",
    DRAFT: "\\Draft",
}
BITS = {name.lower(): bit for bit, name in NAMES.items()}

QUEUED = "$Queued"
DELAYED = "$Delayed"
DELIVERED = "$Delivered"
PARTLY_DELIVERED = "$PartlyDelivered"
BOUNCED = "$Bounced"
OURS = (QUEUED, DELAYED, DELIVERED, PARTLY_DELIVERED, BOUNCED)
"""What the server alone says of a message that was sent (store/tracker.py)."""
_OURS = frozenset(keyword.lower() for keyword in OURS)

# atom (RFC 9051 §9): any CHAR but atom-specials, SP and CTL.
_ATOM = frozenset(chr(c) for c in range(0x21, 0x7F)) - frozenset('(){%*"\\]')


class KeywordError(Exception):
    """Not a keyword, or too many of them; the text says which."""


def checked(keyword: str) -> str:
    """`keyword`, if it is a flag-keyword (RFC 9051 §9) of a bearable length. KeywordError else."""
    if not keyword or len(keyword) > KEYWORD_OCTETS_MAX or not _ATOM.issuperset(keyword):
        raise KeywordError(f"{keyword[:KEYWORD_OCTETS_MAX]!r} cannot be a keyword")
    return keyword


def joined(keywords: Iterable[str]) -> str:
    """Sorted, one blank between; equal but for case is equal (the first spelling in order wins)."""
    unique = {keyword.lower(): keyword for keyword in sorted(keywords, reverse=True)}
    # Ours are not counted: a client would be refused for what it never said.
    if len(unique) > KEYWORDS_MAX and len(of_clients(unique)) > KEYWORDS_MAX:
        raise KeywordError(f"a message bears at most {KEYWORDS_MAX} keywords")
    return " ".join(sorted(unique.values()))


def is_ours(keyword: str) -> bool:
    """Whether no client sets it or takes it away."""
    return keyword.lower() in _OURS


def of_clients(keywords: Iterable[str]) -> frozenset[str]:
    """Those that a client may set or take away."""
    return frozenset(keyword for keyword in keywords if not is_ours(keyword))


def with_ours(keywords: str, ours: str) -> str:
    """`keywords` with that one of ours, "" for none, in place of any it has."""
    others = [keyword for keyword in split(keywords) if not is_ours(keyword)]
    return " ".join(sorted([*others, ours] if ours else others))


def ours_of(keywords: str) -> str:
    """That one of ours that is among them, or ""."""
    return next((keyword for keyword in split(keywords) if is_ours(keyword)), "")


def split(keywords: str) -> list[str]:
    return keywords.split(" ") if keywords else []


def names(flags: int, keywords: str = "") -> list[str]:
    """As IMAP shows them: system flags first."""
    return [name for bit, name in NAMES.items() if flags & bit] + split(keywords)
