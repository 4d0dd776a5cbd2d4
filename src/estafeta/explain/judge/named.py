"""Named: the cause that a server's words name by its code in brackets, as those of our own do:
`550 5.1.1 <ema@correo.example>: aqui no existe ese buzon [unknown-user]`. No phrase need be known
then, in whatever language they are.
"""

from __future__ import annotations

import re

from estafeta.explain.causes import causes
from estafeta.explain.judge.limits import WORDS_CHARACTERS_MAX

_CODE = re.compile(r"\[([a-z]{2,24}(?:-[a-z]{1,24}){0,3})\]")
_NO_REFUSAL = frozenset({"delivered", "complaint", "auto-reply"})


def named(text: str) -> str:
    """The code; the last one, for what stands before it may be quoted. "" where there is none."""
    if "[" not in text:
        return ""
    codes = reversed(_CODE.findall(text[:WORDS_CHARACTERS_MAX]))
    return next((code for code in codes if code in causes() and code not in _NO_REFUSAL), "")
