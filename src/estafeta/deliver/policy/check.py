"""Check: whether rules can be meant as they are written, before they are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

from estafeta.deliver.policy.limits import (
    HEADER_RULES_MAX,
    TYPE_CHARACTERS_MAX,
    TYPES_MAX,
    WORDS_CHARACTERS_MAX,
)
from estafeta.deliver.policy.pattern import PatternError, pattern
from estafeta.deliver.policy.rules import FIELDS, HeaderRule, Rules
from estafeta.deliver.policy.types import GROUPS
from estafeta.mail.limits import DEPTH_MAX, PARTS_MAX

_NAME = r"[a-z0-9!#$&^_+-][a-z0-9!#$&^_.+-]*"
_TYPE = re.compile(rf"{_NAME}/(\*|{_NAME})", re.IGNORECASE)
_ENDING = re.compile(r"(\.[^\s./\\:*?\"<>|]+)+")
_FIELD = re.compile(r"[!-9;-~]{1,100}")
_HELP = re.compile(r"(?:https?://|mailto:)?[!-~]+")
_EVERYTHING = ("text/plain", "text/*", "multipart/")

_MOST = {"depth_max": DEPTH_MAX, "parts_max": PARTS_MAX, "size_max": 1 << 40}


class RulesError(ValueError):
    """The text says why, for a person."""


def check(rules: Rules) -> None:
    """Raises RulesError."""
    for problem in _problems(rules):
        raise RulesError(problem)


def _problems(rules: Rules) -> Iterator[str]:
    types = rules.blocked_types or ()
    if len(types) > TYPES_MAX:
        yield f"blocked_types: {TYPES_MAX} entries at most"
    for entry in types:
        yield from _type(entry)
    for name, most in _MOST.items():
        value = getattr(rules, name)
        if value is not None and not 0 <= value <= most:
            yield f"{name}: a number from 0 to {most} was expected"
    headers = rules.headers or ()
    if len(headers) > HEADER_RULES_MAX:
        yield f"headers: {HEADER_RULES_MAX} rules at most"
    for rule in headers:
        yield from _header(rule)
    if rules.help and (len(rules.help) > WORDS_CHARACTERS_MAX or not _HELP.fullmatch(rules.help)):
        yield (
            "help: a link or an address without blanks was expected, "
            f"{WORDS_CHARACTERS_MAX} characters at most"
        )
    for name in rules.locked or ():
        if name not in FIELDS:
            yield f'locked: there is no field "{name}"; there are {", ".join(FIELDS)}'


def _type(entry: str) -> Iterator[str]:
    lower = entry.lower()
    if lower.startswith(_EVERYTHING):
        yield f'blocked_types: "{entry}" would refuse nearly all mail'
    elif len(entry) > TYPE_CHARACTERS_MAX or not (
        lower in GROUPS or _ENDING.fullmatch(entry) or _TYPE.fullmatch(entry)
    ):
        yield (
            f'blocked_types: "{entry[:TYPE_CHARACTERS_MAX]}" is none: an ending (.mov), a type '
            f"(video/quicktime, video/*), or one of {', '.join(GROUPS)} was expected"
        )


def _header(rule: HeaderRule) -> Iterator[str]:
    if not _FIELD.fullmatch(rule.field):
        yield f'headers: "{rule.field[:100]}" is no name of a header field'
    try:
        pattern(rule.matches)
    except PatternError as wrong:
        yield f"headers: {rule.field}: {wrong}"
    if len(rule.words) > WORDS_CHARACTERS_MAX or not rule.words.isprintable():
        yield (
            f"headers: {rule.field}: words are one line of {WORDS_CHARACTERS_MAX} characters at "
            "most"
        )
