"""Status: the fields that a report holds for programs (RFC 3464 §2, RFC 6533 §4).

Promises: reads fields that are folded, doubled, out of order, without their empty lines, without
types, or with the address in brackets. Never raises.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec

from estafeta.explain.reading.forms import ADDRESS
from estafeta.explain.reading.letter import decode_octets
from estafeta.explain.reading.limits import (
    FIELD_OCTETS_MAX,
    FIELDS_MAX,
    RECIPIENTS_MAX,
    STATUS_OCTETS_MAX,
    WORDS_CHARACTERS_MAX,
)
from estafeta.mail.dates import parse_date
from estafeta.mail.words import decode_words, unfold

_FIELD = re.compile(
    rb"^[ \t]{0,8}([A-Za-z][A-Za-z0-9-]{2,60})[ \t]*+:"
    rb"((?:[^\r\n]++|\r?\n(?=[ \t]+[^ \t\r\n])|\r(?!\n))*+)"
    rb"|^([ \t]*)\r?$",
    re.MULTILINE,
)
_KNOWN = re.compile(
    rb"^[ \t]*(?:final-recipient|original-recipient|diagnostic-code|reporting-mta|action)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_KNOWN_IN_TEXT = re.compile(_KNOWN.pattern.decode("ascii"), re.IGNORECASE | re.MULTILINE)
_OF_RECIPIENT = frozenset(
    (
        b"final-recipient",
        b"original-recipient",
        b"x-actual-recipient",
        b"action",
        b"status",
        b"remote-mta",
        b"diagnostic-code",
        b"last-attempt-date",
        b"final-log-id",
        b"will-retry-until",
    )
)
_NAMING = (b"final-recipient", b"original-recipient")
_TYPE = re.compile(r"\s*([A-Za-z][\w./-]{0,30})\s*;\s*")
_ADDRESS = re.compile(ADDRESS)
_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UNICODE = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_ACTION = re.compile(r"[a-z]+")


class Block(msgspec.Struct):
    """The fields of one recipient, decoded: addresses without type, words without type.

    kind: the type of Diagnostic-Code, "smtp", "x-unix"; "" where there is none.
    """

    final: str = ""
    original: str = ""
    actual: str = ""
    action: str = ""
    status: str = ""
    words: str = ""
    kind: str = ""
    host: str = ""
    last_attempt: float | None = None
    will_retry_until: float | None = None


class Status(msgspec.Struct):
    """Fields of the message, and a block for each recipient."""

    reporting_mta: str = ""
    envid: str = ""
    arrival: float | None = None
    message_id: str = ""
    names: set[str] = msgspec.field(default_factory=set)
    blocks: list[Block] = msgspec.field(default_factory=list)


def read_status(parts: list[bytes]) -> Status:
    """What the delivery-status parts of one report say."""
    status = Status()
    for octets in parts:
        _read_part(status, _outdented(octets[:STATUS_OCTETS_MAX]))
    status.blocks = [block for block in status.blocks if _says_something(block)][:RECIPIENTS_MAX]
    return status


def _outdented(octets: bytes) -> bytes:
    """The fields without the white space before each line that some text puts there."""
    first = _KNOWN.search(octets)
    if first is None or not (depth := len(first[0]) - len(first[0].lstrip(b" \t"))):
        return octets
    return re.sub(rb"^[ \t]{1,%d}" % min(depth, 64), b"", octets, flags=re.MULTILINE)


def fields_in_text(text: str) -> bytes:
    """The fields of a delivery status that stand in a text, from the first on; b"" without any."""
    octets = text.encode("utf-8", "replace")
    match = _KNOWN.search(octets)
    return octets[match.start() :] if match is not None else b""


def without_fields(text: str) -> str:
    """The text before such fields."""
    match = _KNOWN_IN_TEXT.search(text)
    return text if match is None else text[: match.start()]


def _read_part(status: Status, octets: bytes) -> None:
    block: Block | None = None
    seen: set[bytes] = set()
    apart = True  # an empty line came before
    for number, match in enumerate(_FIELD.finditer(octets)):
        if number >= FIELDS_MAX or len(status.blocks) > RECIPIENTS_MAX:
            break
        if match[1] is None:
            apart = True
            continue
        name = match[1].lower()
        value = unfold(match[2][:FIELD_OCTETS_MAX])
        if name in _OF_RECIPIENT:
            doubled = name in seen and (apart or name in _NAMING)
            renewed = apart and name in _NAMING and not seen.isdisjoint(_NAMING)
            if block is None or doubled or renewed:
                block = Block()
                status.blocks.append(block)
                seen = set()
            seen.add(name)
            _of_recipient(block, name, value)
        else:
            _of_message(status, name, value)
        apart = False


def _of_message(status: Status, name: bytes, value: bytes) -> None:
    if len(status.names) < 100:
        status.names.add(name.decode("ascii", "replace"))
    if name == b"reporting-mta":
        status.reporting_mta = status.reporting_mta or host_of(_text(value))
    elif name == b"original-envelope-id":
        status.envid = status.envid or _text(value)[:200]
    elif name == b"arrival-date":
        status.arrival = status.arrival or parse_date(_text(value))
    elif name in (b"x-original-message-id", b"original-message-id"):
        status.message_id = status.message_id or _text(value)[:998]


def _of_recipient(block: Block, name: bytes, value: bytes) -> None:
    text = _text(value)
    if name == b"final-recipient":
        block.final = block.final or address_of(text)
    elif name == b"original-recipient":
        block.original = block.original or address_of(text, xtext=True)
    elif name == b"x-actual-recipient":
        block.actual = block.actual or address_of(text)
    elif name == b"action":
        match = _ACTION.search(text.lower())
        block.action = block.action or (match[0] if match is not None else "")
    elif name == b"status":
        match = _STATUS.search(text)
        block.status = block.status or (match[0] if match is not None else "")
        _, _, rest = text.partition("(")
        if not block.words and len(rest) > 12 and "undefined" not in rest:
            block.words = rest.rstrip(") ")
    elif name == b"remote-mta":
        block.host = block.host or host_of(text)
    elif name == b"diagnostic-code":
        _diagnostic(block, text)
    elif name == b"last-attempt-date":
        block.last_attempt = block.last_attempt or parse_date(_text(value))
    elif name == b"will-retry-until":
        block.will_retry_until = block.will_retry_until or parse_date(_text(value))


def _diagnostic(block: Block, text: str) -> None:
    match = _TYPE.match(text)
    kind = match[1].lower() if match is not None else ""
    words = text[match.end() :] if match is not None else text
    if not block.kind:
        block.kind, block.words = kind, words[:WORDS_CHARACTERS_MAX]
    elif words not in block.words and len(block.words) < WORDS_CHARACTERS_MAX:
        block.words = f"{block.words}\n{words}"[:WORDS_CHARACTERS_MAX]


def _says_something(block: Block) -> bool:
    return bool(block.final or block.original or block.action or block.words)


def _text(value: bytes) -> str:
    text = decode_octets(value)
    return decode_words(text) if "=?" in text else text


def address_of(text: str, *, xtext: bool = False) -> str:
    """The address in `type; address`, "" for none; what is no address (a pipe, a path) as it is."""
    match = _TYPE.match(text)
    kind = match[1].lower() if match is not None else ""
    value = text[match.end() :] if match is not None else text
    if kind in ("utf-8", "utf8"):
        value = _UNICODE.sub(_character, value)
    elif xtext and "+" in value and _XTEXT.search(value):
        value = _from_xtext(value)
    found = _ADDRESS.search(value)
    if found is not None and not value.lstrip().startswith(("|", "/")):
        return found[0].rstrip(".")
    return value.strip(" <>\t")[:256]


def _from_xtext(value: str) -> str:
    """xtext decoded (RFC 3461 §4), unless that is no address any more: many do not encode."""
    octets = unquote_to_bytes(_XTEXT.sub(r"%\1", value.replace("%", "%25")))
    decoded = octets.decode("utf-8", "replace")
    usual = decoded.isprintable() and not any(c.isspace() for c in decoded)
    return decoded if usual and decoded.count("@") == 1 else value


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"


def host_of(text: str) -> str:
    """The name or address in `dns; mx.example.org (192.0.2.1)`, in lower case."""
    match = _TYPE.match(text)
    value = text[match.end() :] if match is not None else text
    words = value.replace(",", " ").split("(")[0].split()
    return words[0].strip("[]<>.;").lower()[:255] if words else ""
