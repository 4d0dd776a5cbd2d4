"""Phrase: how words of a server are written down, so that they are found whatever surrounds them.

    mailbox full       these words, blanks and case do not count
    exceed*            the rest of a word
    blocked using … .  a gap of up to `GAP_CHARACTERS_MAX` characters
    ofr{n}_506         a number
    {box} … {full}     any word of these kinds (`kinds.toml`)
    ^ and $            where the words begin, where they end

Letters stand for whole words where they are Latin ones: "full" is not found in "carefully". No
phrase can make a search slow: gaps are bounded, and at most two stand in one phrase.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from estafeta.explain.judge.limits import GAP_CHARACTERS_MAX

GAPS_MAX = 2
_SPECIAL = re.compile(r"( ?… ?|\*|\{[a-z]+\})")
_MEANS = {"…": f".{{0,{GAP_CHARACTERS_MAX}}}?", "*": r"\w{0,40}", "{n}": r"[0-9]{1,9}"}
_LATIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = re.compile(r"[a-z0-9]+")

Kinds = Mapping[str, Sequence[str]]


class Phrase:
    """One phrase. Raises ValueError for one that is too vague, KeyError for a kind that is not.

    anchors: words of which one must be there for it to fit; empty where that is not known.
    """

    __slots__ = ("_kinds", "_literals", "_parts", "_plain", "_search", "anchors", "written")

    def __init__(self, written: str, kinds: Kinds) -> None:
        core = written.lower().removeprefix("^").removesuffix("$")
        parts = _SPECIAL.split(core)
        self.written = written
        self._kinds = kinds
        self._parts = parts
        self._literals = sorted(filter(None, parts[::2]), key=len, reverse=True)
        self._plain = len(parts) == 1 and core == written.lower()
        self._search: Callable[[str], object] | None = None
        named = [part[1:-1] for part in parts if part[:1] == "{" and part != "{n}"]
        if sum("…" in part for part in parts) > GAPS_MAX or not (named or self._literals):
            raise ValueError(f"too vague: {written}")
        self.anchors = _anchors(parts, [kinds[name] for name in named])

    def fits(self, words: str) -> bool:
        """Whether it is found in the words (as `tidy` leaves them)."""
        for literal in self._literals:
            if literal not in words:
                return False
        if self._plain:
            return _stands(self._literals[0], words)
        if self._search is None:  # most phrases are never looked for
            self._search = re.compile(self.pattern()).search
        return self._search(words) is not None

    def pattern(self) -> str:
        """The regular expression that it stands for."""
        last = len(self._parts) - 1
        found = []
        for n, part in enumerate(self._parts):
            if n % 2:
                found.append(self._special(part.strip()))
            elif part:
                opens = n == 0 or "…" in self._parts[n - 1]
                closes = n == last or "…" in self._parts[n + 1]
                before = "(?<![a-z0-9])" if opens and part[0] in _LATIN else ""
                after = "(?![a-z0-9])" if closes and part[-1] in _LATIN else ""
                found.append(before + re.escape(part) + after)
        begins = "^" if self.written.startswith("^") else ""
        return begins + "".join(found) + ("$" if self.written.endswith("$") else "")

    def _special(self, part: str) -> str:
        if part in _MEANS:
            return _MEANS[part]
        any_of = (Phrase(word, {}).pattern() for word in self._kinds[part[1:-1]])
        return f"(?:{'|'.join(any_of)})"


def words_of(text: str) -> set[str]:
    """The words among which anchors are looked for."""
    return set(_WORD.findall(text))


def _stands(literal: str, words: str) -> bool:
    """Whether it is there as whole words."""
    opens, closes = literal[0] in _LATIN, literal[-1] in _LATIN
    at = words.find(literal)
    while at >= 0:
        end = at + len(literal)
        begun = opens and at > 0 and words[at - 1] in _LATIN
        if not begun and not (closes and words[end : end + 1] in _LATIN):
            return True
        at = words.find(literal, at + 1)
    return False


def _anchors(parts: list[str], kinds: list[Sequence[str]]) -> tuple[str, ...]:
    """The longest word of its own, else one of every word of a kind, where each has one."""
    own = max(_whole_words(parts), key=len, default="")
    if own:
        return (own,)
    for words in kinds:
        each = [max(_whole_words(_SPECIAL.split(word)), key=len, default="") for word in words]
        if all(each):
            return tuple(dict.fromkeys(each))
    return ()


def _whole_words(parts: list[str]) -> list[str]:
    """The words that stand in a phrase from end to end."""
    found = []
    for n in range(0, len(parts), 2):
        part = parts[n]
        for word in _WORD.finditer(part):
            begun = word.start() == 0 and n > 0 and "…" not in parts[n - 1]
            open_ended = word.end() == len(part) and n + 1 < len(parts) and "…" not in parts[n + 1]
            if not begun and not open_ended:
                found.append(word[0])
    return found
