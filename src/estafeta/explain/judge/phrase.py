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
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from estafeta.explain.judge.limits import GAP_CHARACTERS_MAX

GAPS_MAX = 2
_SPECIAL = re.compile(r"( ?… ?|\*|\{[a-z]+\})")
_MEANS = {"…": f".{{0,{GAP_CHARACTERS_MAX}}}?", "*": r"\w{0,40}", "{n}": r"[0-9]{1,9}"}
_LATIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = re.compile(r"[a-z0-9]+")
_OF_KINDS = re.compile(r"\{(?!n\})[a-z]+\}(?:( | … )\{(?!n\})[a-z]+\})?")


class Kind:
    """Words that stand for one another.

    anchors: as of a phrase; one of them must be there for any of the kind to be, unless empty.
    """

    __slots__ = ("_each", "anchors", "pattern")

    def __init__(self, words: Iterable[str]) -> None:
        each = [Phrase(word, {}) for word in words]
        self._each = [(word.literals[0], word) for word in each]
        self.pattern = f"(?:{'|'.join(word.pattern() for word in each)})"
        anchored = all(word.anchors for word in each)
        self.anchors: frozenset[str] = frozenset(
            anchor for word in each for anchor in word.anchors if anchored
        )

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(begin, end) of every word of the kind, in their order."""
        there = [word for literal, word in self._each if literal in text]
        return sorted(span for word in there for span in word.spans(text))


class Words:
    """What was said, tidied, with what is asked of it again and again."""

    __slots__ = ("_spans", "apart", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.apart = frozenset(_WORD.findall(text))
        """Its words, among which anchors are looked for."""
        self._spans: dict[int, list[tuple[int, int]]] = {}

    def spans(self, kind: Kind) -> list[tuple[int, int]]:
        """Where words of the kind stand."""
        found = self._spans.get(id(kind))
        if found is None:
            there = not kind.anchors or not kind.anchors.isdisjoint(self.apart)
            found = self._spans[id(kind)] = kind.spans(self.text) if there else []
        return found


class Phrase:
    """One phrase. Raises ValueError for one that is too vague, KeyError for a kind that is not.

    anchors: words of which one must be there for it to fit; empty where that is not known.
    literals: what must be there, the longest first.
    """

    __slots__ = (
        "_between",
        "_kinds",
        "_parts",
        "_plain",
        "_search",
        "anchors",
        "literals",
        "written",
    )

    def __init__(self, written: str, kinds: Mapping[str, Kind]) -> None:
        core = written.lower().removeprefix("^").removesuffix("$")
        parts = _SPECIAL.split(core)
        self.written = written
        self._parts = parts
        self._kinds = {p: kinds[p[1:-1]] for p in parts if p[:1] == "{" and p != "{n}"}
        self.literals = sorted(filter(str.strip, parts[::2]), key=len, reverse=True)
        self._plain = len(parts) == 1 and core == written.lower()
        self._search: Callable[[str, int], re.Match[str] | None] | None = None
        self._between = _between(written)
        if sum("…" in part for part in parts) > GAPS_MAX or not (self._kinds or self.literals):
            raise ValueError(f"too vague: {written}")
        own = max(_whole_words(parts), key=len, default="")
        anchored = (kind.anchors for kind in self._kinds.values() if kind.anchors)
        self.anchors: frozenset[str] = (
            frozenset([own]) if own else min(anchored, key=len, default=frozenset())
        )

    def fits(self, words: Words) -> bool:
        """Whether it is found in the words."""
        text = words.text
        for literal in self.literals:
            if literal not in text:
                return False
        if self._plain:
            return _stands(self.literals[0], text)
        for kind in self._kinds.values():
            if not words.spans(kind):
                return False
        if self._between is not None:
            return self._kinds_fit(words, self._between)
        return self._found(text) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """(begin, end) of each place where it is found; of a phrase without kinds."""
        if all(literal in text for literal in self.literals):
            at = self._found(text)
            while at is not None:
                yield at.span()
                at = self._found(text, at.end())

    def _found(self, text: str, begin: int = 0) -> re.Match[str] | None:
        if self._search is None:  # most phrases are never looked for
            self._search = re.compile(self.pattern()).search
        return self._search(text, begin)

    def _kinds_fit(self, words: Words, between: str) -> bool:
        """Whether a word of its first kind stands before one of its second, as far as it may."""
        first, *second = (words.spans(kind) for kind in self._kinds.values())
        if not second:
            return True
        begins = [begin for begin, _ in second[0]]
        for _, end in first:
            n = bisect_left(begins, end)
            if n == len(begins):
                continue
            if between == "…" and begins[n] - end <= GAP_CHARACTERS_MAX:
                return True
            if between == " " and begins[n] == end + 1 and words.text[end] == " ":
                return True
        return False

    def pattern(self) -> str:
        """The regular expression that it stands for."""
        last = len(self._parts) - 1
        found = []
        for n, part in enumerate(self._parts):
            if n % 2:
                kind = self._kinds.get(part)
                found.append(kind.pattern if kind else _MEANS[part.strip()])
            elif part:
                opens = n == 0 or "…" in self._parts[n - 1]
                closes = n == last or "…" in self._parts[n + 1]
                before = "(?<![a-z0-9])" if opens and part[0] in _LATIN else ""
                after = "(?![a-z0-9])" if closes and part[-1] in _LATIN else ""
                found.append(before + re.escape(part) + after)
        begins = "^" if self.written.startswith("^") else ""
        return begins + "".join(found) + ("$" if self.written.endswith("$") else "")


def _between(written: str) -> str | None:
    """What stands between the kinds of a phrase of nothing else: "", " " or "…"; None of others."""
    match = _OF_KINDS.fullmatch(written)
    return None if match is None else (match[1] or "").strip() or " " * bool(match[1])


def _stands(literal: str, text: str) -> bool:
    """Whether it is there as whole words."""
    opens, closes = literal[0] in _LATIN, literal[-1] in _LATIN
    at = text.find(literal)
    while at >= 0:
        end = at + len(literal)
        begun = opens and at > 0 and text[at - 1] in _LATIN
        if not begun and not (closes and text[end : end + 1] in _LATIN):
            return True
        at = text.find(literal, at + 1)
    return False


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
