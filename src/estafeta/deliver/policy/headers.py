"""Headers: the header rules of a policy, against the header of a message."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from estafeta.deliver.policy.finding import Finding, shown
from estafeta.deliver.policy.limits import HEADER_RULE_OCTETS_MAX
from estafeta.deliver.policy.pattern import PatternError, pattern
from estafeta.deliver.policy.rules import HeaderRule
from estafeta.mail.message.fields import pairs
from estafeta.mail.words import decode_text

log = structlog.get_logger("policy")


def refused_by_header(header: bytes, rules: Sequence[HeaderRule]) -> Finding | None:
    """The first rule that finds something. Each looks at every field of its name, at the first
    `HEADER_RULE_OCTETS_MAX` of them in all."""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in pairs(header):
        fields.setdefault(name.lower(), []).append(value)
    for rule in rules:
        left = HEADER_RULE_OCTETS_MAX
        for value in fields.get(rule.field.lower().encode("ascii", "replace"), ()):
            text = decode_text(value[:left])
            if _found(rule, text.encode("utf-8", "replace")[:left]):
                return Finding("header", name=shown(rule.field), words=rule.words)
            left -= len(value)
            if left <= 0:
                break
    return None


def _found(rule: HeaderRule, text: bytes) -> bool:
    try:
        return pattern(rule.matches).found_in(text)
    except PatternError as error:  # another version let it in
        log.error("a header rule cannot be used", matches=rule.matches, error=str(error))
        return False


def cost(rules: Sequence[HeaderRule]) -> int:
    """Instructions of all expressions: what a search takes for each octet at worst."""
    total = 0
    for rule in rules:
        try:
            total += pattern(rule.matches).size
        except PatternError:
            continue
    return total
