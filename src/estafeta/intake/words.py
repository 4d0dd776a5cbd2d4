"""Words: what a refusal says, in the language of who is meant, with its cause and where help is.

    550 5.1.1 <ema@correo.example>: there is no such mailbox here [unknown-user] https://…/help

Promises: the cause in brackets is a code of explain/causes.toml, whatever the language; a line
keeps to 512 octets; it is ASCII for who did not ask for SMTPUTF8 (RFC 6531 §3.7.4). English is
`wire/replies.py`, the others are data: `replies_LANGUAGE.toml`.
"""

from __future__ import annotations

import tomllib
import unicodedata
from functools import lru_cache
from importlib.resources import files

import msgspec

from estafeta.explain.words import DEFAULT_LANGUAGE, pick_language
from estafeta.mail.outcome import Reply
from estafeta.wire import replies
from estafeta.wire.replies import Template

_NOT_DECOMPOSED = str.maketrans({"¿": "", "¡": "", "«": '"', "»": '"', "“": '"', "”": '"'})


def refusal(
    entry: Reply | Template,
    cause: str = "",
    *,
    language: str = "",
    utf8: bool = False,
    help: str = "",
    **values: object,
) -> Reply:
    """`entry` of the catalogue with its values. cause: where it is another than the entry's own.

    language: "es", "en", or "" for English. utf8: the client may be answered in UTF-8. help: a link
    or an address. Raises KeyError where a value is missing.
    """
    language = pick_language(language)
    text = replies.words_of(entry)
    if language != DEFAULT_LANGUAGE:
        text = texts(language).get(_names()[entry], text)
    code = cause or replies.cause_of(entry)
    ending = (f" [{code}]" if code else "") + (f" {help}" if help else "")
    if not utf8:
        text, ending = to_ascii(text), to_ascii(ending)
        values = {name: to_ascii(str(value)) for name, value in values.items()}
    return replies.said(entry.code, entry.status, text, ending, values)


def to_ascii(text: str) -> str:
    """The text without its accents; "?" for what has no form in ASCII."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_NOT_DECOMPOSED))
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return kept.encode("ascii", "replace").decode()


@lru_cache
def texts(language: str) -> dict[str, str]:
    """Every text of a language other than English, by the name of its entry in the catalogue."""
    data = (files(__package__) / f"replies_{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(data), dict[str, str])


@lru_cache
def _names() -> dict[Reply | Template, str]:
    return {entry: name for name, entry in replies.CATALOGUE.items()}
