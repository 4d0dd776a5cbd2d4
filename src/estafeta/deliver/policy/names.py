"""Names: what a file is called, in every way in which a program may read it.

Promises: never raises; bounded (`NAMES_MAX`). Which program opens a file is decided by its last
ending as the reader's system sees it, so a name is looked at as written and without what hides the
ending: blanks and dots behind it, characters that are not shown or turn the direction, NUL, wide
forms of letters, a stream's name (`a.exe::$DATA`), percent octets, encoded words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from estafeta.deliver.policy.limits import FILE_NAME_CHARACTERS_MAX, NAMES_MAX
from estafeta.mail.message.fields import pairs
from estafeta.mail.message.params import Params, every_parameter, parameter
from estafeta.mail.words import decode_charset, decode_words

_UNSEEN = frozenset(("Cc", "Cf", "Cn", "Co", "Cs"))
"""Characters that steer, turn the direction, or are none."""

_DESCRIBING = (b"content-disposition", b"content-type")
_NAME_OCTETS_MAX = 4 * FILE_NAME_CHARACTERS_MAX


def names_of(header: bytes) -> list[str]:
    """Every name that the header of a part gives it: the parameters filename and name, each of
    them, whatever its form (RFC 2183 §2.3, RFC 2231), the likeliest first."""
    found: list[str] = []
    for field in _DESCRIBING:
        for name, value in pairs(header):
            if name.lower() == field:
                found += _names_in(value)
    return list(dict.fromkeys(each for each in found if each))[:NAMES_MAX]


def _names_in(value: bytes) -> Iterator[str]:
    given = every_parameter(value)
    for wanted in ("filename", "name"):
        own = [(n, v) for n, v in given if n.partition(b"*")[0] == wanted.encode()]
        if not own:
            continue
        # Of two with one name programs take the first or the last, with RFC 2231 or without.
        first: Params = tuple(dict(reversed(own)).items())
        last: Params = tuple(dict(own).items())
        for params in (first, last):
            text = parameter(params, wanted) or ""
            yield decode_words(text) if "=?" in text else text
        for _, each in own:
            text = decode_charset(each[:_NAME_OCTETS_MAX])
            yield decode_words(text) if "=?" in text else text
        joined = decode_charset(b"".join(each for _, each in own)[:_NAME_OCTETS_MAX])
        yield decode_words(joined) if "=?" in joined else joined


def readings(name: str) -> set[str]:
    """As what a name may be read, in lower case, each the last part of its path: one that is
    refused ends in the ending."""
    found: set[str] = set()
    waiting = [name]
    if len(name) > FILE_NAME_CHARACTERS_MAX:
        waiting = [name[:FILE_NAME_CHARACTERS_MAX], name[-FILE_NAME_CHARACTERS_MAX:]]
    while waiting and len(found) < NAMES_MAX:
        text = waiting.pop()
        plain = _plain(text)
        if plain and plain not in found:
            found.add(plain)
            waiting += _others(text, plain)
    return found


def _plain(text: str) -> str:
    """Without what is not shown and what a file system drops."""
    if not (text.isascii() and text.isprintable()):
        wide = unicodedata.normalize("NFKC", text)
        text = "".join(c for c in wide if unicodedata.category(c) not in _UNSEEN)
    last = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return _stripped(last).casefold()


def _stripped(text: str) -> str:
    """Blanks and dots behind a name are dropped by some systems, quotes by some programs."""
    return text.strip(" \t\u00a0\u3000\"'").rstrip(". \t\u00a0\u3000\"'")


def _others(text: str, plain: str) -> Iterable[str]:
    if "\0" in text:
        yield text.partition("\0")[0]
    if ":" in plain:
        yield plain.partition(":")[0]
    if "%" in text:
        yield unquote(text)
    if "=?" in text:
        yield decode_words(text)
    if "?" in plain or "#" in plain:  # read as an address
        yield plain.partition("?")[0].partition("#")[0]
    if ";" in plain:
        yield plain.partition(";")[0]
