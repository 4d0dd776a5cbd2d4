"""Organisation: the domain that somebody registered, above all the names they gave out themselves.

By the public suffix list, its private section included: customers of a hosting company whose names
lie below the company's own are organisations of their own. The list comes with the package
`publicsuffixlist` and is read at the first question.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

import msgspec

from estafeta.mail.limits import ORGANISATIONS_CACHED_MAX


class _Rules(msgspec.Struct, frozen=True):
    """Suffixes as they are; those of which every name one label longer is one ("*."); names that
    are none all the same ("!"). All lower case, A-labels."""

    plain: frozenset[str]
    wild: frozenset[str]
    exceptions: frozenset[str]


@lru_cache(ORGANISATIONS_CACHED_MAX)
def organisation(domain: str) -> str:
    """`domain`: lower case, A-labels (mail/address/domain.py). "" where nobody registered it: a
    public suffix, a single label, an address."""
    labels = domain.split(".")
    if not all(labels) or domain.startswith("[") or labels[-1].isdigit():
        return ""
    rules = _rules()
    for n in range(len(labels)):
        name = ".".join(labels[n:])
        if name in rules.exceptions:
            return name
        if name in rules.plain or ".".join(labels[n + 1 :]) in rules.wild:
            return ".".join(labels[n - 1 :]) if n else ""
    # What the list does not know is taken for a top-level domain: its rule "*".
    return ".".join(labels[-2:]) if len(labels) > 1 else ""


@cache
def _rules() -> _Rules:
    found: dict[str, set[str]] = {"": set(), "*.": set(), "!": set()}
    text = (files("publicsuffixlist") / "public_suffix_list.dat").read_text("utf-8")
    for line in text.splitlines():
        if not line or line.startswith("//") or line.isspace():
            continue
        rule = line.split(maxsplit=1)[0].lower()
        kind = "*." if rule.startswith("*.") else "!" if rule.startswith("!") else ""
        name = rule[len(kind) :]
        found[kind].add(name if name.isascii() else name.encode("idna").decode("ascii"))
    return _Rules(*(frozenset(found[kind]) for kind in ("", "*.", "!")))
