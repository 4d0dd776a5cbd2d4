"""Pattern: a regular expression that an administrator wrote, as RE2 runs it.

Promises: a search takes time linear in the text, whatever the expression; one that is too long or
would grow too large is refused with a sentence.
"""

from __future__ import annotations

from functools import lru_cache

import re2  # type: ignore[import-untyped]

from estafeta.deliver.policy.limits import (
    PATTERN_CHARACTERS_MAX,
    PATTERN_MEMORY_OCTETS_MAX,
    PATTERN_PROGRAM_MAX,
)


class PatternError(ValueError):
    """The text says why, for who wrote it."""


class Pattern:
    """A compiled expression. size: instructions."""

    __slots__ = ("_compiled", "size")

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_CHARACTERS_MAX:
            raise PatternError(
                f"the regular expression is too long: {PATTERN_CHARACTERS_MAX} characters at most"
            )
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        options.max_mem = PATTERN_MEMORY_OCTETS_MAX
        try:
            self._compiled = re2.compile(text.encode("utf-8"), options)
        except (re2.error, UnicodeEncodeError) as wrong:
            raise PatternError(f"the regular expression {_why(wrong)}") from wrong
        self.size = int(self._compiled.programsize)
        if self.size > PATTERN_PROGRAM_MAX:
            raise PatternError("the regular expression is too large: fewer repetitions, please")

    def found_in(self, text: bytes) -> bool:
        return self._compiled.search(text) is not None


def _why(wrong: Exception) -> str:
    said = wrong.args[0] if wrong.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    if "too large" in text:
        return "is too large: fewer repetitions, please"
    if isinstance(wrong, UnicodeEncodeError):
        return "is no text"
    return f"cannot be read: {text} (the syntax is RE2's: no look-around, no back-references)"


@lru_cache(maxsize=256)
def pattern(text: str) -> Pattern:
    """Raises PatternError."""
    return Pattern(text)
