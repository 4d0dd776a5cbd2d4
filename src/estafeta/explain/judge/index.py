"""Index: pieces of knowledge, so laid out that those which cannot fit are not even looked at.

There are some thousands of phrases, and a relay judges each negative reply: phrases are found by
one of their words, pieces without a phrase by their status or code, and no file of the knowledge is
looked at before the one that comes first has been asked in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, groupby

from estafeta.explain.judge.knowledge import Piece, pieces
from estafeta.explain.judge.phrase import Phrase
from estafeta.explain.judge.seen import Seen


class Index:
    """Some pieces. known: in the order in which they are asked."""

    def __init__(self, known: Iterable[Piece]) -> None:
        self._files = [_File(group) for _, group in groupby(known, lambda piece: piece.file)]

    def fitting(self, seen: Seen) -> Iterator[Piece]:
        """Every piece that fits, the one that decides first."""
        for file in self._files:
            yield from file.fitting(seen)


class _File:
    """The pieces of one file."""

    def __init__(self, known: Iterable[Piece]) -> None:
        self._by_word: dict[str, list[Phrase]] = {}
        self._wordless: list[Phrase] = []
        self._by_phrase: dict[str, list[Piece]] = {}
        self._by_status: dict[str, list[Piece]] = {}
        self._by_code: dict[int, list[Piece]] = {}
        self._others: list[Piece] = []
        for piece in known:
            self._add(piece)

    def _add(self, piece: Piece) -> None:
        phrase = piece.phrase
        if phrase is not None:
            if phrase.written not in self._by_phrase:
                for anchor in phrase.anchors:
                    self._by_word.setdefault(anchor, []).append(phrase)
                if not phrase.anchors:
                    self._wordless.append(phrase)
            self._by_phrase.setdefault(phrase.written, []).append(piece)
        elif piece.status:
            for status in piece.status:
                self._by_status.setdefault(status, []).append(piece)
        elif piece.code:
            for code in piece.code:
                self._by_code.setdefault(code, []).append(piece)
        else:
            self._others.append(piece)

    def fitting(self, seen: Seen) -> Iterator[Piece]:
        words, by_word = seen.words, self._by_word
        found = list(self._others)
        found += self._by_status.get(seen.status, ())
        found += self._by_code.get(seen.code, ())
        anchored = (by_word[word] for word in words.apart if word in by_word)
        for phrase in set(chain(self._wordless, *anchored)):
            if phrase.fits(words):
                found += self._by_phrase[phrase.written]
        found.sort(key=lambda piece: piece.place)
        return (piece for piece in found if piece.bare or seen.fits(piece))


@lru_cache
def whole() -> Index:
    """All that is known."""
    return Index(pieces())
