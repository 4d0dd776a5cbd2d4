"""Header: what a mail server does to a header, without a look at the body.

Promises: octets that are not meant are kept as they are; what is made here folds, is ASCII unless
UTF-8 is asked for, and cannot smuggle in a line of its own. RFC 5322 §2.2, §3.6; RFC 2047;
RFC 6532; trace fields RFC 5321 §4.4.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

import msgspec

from estafeta.mail.address import AddressError, Mailbox, canonical, mailboxes, parse_address_list
from estafeta.mail.limits import HEADER_OCTETS_MAX, LINE_OCTETS_MAX, LINE_OCTETS_WANTED
from estafeta.mail.message.fields import header_end, pairs, units
from estafeta.mail.words import decode_charset, encode_words, unfold

_NAME = re.compile(r"[!-9;-~]{1,100}")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LEXEME = re.compile(r"[ \t]*[^ \t]+")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_TO_ESCAPE = re.compile(r'(["\\])')

_WORD_CHARACTERS_MAX = 200
"""A word of more is cut: in UTF-8 it still fits a line of LINE_OCTETS_MAX."""

# The first Message-ID, or the empty line where there is none; its value where that is one line of
# printable ASCII.
_MESSAGE_ID = re.compile(
    rb"\n(?:\r?\n|(message-id)[ \t]*+:(?:[ \t]*+([!-~]++)[ \t]*+\r?\n(?![ \t]))?)", re.IGNORECASE
)

_REMEMBERED_OCTETS_MAX = 200  # of a field with addresses

_AN_ADDRESS = "an address, local-part@domain, was expected"

_ONCE = (
    b"date",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"bcc",
    b"message-id",
    b"in-reply-to",
    b"references",
    b"subject",
)


class HeaderProblem(msgspec.Struct, frozen=True):
    """Why no one could answer, or programs would disagree about, a message.

    code: "no-from", "several-from", "bad-from", "no-sender", "bad-sender", or "several-" and a
    field of RFC 5322 §3.6 that may stand once. field: its name. text: what was expected.
    """

    code: str
    field: str
    text: str


def prepend(message: bytes, *fields: bytes) -> bytes:
    """The message with whole fields (line ends included) put before its header, in this order."""
    return b"".join((*fields, message))


def remove(message: bytes, names: Collection[str]) -> bytes:
    """The message without the fields of these names; everything else octet by octet."""
    unwanted = {name.lower().encode("ascii") for name in names}
    end = header_end(message)
    head = message[:end]
    lowered = head.lower()
    if not any(name in lowered for name in unwanted):  # as a rule; a sixth of the time
        return message
    kept = [(name in unwanted, octets) for name, octets in units(head)]
    if not any(gone for gone, _ in kept):
        return message
    length = sum(len(octets) for _, octets in kept)
    return b"".join(octets for gone, octets in kept if not gone) + message[length:]


def find(message: bytes, name: str) -> list[bytes]:
    """The unfolded values of all fields of that name, in order. A header alone will do."""
    wanted = name.lower().encode("ascii")
    head = message[: header_end(message)]
    return [unfold(value) for key, value in pairs(head) if key.lower() == wanted]


def count(message: bytes, name: str) -> int:
    """How often a field stands in the header: `count(message, "Received")` finds loops
    (RFC 5321 §6.3)."""
    wanted = name.lower().encode("ascii")
    head = b"\n" + message[: min(header_end(message), HEADER_OCTETS_MAX)].lower()
    begun = b"\n" + wanted
    found = head.count(begun)
    if found != head.count(begun + b":"):  # white space before the colon, or a longer name
        return sum(key == wanted for key, _ in pairs(head[1:]))
    return found


def message_id(message: bytes) -> str:
    """The Message-ID with its angle brackets, or "" where there is none that could be searched for:
    white space or more than 998 octets are no Message-ID (RFC 5322 §3.6.4)."""
    match = _MESSAGE_ID.search(message, 0, HEADER_OCTETS_MAX)
    # One search instead of all fields saves 3 microseconds; not where the header is empty or begins
    # with the field.
    if match is not None and message[:1] not in b"\r\nMm":
        name, value = match.groups()
        if value is not None and len(value) <= LINE_OCTETS_MAX:
            return value.decode("ascii")
        if name is None:
            return ""
    return message_id_of_any(message)


def message_id_of_any(message: bytes) -> str:
    """As `message_id`, however the field is written."""
    return _message_id_of(next(iter(find(message, "Message-ID")), b""))


def _message_id_of(value: bytes) -> str:
    """From the field's value, unfolded."""
    value = value.strip()
    if len(value) > LINE_OCTETS_MAX or len(value.split()) != 1:
        return ""
    return decode_charset(value)


def new_message_id(dice: bytes, domain: str) -> str:
    """A Message-ID with angle brackets from at least 10 random octets (RFC 5322 §3.6.4)."""
    if len(dice) < 10:
        raise ValueError("at least 10 random octets were expected")
    return f"<{dice.hex()}@{domain}>"


def fold(name: str, value: str, *, utf8: bool = False) -> bytes:
    """An unstructured field with its line end: at most 78 octets a line where words allow it.

    Text that is not ASCII, or that a reader would take for an encoded word, becomes encoded words;
    with `utf8` raw UTF-8 stays (RFC 6532). White space at both ends is dropped. Raises ValueError
    for a bad name and for CR, LF or NUL in the value.
    """
    return _lines(name, _unstructured(value, utf8), utf8)


def fold_structured(name: str, value: str, *, utf8: bool = False) -> bytes:
    """A field whose words are kept as they are and separated by one space, with its line end.

    A word that no line can hold is cut. Raises ValueError as `fold` does, and for text that is not
    ASCII without `utf8`.
    """
    if not utf8 and not value.isascii():
        raise ValueError(f"a value for {name} in ASCII was expected")
    pieces: list[str] = []
    for word in value.split():
        step = _WORD_CHARACTERS_MAX
        pieces.extend(
            word[at : at + step] if not pieces and at == 0 else f" {word[at : at + step]}"
            for at in range(0, len(word), step)
        )
    return _lines(name, pieces, utf8)


def _unstructured(value: str, utf8: bool) -> list[str]:
    """The value in pieces, each with the white space before it, between which it may be folded."""
    pieces: list[str] = []
    run = ""  # text for encoded words, white space between its words included
    for lexeme in _LEXEME.findall(value.strip(" \t")):
        if _must_encode(lexeme, utf8):
            run += lexeme
            continue
        pieces.extend(_encoded(run))
        run = ""
        pieces.append(lexeme)
    pieces.extend(_encoded(run))
    return pieces


def _must_encode(lexeme: str, utf8: bool) -> bool:
    return (
        (not utf8 and not lexeme.isascii())
        or "=?" in lexeme
        or _CONTROL.search(lexeme) is not None
        or len(lexeme) * (4 if utf8 else 1) > LINE_OCTETS_MAX - 100
    )


def _encoded(run: str) -> Iterator[str]:
    if run:
        text = run.lstrip(" \t")
        first = run[: len(run) - len(text)]
        for number, word in enumerate(encode_words(text)):
            yield (" " if number else first) + word


def _lines(name: str, pieces: Iterable[str], utf8: bool) -> bytes:
    if _NAME.fullmatch(name) is None:
        raise ValueError("a field name of printable ASCII without a colon was expected")
    lines: list[str] = []
    line = f"{name}:"
    width = len(line)
    first = True
    for piece in pieces:
        if _FORBIDDEN.search(piece):
            raise ValueError(f"a value for {name} without CR, LF and NUL was expected")
        text = f" {piece}" if first else piece
        octets = len(text.encode("utf-8", "replace")) if utf8 else len(text)
        if not first and width + octets > LINE_OCTETS_WANTED and text[0] in " \t":
            lines.append(line)
            line, width = text, octets
        else:
            line += text
            width += octets
        first = False
    lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode("utf-8" if utf8 else "ascii", "replace")


def fold_addresses(name: str, entries: Iterable[Mailbox], *, utf8: bool = False) -> bytes:
    """A field of mailboxes (From, To …) with its line end; names quoted or encoded as needed.

    Addresses are written as they are: one that is not ASCII needs `utf8`, else ValueError.
    """
    pieces: list[str] = []
    for entry in entries:
        if pieces:
            pieces[-1] += ","
        address = entry.address
        if not utf8 and not address.isascii():
            raise ValueError("an address in ASCII was expected, or utf8")
        start = len(pieces)
        if entry.name:
            pieces.extend(_phrase(entry.name, utf8))
            pieces.append(f" <{address}>")
        else:
            pieces.append(address)
        if start:
            pieces[start] = " " + pieces[start]
    return _lines(name, pieces, utf8)


def _phrase(name: str, utf8: bool) -> list[str]:
    text = " ".join(_CONTROL.sub(" ", name).split())
    if "=?" in text or (not utf8 and not text.isascii()) or len(text) > LINE_OCTETS_MAX // 5:
        return [word if not n else f" {word}" for n, word in enumerate(encode_words(text))]
    if _PHRASE.fullmatch(text) is None:
        text = '"' + _TO_ESCAPE.sub(r"\\\1", text) + '"'
    return _LEXEME.findall(text)


class Examined(msgspec.Struct, frozen=True):
    """authors: the addresses in From, canonical; () where it cannot be understood.
    message_id: as `message_id` gives it. received: how many Received fields there are. dated: there
    is a Date."""

    problems: list[HeaderProblem]
    authors: tuple[str, ...]
    message_id: str
    received: int
    dated: bool


def examine(message: bytes) -> Examined:
    """Who wrote a message that somebody submits, and what is wrong with its header.

    A missing Date or Message-ID is no problem: submission completes them (RFC 6409 §8).
    """
    first: dict[bytes, bytes] = {}
    times: dict[bytes, int] = {}  # of those that stand more than once
    for name, value in pairs(message[: header_end(message)]):
        key = name.lower()
        if key in first:
            times[key] = times.get(key, 1) + 1
        else:
            first[key] = value
    problems = [
        HeaderProblem(f"several-{name.decode()}", _title(name), f"one {_title(name)} was expected")
        for name in (_ONCE if times else ())
        if name in times
    ]
    authors: tuple[str, ...] = ()
    sent_from = first.get(b"from")
    if sent_from is None:
        problems.insert(0, HeaderProblem("no-from", "From", "a From field was expected"))
    elif b"from" in times:
        problems.insert(0, HeaderProblem("several-from", "From", "one From field was expected"))
    else:
        authors = _valid(sent_from)
        if not authors:
            problems.insert(0, HeaderProblem("bad-from", "From", _AN_ADDRESS))
        problems += _sender_problems(first.get(b"sender"), len(authors))
    return Examined(
        problems,
        authors,
        message_id=_message_id_of(unfold(first.get(b"message-id", b""))),
        received=times.get(b"received", 1 if b"received" in first else 0),
        dated=b"date" in first,
    )


def _sender_problems(sender: bytes | None, authors: int) -> list[HeaderProblem]:
    if sender is None:
        if authors <= 1:
            return []
        text = "Sender was expected beside several authors"  # RFC 5322 §3.6.2
        return [HeaderProblem("no-sender", "Sender", text)]
    if len(_valid(sender)) == 1:
        return []
    return [HeaderProblem("bad-sender", "Sender", "one address was expected")]


def _valid(value: bytes) -> tuple[str, ...]:
    """The canonical addresses of a field, () as soon as one of them is none."""
    return _valid_again(value) if len(value) <= _REMEMBERED_OCTETS_MAX else _addresses(value)


def _addresses(value: bytes) -> tuple[str, ...]:
    found: list[str] = []
    for mailbox in mailboxes(parse_address_list(decode_charset(value))):
        if not mailbox.domain:
            return ()
        try:
            found.append(canonical(mailbox.address))
        except AddressError:
            return ()
    return tuple(found)


# Who writes once writes again.
_valid_again = lru_cache(maxsize=512)(_addresses)


def _title(name: bytes) -> str:
    return {b"message-id": "Message-ID"}.get(name) or name.decode().title()
