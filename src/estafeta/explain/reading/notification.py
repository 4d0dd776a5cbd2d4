"""Notification: reports that are objects of JSON within a mail (Amazon SES by way of SNS).

Format: docs.aws.amazon.com, "Amazon SNS notification contents for Amazon SES".
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import msgspec

from estafeta.explain.reading.limits import RECIPIENTS_MAX
from estafeta.explain.reading.nouns import Kind
from estafeta.explain.reading.status import Block, host_of

_DECODER = json.JSONDecoder(strict=False)
_TYPE = re.compile(r"\A\s*(?:smtp|x-amazon[\w-]*)\s*;\s*", re.IGNORECASE)
_FOLD = re.compile(r"!\n[ \t]")
"""How sendmail breaks a line that is too long."""

_KINDS: dict[str, Kind] = {"Bounce": "bounce", "Delivery": "delivered", "Complaint": "feedback"}


class Notification(msgspec.Struct):
    """kind as in `Reading`; feedback: the complaint's type."""

    kind: Kind
    blocks: list[Block]
    message_id: str = ""
    reporting_mta: str = ""
    feedback: str = ""


def read_notification(text: str) -> Notification | None:
    """The notification in a text, or None."""
    start = text.find("{")
    if start < 0 or ("notificationType" not in text and "eventType" not in text):
        return None
    event = _object(_FOLD.sub("", text[start:]))
    if isinstance(event.get("Message"), str):
        event = _object(event["Message"])
    kind = _KINDS.get(_str(event, "notificationType") or _str(event, "eventType"))
    if kind is None:
        return None
    mail = _dict(event, "mail")
    named = _str(event, "notificationType") or _str(event, "eventType")
    detail = _dict(event, named.lower())
    complaint = _str(detail, "complaintFeedbackType") or "abuse"
    return Notification(
        kind=kind,
        blocks=_blocks(kind, detail),
        message_id=_str(_dict(mail, "commonHeaders"), "messageId"),
        reporting_mta=host_of(_str(detail, "reportingMTA")),
        feedback=complaint if kind == "feedback" else "",
    )


def _blocks(kind: Kind, detail: dict[str, Any]) -> list[Block]:
    when = _seconds(_str(detail, "timestamp"))
    if kind == "delivered":
        words = _str(detail, "smtpResponse")
        return [
            Block(final=address, action="delivered", words=words, last_attempt=when)
            for address in _list(detail, "recipients")
            if isinstance(address, str)
        ]
    name = "bouncedRecipients" if kind == "bounce" else "complainedRecipients"
    return [
        Block(
            final=_str(each, "emailAddress"),
            action=_str(each, "action") or ("failed" if kind == "bounce" else ""),
            status=_str(each, "status"),
            words=_TYPE.sub("", _str(each, "diagnosticCode")) or _kind_of_bounce(detail),
            last_attempt=when,
        )
        for each in _list(detail, name)
        if isinstance(each, dict)
    ]


def _kind_of_bounce(detail: dict[str, Any]) -> str:
    return " ".join(filter(None, (_str(detail, "bounceType"), _str(detail, "bounceSubType"))))


def _object(text: str) -> dict[str, Any]:
    """The JSON object that a text begins with, {} for none; whatever follows it is left."""
    try:
        found, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text.endswith("Z") else None
    except ValueError:
        return None


def _str(of: dict[str, Any], name: str) -> str:
    value = of.get(name)
    return value[:4000] if isinstance(value, str) else ""


def _dict(of: dict[str, Any], name: str) -> dict[str, Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _list(of: dict[str, Any], name: str) -> list[Any]:
    value = of.get(name)
    return value[:RECIPIENTS_MAX] if isinstance(value, list) else []
