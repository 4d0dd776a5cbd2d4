"""Tidy: a server's words in the one form in which phrases are looked for.

Lower case, one blank between words, simple quotes; the codes that each line of a long reply repeats
(RFC 2034 §4) are taken out, and addresses are, for they may hold any word: "<>" and "@" stand in
their place.
"""

from __future__ import annotations

import re

from estafeta.explain.judge.limits import WORDS_CHARACTERS_MAX

_REPEATED = re.compile(r"(?<![^\s(\[])[245][0-9]{2}[- ]#?[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![\w.])")
_CODE = re.compile(r"(?<!\S)[45][0-9]{2}-")
_STATUS = re.compile(r"(?<![\w.])[45]\.[0-9]{1,3}\.[0-9]{1,3}(?![\w.])")
_BRACKETED = re.compile(r"<[^<>@\s]{0,256}@[^<>\s]{0,256}>")
_BARE = re.compile(r"[^\s@<>\"'()\[\],;:/?&]{1,256}@[^\s@<>\"'()\[\],;/?&]{1,256}")
_QUOTES = str.maketrans("’‘“”´`", "''\"\"''")


def tidy(text: str) -> str:
    """The words as phrases expect them."""
    words = text[:WORDS_CHARACTERS_MAX].lower().translate(_QUOTES)
    if "@" in words:
        words = _BRACKETED.sub("<>", words)
        if "@" in words:
            words = _BARE.sub("@", words)
    words = _CODE.sub(" ", _REPEATED.sub(" ", words))
    return " ".join(words.split())


def status_within(text: str) -> str:
    """An enhanced status (RFC 3463) that the words hold, which says more than "x.0.0"; or ""."""
    for found in _STATUS.finditer(text[:WORDS_CHARACTERS_MAX]):
        if not found[0].endswith(".0.0"):
            return found[0]
    return ""
