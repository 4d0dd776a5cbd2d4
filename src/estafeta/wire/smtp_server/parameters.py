"""parameters: what follows the path in MAIL and RCPT (RFC 5321 §4.1.2 esmtp-param).

SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY, ORCPT (RFC 3461), AUTH
(RFC 4954 §5), PRDR (draft-hall-prdr-00). A parameter that is not offered is 555 5.5.4; one given
twice or with a bad value is 501 5.5.4.
"""

from __future__ import annotations

import re
from typing import Any

from estafeta.mail.outcome import Reply
from estafeta.wire import limits, replies
from estafeta.wire.smtp_server.profile import Profile

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-7][0-9A-F])*\Z")
_ORCPT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_ORCPT_UTF8 = re.compile(r"(?:[!-*,-<>-~\u0080-\U0010ffff]|\+[0-9A-F]{2})*\Z")
_HEXCHARS = re.compile(r"(?:\+[0-9A-F]{2})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_NEVER = frozenset({"NEVER"})


class ParameterError(Exception):
    """The peer's fault; `reply` says it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def mail_parameters(text: str, profile: Profile) -> dict[str, Any]:
    """The fields of `Mail` that the parameters set. Raises ParameterError."""
    fields: dict[str, Any] = {}
    for name, value in _split(text):
        if name == "SIZE":
            fields["size"] = _size(value)
        elif name == "BODY":
            fields["body"] = _one_of(name, value, ("7BIT", "8BITMIME"))
        elif name == "SMTPUTF8" and profile.smtputf8:
            if value is not None:
                raise _bad(name)
            fields["smtputf8"] = True
        elif name == "RET" and profile.dsn:
            fields["ret"] = _one_of(name, value, ("FULL", "HDRS"))
        elif name == "ENVID" and profile.dsn:
            fields["envid"] = _xtext(name, value, limits.ENVID_OCTETS_MAX)
        elif name == "AUTH" and profile.auth_mechanisms:
            sender = _xtext(name, value, limits.ORCPT_OCTETS_MAX)
            fields["auth"] = "" if sender == "<>" else sender
        elif name == "PRDR" and profile.prdr:
            if value is not None:
                raise _bad(name)
            fields["prdr"] = True
        else:
            raise ParameterError(replies.UNKNOWN_PARAMETER(name=name))
    return fields


def rcpt_parameters(text: str, profile: Profile, *, smtputf8: bool) -> dict[str, Any]:
    """The fields of `Recipient` that the parameters set. Raises ParameterError."""
    fields: dict[str, Any] = {}
    for name, value in _split(text):
        if name == "NOTIFY" and profile.dsn:
            fields["notify"] = _notify(value)
        elif name == "ORCPT" and profile.dsn:
            fields["orcpt"] = _orcpt(value, smtputf8=smtputf8)
        else:
            raise ParameterError(replies.UNKNOWN_PARAMETER(name=name))
    return fields


def _split(text: str) -> list[tuple[str, str | None]]:
    """Name in upper case and value of each parameter, None where there is no "="."""
    found: list[tuple[str, str | None]] = []
    seen = set()
    for word in text.split(" "):
        if not word:
            continue
        name, equals, value = word.partition("=")
        if not _KEYWORD.match(name):
            # A reply is ASCII for who did not ask for SMTPUTF8.
            shown = ascii(name).strip("'") or "="
            raise ParameterError(replies.BAD_PARAMETER(name=shown))
        name = name.upper()
        if name in seen:
            raise ParameterError(replies.REPEATED_PARAMETER(name=name))
        seen.add(name)
        if equals and not value:
            raise _bad(name)
        found.append((name, value if equals else None))
    return found


def _size(value: str | None) -> int:
    # RFC 1870 §3: 1*20DIGIT.
    if value is None or len(value) > limits.SIZE_DIGITS_MAX or not _digits(value):
        raise _bad("SIZE")
    return int(value)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _one_of(name: str, value: str | None, choices: tuple[str, ...]) -> str:
    word = (value or "").upper()
    if word not in choices:
        raise _bad(name)
    return word


def _notify(value: str | None) -> frozenset[str]:
    # RFC 3461 §4.1: NEVER stands alone, the others in any number, none twice.
    words = (value or "").upper().split(",")
    wishes = frozenset(words)
    if len(wishes) != len(words) or not (wishes <= _NOTIFY or wishes == _NEVER):
        raise _bad("NOTIFY")
    return wishes


def _orcpt(value: str | None, *, smtputf8: bool) -> str:
    # RFC 3461 §4.2: addr-type ";" xtext. RFC 6533 §3: with SMTPUTF8 the address may be UTF-8.
    kind, semicolon, address = (value or "").partition(";")
    if not semicolon or not address or not _KEYWORD.match(kind):
        raise _bad("ORCPT")
    # Postfix gives a UTF-8 address under "rfc822" and its octets as hexchars, which xtext allows.
    pattern = _ORCPT_UTF8 if smtputf8 else _ORCPT
    text = _xtext("ORCPT", address, limits.ORCPT_OCTETS_MAX, pattern)
    if kind.lower() == "utf-8":
        try:
            text = _EMBEDDED.sub(lambda found: chr(int(found[1], 16)), text)
        except (ValueError, OverflowError):
            raise _bad("ORCPT") from None
        if not text.isprintable():
            raise _bad("ORCPT")
    return f"{kind.lower()};{text}"


def _xtext(name: str, value: str | None, octets_max: int, pattern: re.Pattern[str] = _XTEXT) -> str:
    """`value` decoded (RFC 3461 §4); control characters are no more welcome encoded."""
    if value is None or len(value) > octets_max or not pattern.match(value):
        raise _bad(name)
    if "+" not in value:
        return value
    try:
        text = _HEXCHARS.sub(lambda found: bytes.fromhex(found[0].replace("+", "")).decode(), value)
    except UnicodeDecodeError:
        raise _bad(name) from None
    if not text.isprintable():
        raise _bad(name)
    return text


def _bad(name: str) -> ParameterError:
    return ParameterError(replies.BAD_PARAMETER(name=name))
