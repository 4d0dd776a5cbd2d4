"""Policy values: what a policy says, as a person types it and as it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from estafeta.deliver.policy.check import RulesError
from estafeta.deliver.policy.finding import Finding
from estafeta.deliver.policy.rules import FIELDS, HeaderRule, Rules
from estafeta.office.config_types import format_size, parse_size

_YES, _NO = ("yes", "true", "on"), ("no", "false", "off")
_LISTS = ("blocked_types", "let_in", "locked")
_SWITCHES = ("inside_archives", "tls", "greylist", "lists")


def parse_changes(words: Sequence[str]) -> Rules:
    """What KEY=VALUE, each, comes to. Raises RulesError."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip()
        if not equals:
            raise RulesError(f'"{word}": KEY=VALUE was expected')
        if name not in FIELDS:
            raise RulesError(f'there is no field "{name}"; there are {", ".join(FIELDS)}')
        if name in found:
            raise RulesError(f"{name} is said twice")
        found[name] = _parsed(name, text.strip())
    try:
        return msgspec.convert(found, Rules)
    except msgspec.ValidationError as wrong:
        raise RulesError(_sentence(str(wrong))) from wrong


def _parsed(name: str, text: str) -> Any:
    if name in _LISTS:
        return [each.strip() for each in text.split(",") if each.strip()]
    if name in _SWITCHES:
        return _switch(name, text)
    if name == "headers":
        return _headers(text)
    if name == "size_max":
        try:
            return parse_size(text)
        except ValueError as wrong:
            raise RulesError(f"size_max: {wrong} was expected") from wrong
    if name in ("depth_max", "parts_max"):
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise RulesError(f'{name}: a number was expected, not "{text}"')
        return int(text)
    return text


def _switch(name: str, text: str) -> bool:
    if text.lower() not in _YES + _NO:
        raise RulesError(f'{name}: yes or no was expected, not "{text}"')
    return text.lower() in _YES


def _headers(text: str) -> list[Any]:
    """JSON, or one rule: `Subject: pattern`. Empty: none."""
    if not text:
        return []
    if text.startswith("["):
        try:
            rules: list[Any] = msgspec.json.decode(text, type=list[Any])
        except msgspec.DecodeError as wrong:
            raise RulesError(f"headers: {wrong}") from wrong
        return rules
    field, colon, matches = text.partition(":")
    if not colon:
        raise RulesError('headers: "Subject: pattern", or a list in JSON, was expected')
    return [{"field": field.strip(), "matches": matches.strip()}]


def _sentence(said: str) -> str:
    """msgspec's words with the field in front: `… - at `$.headers[0]``."""
    what, _, place = said.partition(" - at `$.")
    return f"{place.rstrip('`')}: {what}" if place else said


def shown_value(name: str, value: Any) -> str:
    """As it would be typed, or nearly so."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "size_max":
        return format_size(value) if value else "0"
    if name == "headers":
        return "; ".join(_shown_header(rule) for rule in value)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _shown_header(rule: HeaderRule) -> str:
    return f"{rule.field}: {rule.matches}" + (f" ({rule.words})" if rule.words else "")


def shown_finding(finding: Finding | None) -> str:
    """Why, in a few words."""
    if finding is None:
        return "accepted"
    where = f" in {finding.inside}" if finding.inside else ""
    match finding.kind:
        case "type":
            return f"type {finding.type}: {finding.name or 'a part without a name'}{where}"
        case "archive":
            return f"archive {finding.type}: {finding.name or 'without a name'}"
        case "header":
            return f"header {finding.name}" + (f": {finding.words}" if finding.words else "")
        case "size" | "depth" | "parts" | "tls":
            return f"{finding.kind} {finding.type}".strip()
