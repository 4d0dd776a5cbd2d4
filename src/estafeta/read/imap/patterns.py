"""patterns: which mailbox names a LIST pattern fits (RFC 3501 §6.3.8).

Promises: time linear in the name whatever the pattern, so no pattern is dear.
"""

from __future__ import annotations

from collections.abc import Callable

SEPARATOR = "/"


def matcher(pattern: str) -> Callable[[str], bool]:
    """ "*" stands for anything, "%" for anything without a separator; INBOX fits in any case."""
    compiled = _Pattern(pattern)
    folded = _Pattern(pattern.upper())

    def fits(name: str) -> bool:
        if name == "INBOX":
            return folded.fits(name)
        return compiled.fits(name)

    if pattern[:6].upper() == "INBOX" + SEPARATOR:
        compiled = _Pattern("INBOX" + pattern[5:])
    return fits


class _Pattern:
    """All places in the pattern that can be reached, as bits of one number."""

    __slots__ = ("_any", "_chars", "_end", "_level", "_wild")

    def __init__(self, pattern: str) -> None:
        self._chars: dict[str, int] = {}
        self._any = self._level = 0
        at = 0
        previous = ""
        for c in pattern:
            if c in "*%" and previous and previous in "*%":
                # Neighbouring wildcards are one: the wider.
                if c == "*":
                    self._any |= 1 << (at - 1)
                    self._level &= ~(1 << (at - 1))
                previous = c
                continue
            bit = 1 << at
            if c == "*":
                self._any |= bit
            elif c == "%":
                self._level |= bit
            else:
                self._chars[c] = self._chars.get(c, 0) | bit
            previous = c
            at += 1
        self._wild = self._any | self._level
        self._end = 1 << at

    def fits(self, name: str) -> bool:
        wild, anywhere = self._wild, self._any
        chars = self._chars
        active = 1 | (wild & 1) << 1
        for c in name:
            stay = active & (anywhere if c == SEPARATOR else wild)
            active = stay | (active & chars.get(c, 0)) << 1
            active |= (active & wild) << 1
            if not active:
                return False
        return bool(active & self._end)


def levels(name: str) -> list[str]:
    """The parents of a name, outermost first: a/b/c -> a, a/b."""
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:n]) for n in range(1, len(parts))]
