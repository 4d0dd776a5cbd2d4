"""Faults: what of our own set-up others refuse our mail for, and what a check of it found.

The data is `faults.toml` and `block_lists.toml`. Some faults have enhanced statuses of their own
(RFC 7372 §3), most are told by words; which cause that makes is the judge's matter. Pure.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from estafeta.explain.words import LANGUAGES, pick_language, say

Kind = Literal["reverse-dns", "greeting", "block-list", "sender-domain", "sender-dns", "tls"]
"""What is looked at, and how."""


class FaultWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For the administrator."""

    title: str
    remedy: str


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """causes: codes of the catalogue that name it."""

    code: str
    causes: tuple[str, ...]
    check: Kind
    words: dict[str, FaultWords]

    def in_words(self, language: str) -> FaultWords:
        return self.words[pick_language(language)]


class BlockList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See block_lists.toml."""

    zone: str
    words: tuple[str, ...]
    removal: str


class Checked(msgspec.Struct, frozen=True):
    """What a check came to. holds: the thing is in order; None: it cannot be told.

    what: names the text `check.<what>`, data: its values.
    """

    holds: bool | None
    what: str
    data: dict[str, str] = {}

    def in_words(self, language: str) -> str:
        return say(f"check.{self.what}", language, **self.data)


@lru_cache
def faults() -> dict[str, Fault]:
    """Every fault by its code, in the order of the file."""
    data = tomllib.loads((files(__package__) / "faults.toml").read_text("utf-8"))
    return {code: _fault(code, table) for code, table in data.items()}


@lru_cache
def fault_of(cause: str) -> Fault | None:
    """The fault that a permanent refusal for this cause names; None: it is not ours."""
    return next((fault for fault in faults().values() if cause in fault.causes), None)


@lru_cache
def block_lists() -> tuple[BlockList, ...]:
    data = tomllib.loads((files(__package__) / "block_lists.toml").read_text("utf-8"))
    return tuple(msgspec.convert(each, BlockList) for each in data["list"])


def block_list_of(words: str) -> BlockList | None:
    """The list that a reply speaks of; None: none that can be asked."""
    lowered = words.lower()
    return next((each for each in block_lists() if any(w in lowered for w in each.words)), None)


def removal_at(zone: str) -> str:
    """Where an address is taken off that list, "" if we do not know."""
    return next((each.removal for each in block_lists() if each.zone == zone), "")


_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7})"
                      r"(?![\w:]|\.\d)", re.IGNORECASE)  # fmt: skip


def addresses_in(words: str) -> Iterator[str]:
    """Global IP addresses that a reply names."""
    for match in _ADDRESS.finditer(words):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.is_global:
            yield str(address)


# Labels below which a country's names are given out: "co.uk".
_SECOND = frozenset({"ac", "co", "com", "edu", "gob", "gov", "ne", "net", "or", "org"})


def family_of(host: str) -> str:
    """What servers of one house have in common: "mx1.b.example [192.0.2.1]:25" is of b.example."""
    name = host.partition(" ")[0].rstrip(".").lower()
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        labels = name.split(".")
        short = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND
        return ".".join(labels[-3 if short else -2 :])
    return name


def _fault(code: str, table: dict[str, Any]) -> Fault:
    words = {language: table.pop(language, {}) for language in LANGUAGES}
    return msgspec.convert({"code": code, "words": words, **table}, Fault)
