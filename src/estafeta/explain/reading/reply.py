"""Reply: what a server answered, found in the words that somebody else wrote around it.

Data, not code, says how the sentences around a reply are built (`forms.toml`, section `around`).
Codes RFC 5321 §4.2, enhanced status RFC 3463.
"""

from __future__ import annotations

import re

import msgspec

from estafeta.explain.reading.forms import forms
from estafeta.explain.reading.limits import WORDS_CHARACTERS_MAX

_STATUS = r"[245]\.\d{1,3}\.\d{1,3}"
_CODE_AND_STATUS = re.compile(
    rf"(?<![\w.])([245]\d\d)[ \t:-]{{1,3}}(?:\1[ -]+)?['\"(\[<#]*({_STATUS})(?![\w.])"
)
_STATUS_AND_CODE = re.compile(
    rf"(?<![\w.])#?({_STATUS})[ ):-]{{0,3}}\(?([45]\d\d)(?![\w.])(?=[ -])"
)
_CODE = re.compile(
    r"(?:\A|[\n:;'\"(\[<,]\s{0,8}|(?i:said|returned|response|reply|error)[ :]{1,8}"
    r"|(?<=[a-z.)\]] )(?=[45][0-7]\d(?:[ -]['\"]?[A-Z#<(]|-)))"
    r"[<\[('\"#]{0,4}(2[25][0-4]|[45][0-7]\d)(?=[ -]|:\s|$|\n)"
    r"(?!\s*(?i:bytes|octets|characters|kb|mb|hours?|days?|minutes?|times?)\b)"
)
_CODE_NAMED = re.compile(
    r"(?:(?:error|response|smtp|reply|status)[_ ]?)?code\s*+[:=]?\s*+#?([245][0-7]\d)(?!\d)",
    re.IGNORECASE,
)
_STATUS_ALONE = re.compile(rf"(?<![\w.@-])#?({_STATUS})(?![\w.]*\w)")
_SPACE = re.compile(r"\s+")
_VERBS = {
    "HELO": ("helo", "ehlo", "lhlo", "my name"),
    "STARTTLS": ("starttls", "tls negotiation"),
    "AUTH": ("auth",),
    "MAIL": ("mail from", "mail_from", "mail", "sender"),
    "RCPT": ("rcpt to", "rcpt_to", "rcpt", "recipient"),
    "DATA": (
        "data",
        "text",
        "text command",
        "message text",
        "message",
        "body",
        "end-of-data",
        "final",
        "bdat",
        "dot",
    ),
    "CONN": ("initial connection", "connection", "connect", "greeting", "conn", "banner", "talk"),
    "QUIT": ("quit",),
}


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A reply in its words: as `Refusal` has them."""

    code: int = 0
    status: str = ""
    text: str = ""
    host: str = ""
    command: str = ""

    @property
    def weight(self) -> int:
        """How much it says, to choose between two."""
        return (
            (4 if self.code else 0) + (4 if precise(self.status) else 0) + (2 if self.text else 0)
        )


def precise(status: str) -> bool:
    """Whether a status says more than its class."""
    return bool(status) and not status.endswith(".0.0")


def said(words: str) -> Said:
    """The reply within these words."""
    words = words[:WORDS_CHARACTERS_MAX].strip()
    host = command = ""
    for around in forms().around:
        match = around.pattern.search(words)
        if match is None:
            continue
        named = match.groupdict()
        host = host or _host(named)
        command = command or verb(named.get("command") or "")
        if around.cut:
            before = "" if around.opens else words[: match.start()]
            words = f"{before}\n{named.get('reply') or ''}{words[match.end() :]}".strip()
    code, status = _codes(words)
    return Said(
        code=code, status=status, text=_text(words, code, status), host=host, command=command
    )


def _host(named: dict[str, str | None]) -> str:
    host = (named.get("host") or named.get("ip") or "").strip("[]<>().,;")
    return host.lower() if host.lower() not in ("", "none", "unknown", "localhost") else ""


def verb(words: str) -> str:
    """The SMTP command that some words mean: "end of DATA" is DATA; "" for none."""
    lowered = words.lower()
    for command, names in _VERBS.items():
        if any(lowered == name or lowered.startswith(name + " ") for name in names):
            return command
    for command, names in _VERBS.items():
        if any(re.search(rf"\b{name}\b", lowered) for name in names):
            return command
    return ""


def _codes(words: str) -> tuple[int, str]:
    """(code, status) as far as they stand in the words."""
    both = None
    for match in _CODE_AND_STATUS.finditer(words):
        if both is None or (precise(match[2]) and not precise(both[2])):
            both = match
    if both is not None:
        return int(both[1]), both[2]
    turned = _STATUS_AND_CODE.search(words)
    found = _CODE.search(words) or _CODE_NAMED.search(words)
    statuses = [match[1] for match in _STATUS_ALONE.finditer(words)]
    status = next((s for s in statuses if precise(s)), statuses[0] if statuses else "")
    if found is None and turned is not None:
        return int(turned[2]), turned[1]
    code = int(found[1]) if found is not None else 0
    if code and status and status[0] != str(code)[0] and code < 400:
        code = 0
    return code, status


def _text(words: str, code: int, status: str) -> str:
    """The words on one line without code and status."""
    if code:
        head = rf"(?<![\w.#])#?{code}(?:[ :-]+{code})?(?:[ \t-]|:(?=\s)|(?=\n)|$)"
        words = re.sub(rf"{head}[ \t]*(?:[(\[<'\"]*#?{_STATUS}(?![\w.])[)\]>:]*)?", " ", words)
    if status:
        words = re.sub(
            rf"(?<![\w.])[(\[<]?#?{re.escape(status)}(?!\w)(?!\.\d)[)\]>]?:?", " ", words
        )
    return _SPACE.sub(" ", words).strip(" \t\n'\"-:;")


def plain(words: str) -> str:
    """Words on one line."""
    return _SPACE.sub(" ", words).strip()
