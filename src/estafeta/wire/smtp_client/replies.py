"""replies: the bytes of an SMTP server cut into `Reply` values (RFC 5321 §4.2, RFC 2034).

Strict in form: three digits, then " ", "-" or the end; only CRLF ends a line. Tolerant in content:
lines of one reply may differ in code (the last counts), may lack the enhanced code, may hold any
octets. What is kept of an endless line or an endless reply is bounded.
"""

from __future__ import annotations

import re
from functools import lru_cache

from estafeta.mail.outcome import Reply
from estafeta.wire.smtp_client.limits import (
    REPLY_LINE_OCTETS_MAX,
    REPLY_LINES_MAX,
    REPLY_OCTETS_MAX,
)

_LINE = re.compile(rb"[2-5]\d\d(?: |(-)|\Z)")  # the last of its reply, unless "-" follows
_STATUS = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$)")
_PRINTABLE = bytes(
    octet if (octet >= 0x20 and octet != 0x7F) or octet == 0x09 else 0x20 for octet in range(256)
)


class MalformedReply(Exception):
    """The peer does not speak SMTP; the text says how."""


class ReplyReader:
    """Cuts replies out of a stream of bytes."""

    __slots__ = ("_lines", "_octets", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._octets = 0

    @property
    def pending(self) -> bool:
        """Whether bytes lie here that belong to no finished reply."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes. Raises MalformedReply."""
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\r\n")
        if len(self._rest) > REPLY_LINE_OCTETS_MAX:
            raise MalformedReply("a reply line does not end")
        replies: list[Reply] = []
        for line in lines:
            form = _LINE.match(line)
            if form is None:
                raise MalformedReply(f"not a reply: {_words(line[:64])!r}")
            if len(line) > REPLY_LINE_OCTETS_MAX:
                raise MalformedReply("a reply line is too long")
            if form[1]:
                self._lines.append(line)
                self._octets += len(line)
                if len(self._lines) >= REPLY_LINES_MAX or self._octets > REPLY_OCTETS_MAX:
                    raise MalformedReply("a reply has too many lines")
            elif self._lines:
                replies.append(_join([*self._lines, line]))
                self._lines = []
                self._octets = 0
            else:
                replies.append(_single(line))
        return replies


@lru_cache(maxsize=256)
def _single(line: bytes) -> Reply:
    """Most of what a server says it says to every message."""
    found = _STATUS.match(line, 4)
    if found and found[1][0] == line[0]:
        return Reply(int(line[:3]), found[1].decode(), _words(line[found.end() :]))
    # RFC 2034 §4: a status of another class than the code is no status; it stays in the text.
    return Reply(int(line[:3]), "", _words(line[4:]))


def _join(lines: list[bytes]) -> Reply:
    """RFC 5321 §4.2.1: the last line decides; RFC 2034 §4: each line repeats the status."""
    last = _single(lines[-1])
    prefix = last.status.encode()
    texts = []
    for line in lines[:-1]:
        found = _STATUS.match(line, 4)
        if found and found[1] == prefix:
            texts.append(_words(line[found.end() :]))
        else:
            texts.append(_words(line[4:]))
    texts.append(last.text)
    return Reply(last.code, last.status, "\n".join(texts))


def _words(text: bytes) -> str:
    """Readable text without control characters, whatever the octets."""
    text = text.translate(_PRINTABLE)
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
