"""Words: what we say to people, in their language. The texts are data: `locales/*.toml`.

A key is "section.name". Values go in by name; what comes from outside is a value, never a format.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

LANGUAGES = ("en", "es")
DEFAULT_LANGUAGE = "en"


def pick_language(*wishes: str) -> str:
    """The first wish that we speak, be it "es" or "es-AR"; else the default."""
    for wish in wishes:
        short = wish.lower().replace("_", "-").partition("-")[0]
        if short in LANGUAGES:
            return short
    return DEFAULT_LANGUAGE


def say(key: str, language: str, **values: object) -> str:
    """The text of `key` with `values` put in. Raises KeyError: an unknown key is a bug."""
    return texts(pick_language(language))[key].format_map(values)


def say_note(data: Mapping[str, object], language: str, otherwise: str) -> str:
    """What an attempt saw on its way: `data["what"]` names the text, the rest are its values.

    otherwise: where there is none, such as another server's own words, or an older note.
    """
    what = data.get("what")
    try:
        return say(f"note.{what}", language, **data)
    except KeyError:
        return otherwise


@lru_cache
def texts(language: str) -> dict[str, str]:
    """Every text of a language by its key."""
    data = (files(__package__) / "locales" / f"{language}.toml").read_text("utf-8")
    return {
        f"{section}.{name}": text
        for section, entries in tomllib.loads(data).items()
        for name, text in entries.items()
    }
