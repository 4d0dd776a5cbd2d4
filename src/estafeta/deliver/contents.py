"""Contents: what is said of a message that must not come in for what it holds."""

from __future__ import annotations

import msgspec

from estafeta.deliver.policy.finding import Finding, Late
from estafeta.deliver.policy.rules import Effective
from estafeta.intake.objection import Objection, objection
from estafeta.wire import replies

_STRUCTURES = {"depth": "parts within parts within parts", "parts": "too many parts"}


def objection_to(found: Finding | Late, address: str, rules: Effective) -> Objection:
    """address: the recipient whose rules they are."""
    if isinstance(found, Late):
        return objection(replies.VERDICT_UNAVAILABLE)
    name = f"{found.name} ({found.inside})" if found.inside else found.name
    match found.kind:
        case "type":
            return objection(replies.ATTACHMENT_TYPE, type=found.type, name=name or found.type)
        case "archive":
            return objection(replies.ATTACHED_ARCHIVE, name=name)
        case "size":
            return objection(replies.TOO_BIG_FOR, address=address, size_max=rules.size_max)
        case "depth" | "parts":
            return objection(replies.STRUCTURE, reason=_STRUCTURES[found.kind])
        case _:
            return objection(replies.POLICY, reason=found.words or found.name)


def as_let_in(rules: Effective) -> Effective:
    """What still counts for a message that the owner lets in."""
    changes: dict[str, object] = {}
    if "type" in rules.let_in:
        changes |= {"blocked_types": (), "encrypted_archives": "accept"}
    if "size" in rules.let_in:
        changes["size_max"] = 0
    return msgspec.structs.replace(rules, **changes, content_class=b"")
