"""Causes: the catalogue of why a message did not arrive, with words. The data is `causes.toml`."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from estafeta.explain.words import LANGUAGES, pick_language

Owner = Literal["you", "recipient", "their-administrator", "your-administrator", "nobody"]
UNKNOWN = "other"


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cause in one language; {address}, {domain} and {host} may stand in each.

    remedy: what to do while it is tried again, or once for all. returned: what to do after the
    message came back, "" where that is no other than `remedy`.
    """

    title: str
    explanation: str
    remedy: str
    returned: str = ""


class Cause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """code: stable, programs rely on it. permanent: we do not try again. owner: who can repair it.

    hard: this address or domain will never take mail. sisimai: the bounce reasons of
    libsisimai.org that it is or refines. source: where the notion is defined.

    What really happens to a message follows from the reply; `permanent` is what is usual.
    """

    code: str
    permanent: bool
    owner: Owner
    sisimai: tuple[str, ...]
    source: str
    words: dict[str, Words]
    hard: bool = False

    def in_words(self, language: str, *, address: str, host: str = "") -> Words:
        """Its words with the values put in. address: or words for one that is not known; then the
        host stands for its domain."""
        domain = address.rpartition("@")[2] if "@" in address else host or address
        values = {"address": address, "domain": domain, "host": host}
        words = self.words[pick_language(language)]
        return Words(
            title=words.title.format_map(values),
            explanation=words.explanation.format_map(values),
            remedy=words.remedy.format_map(values),
            returned=words.returned.format_map(values),
        )


@lru_cache
def causes() -> dict[str, Cause]:
    """Every cause by its code, in the order of the file."""
    data = tomllib.loads((files(__package__) / "causes.toml").read_text("utf-8"))
    for table in data.values():
        if table["permanent"]:
            continue
        for language in LANGUAGES:  # nobody tries again what has been returned
            table[language].setdefault("returned", data["expired"][language]["remedy"])
    return {code: _cause(code, table) for code, table in data.items()}


def cause(code: str) -> Cause:
    """The cause of that code; `other` for one that the catalogue does not know."""
    known = causes()
    return known.get(code) or known[UNKNOWN]


def _cause(code: str, table: dict[str, Any]) -> Cause:
    words = {language: table.pop(language, {}) for language in LANGUAGES}
    return msgspec.convert({"code": code, "words": words, **table}, Cause)
