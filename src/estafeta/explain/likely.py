"""Likely: the address that was probably meant, where one that was typed leads nowhere.

Promises: pure; what may have been meant is an argument. Only what is near enough for its length,
and nearer than all else, is named: a wrong name is worse than none. A domain that is known never
stands for another, however alike. Of people, only those are named with whom the sender is in
correspondence: who has a mailbox somewhere is given away by nobody's bounce.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.resources import files

import msgspec

from estafeta.explain.slips import CHEAPEST, OMITTED, OTHER, SEPARATOR, distance, folded
from estafeta.mail.address import domain_to_unicode

DOMAIN_CAUSES = frozenset(
    {"domain-not-found", "domain-unresolved", "no-mail-host", "null-mx", "host-takes-no-mail"}
)
"""Causes that say of the domain itself that nobody is reached there."""

PERSON_CAUSES = frozenset(
    {"unknown-user", "unknown-or-filtered", "unroutable-address", "bad-address"}
)
"""Causes that say it of the address."""

MARGIN = 0.15
"""By so much the nearest must be nearer than what comes next."""

_SAME_PERSON, _CORRESPONDENT, _OURS, _GREAT, _PROVIDER = 0.0, 0.2, 0.3, 0.4, 0.7
"""What a candidate costs beside the slips, by where it is known from."""

_DOMAIN_BUDGET = (0.0, 0.0, 0.0, 0.6, 0.8, 1.0, 1.2, 1.2, 1.6, 1.6, 1.6, 2.0)
"""Slips that a domain's name may have, by its length; the last holds for all that are longer."""

_LOCAL_BUDGET = (0.0, 0.0, 0.0, 0.0, 0.6, 0.8, 0.8, 1.0, 1.0, 1.0, 1.6)
"""The same of what stands before the @, where more names are alike."""

_OTHER_ENDING_CHARACTERS = 4
"""A name of so many characters is known again under another ending."""

# Labels below which a country's names are given out.
_SECOND = frozenset(
    {"ac", "co", "com", "edu", "gob", "gouv", "gov", "ne", "net", "nom", "or", "org"}
)
# Endings that exist and are one slip from another: the one is not mistaken for the other.
# fmt: off
_REAL = frozenset((
    "at", "au", "be", "bg", "br", "ca", "ch", "cl", "cz", "de", "dk", "ee", "es", "eu", "fi", "fr",
    "gr", "hr", "hu", "ie", "il", "in", "info", "io", "is", "it", "jp", "kr", "li", "lt", "lu",
    "lv", "me", "mx", "net", "nl", "no", "nz", "org", "pe", "pl", "pt", "ro", "rs", "ru", "se",
    "si", "sk", "tr", "uk", "us", "uy", "ve",
))
# fmt: on
_WORDS = re.compile(r"[-._]+")
_NOT_DIGITS = re.compile(r"[^0-9]+")


class _Domain(msgspec.Struct, frozen=True):
    """In U-labels. mail.example.co.uk has the name mail.example and the ending co.uk. letters: of
    the name, a bit for each and each time it occurs."""

    whole: str
    name: str
    ending: str
    letters: int


def likely(
    address: str,
    cause: str,
    *,
    correspondents: Iterable[str] = (),
    domains: Iterable[str] = (),
) -> str:
    """The address probably meant, "" for none. cause: why mail for `address` did not arrive.

    correspondents: addresses that the sender is in correspondence with; domains: ours. Both in
    canonical form.
    """
    local, _, domain = address.rpartition("@")
    if cause in DOMAIN_CAUSES:
        found = likely_domain(domain, local=local, correspondents=correspondents, domains=domains)
        return f"{local}@{found}" if found else ""
    if cause in PERSON_CAUSES:
        return likely_person(address, correspondents)
    return ""


def likely_domain(
    domain: str,
    *,
    local: str = "",
    correspondents: Iterable[str] = (),
    domains: Iterable[str] = (),
) -> str:
    """The domain probably meant by one that takes no mail, "" for none. local: what stood before
    the @: that somebody of that name is known there speaks for a domain."""
    known: dict[str, float] = {}
    for candidate, cost in _with_costs(local, correspondents, domains):
        if cost < known.get(candidate, OTHER):
            known[candidate] = cost
    if domain in known:
        return ""
    typed = _parsed(domain)
    found: list[tuple[float, str]] = []
    for candidate, cost in known.items():
        slips = _domain_distance(typed, _parsed(candidate))
        if slips < math.inf:
            found.append((slips + cost, candidate))
    return _nearest(found)


def likely_person(address: str, correspondents: Iterable[str]) -> str:
    """The correspondent probably meant by an address that does not exist, "" for none: another at
    that domain, or somebody of the very same name at a domain like it."""
    local, _, domain = address.rpartition("@")
    typed = _parsed(domain)
    found: list[tuple[float, str]] = []
    for other in correspondents:
        name, _, where = other.rpartition("@")
        if other == address:
            return ""  # it was right once; whoever it was is there no more
        if where == domain:
            slips = _local_distance(local.lower(), name.lower())
        elif name.lower() == local.lower():
            slips = _domain_distance(typed, _parsed(where))
        else:
            continue
        if slips < math.inf:
            found.append((slips, other))
    return _nearest(found)


@lru_cache
def providers() -> dict[str, float]:
    """Domains of large providers (providers.toml), and what each costs as a candidate."""
    data = tomllib.loads((files(__package__) / "providers.toml").read_text("utf-8"))
    others = (domain for group in data["others"].values() for domain in group)
    return dict.fromkeys(others, _PROVIDER) | dict.fromkeys(data["great"], _GREAT)


def _with_costs(
    local: str, correspondents: Iterable[str], domains: Iterable[str]
) -> Iterator[tuple[str, float]]:
    yield from providers().items()
    for domain in domains:
        yield domain, _OURS
    for address in correspondents:
        name, _, domain = address.rpartition("@")
        same = bool(local) and name.lower() == local.lower()
        yield domain, _SAME_PERSON if same else _CORRESPONDENT


def _nearest(found: list[tuple[float, str]]) -> str:
    """The one that is nearer than all others; "" where two are about as near."""
    found.sort()
    if not found or (len(found) > 1 and found[1][0] - found[0][0] < MARGIN):
        return ""
    return found[0][1]


# Domains ---------------------------------------------------------------------------------------


@lru_cache(maxsize=16384)
def _parsed(domain: str) -> _Domain:
    whole = domain_to_unicode(domain)
    labels = whole.split(".")
    count = 0 if len(labels) == 1 else 1
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND:
        count = 2
    name, ending = ".".join(labels[: len(labels) - count]), ".".join(labels[len(labels) - count :])
    letters = 0
    for letter in folded(name):
        bit = 1 << (ord(letter) & 127)
        while letters & bit:
            bit <<= 128
        letters |= bit
    return _Domain(whole, name, ending, letters)


def _domain_distance(typed: _Domain, meant: _Domain) -> float:
    """Price of the slips, infinite where it is too much to be one. `meant` is a whole domain."""
    budget = _allowed(_DOMAIN_BUDGET, meant.name)
    if typed.whole in (f"www.{meant.whole}", f"{meant.whole}.{meant.ending}"):
        return SEPARATOR
    if typed.ending:
        # Most are told apart by their letters alone. A slip puts one for one, adds or leaves out
        # one; two for one stands for two slips once.
        missing = (meant.letters & ~typed.letters).bit_count()
        too_many = (typed.letters & ~meant.letters).bit_count()
        if (max(missing, too_many) - 1) * CHEAPEST > budget:
            return math.inf
        if typed.ending == meant.ending:
            return distance(typed.name, meant.name, budget)
        ending = _ending_distance(typed.ending, meant.ending)
        if ending < math.inf:
            return ending + distance(typed.name, meant.name, budget / 2)
        if typed.name == meant.name and len(meant.name) >= _OTHER_ENDING_CHARACTERS:
            return OTHER
        # A dot too many, too few, or a hyphen.
        return distance(typed.whole, meant.whole, SEPARATOR)
    if typed.name == meant.name:
        return OMITTED  # no ending at all
    return distance(typed.whole, meant.whole, budget)


@lru_cache(maxsize=4096)
def _ending_distance(typed: str, meant: str) -> float:
    """Of ".con" to ".com"; infinite where it is another one rather than a slip."""
    return math.inf if typed in _REAL else distance(typed, meant, OTHER)


def _allowed(budgets: tuple[float, ...], name: str) -> float:
    return budgets[min(len(name), len(budgets) - 1)]


# Local parts -----------------------------------------------------------------------------------


def _local_distance(typed: str, meant: str) -> float:
    """As `_domain_distance`, of what stands before the @."""
    if _NOT_DIGITS.sub("", typed) != _NOT_DIGITS.sub("", meant):
        return math.inf  # people are numbered
    mine, theirs = _WORDS.split(typed), _WORDS.split(meant)
    if len(mine) == len(theirs) > 1 and sorted(mine) == sorted(theirs):
        return SEPARATOR  # perez.juan
    if len(mine) == len(theirs) and any(
        a != b and _are_two_names(a, b) for a, b in zip(mine, theirs, strict=True)
    ):
        return math.inf
    return distance(typed, meant, _allowed(_LOCAL_BUDGET, meant))


def _are_two_names(one: str, other: str) -> bool:
    """Rather than one with a slip: other initials; Mario and Maria."""
    if min(len(one), len(other)) <= 2:
        return True
    return one[:-1] == other[:-1] and {one[-1], other[-1]} == {"a", "o"}
