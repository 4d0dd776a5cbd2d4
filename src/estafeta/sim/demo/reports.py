"""Reports: a report on delivery as the standard library reads it (RFC 3464)."""

from __future__ import annotations

import json
from email.message import EmailMessage
from typing import Any


def status_fields(report: EmailMessage) -> dict[str, str]:
    """The fields about the recipient in the machine-readable part (RFC 3464 §2.3)."""
    for part in report.walk():
        if part.get_content_type() == "message/delivery-status":
            groups = part.get_payload()
            if isinstance(groups, list) and isinstance(groups[-1], EmailMessage):
                return {k: " ".join(str(v).split()) for k, v in groups[-1].items()}
    return {}


def returned_message(report: EmailMessage) -> EmailMessage | None:
    """The message within a report."""
    for part in report.walk():
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload(0)
            return inner if isinstance(inner, EmailMessage) else None
    return None


def text_of(report: EmailMessage) -> str:
    """The part for people, "\\n" line ends."""
    return _content(report, "text/plain")


def causes_of(report: EmailMessage) -> dict[str, Any]:
    """The part for programs that says what `estafeta explain --json` would; {} without one."""
    found = json.loads(_content(report, "application/json") or "{}")
    return found if isinstance(found, dict) else {}


def _content(report: EmailMessage, kind: str) -> str:
    for part in report.walk():
        if part.get_content_type() == kind:
            content = part.get_content()
            text = content.decode() if isinstance(content, bytes) else str(content)
            return "\n".join(text.splitlines())
    return ""
