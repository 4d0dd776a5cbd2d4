"""seen: which replies of the catalogue stand in what a server sent."""

from __future__ import annotations

import re
from string import Formatter

from estafeta.mail.outcome import Reply
from estafeta.wire import replies

_LINE = re.compile(rb"(\d{3})([ -])([^\r\n]*)\r\n")


def names_in(transcript: bytes) -> set[str]:
    """Names of the replies in `transcript`, which is whole replies and nothing else."""
    found: set[str] = set()
    whole: list[bytes] = []
    for code, more, text in _LINE.findall(transcript):
        whole.append(text)
        if more == b" ":
            found |= _names(code + b" ", whole)
            whole = []
    return found


def _names(code: bytes, lines: list[bytes]) -> set[str]:
    text = code + b"\n".join(lines)
    # A positive answer to EHLO has lines behind the one of the catalogue.
    first = code + lines[0]
    return {
        name
        for name, pattern in _PATTERNS.items()
        if pattern.fullmatch(text) or (name == "HELLO" and pattern.fullmatch(first))
    }


def _pattern(reply: Reply | replies.Template) -> re.Pattern[bytes]:
    status = f"{reply.status} " if reply.status else ""
    if isinstance(reply, Reply):
        body = re.escape(reply.text.replace("\n", f"\n{status}"))
    else:
        body = "".join(
            re.escape(literal.replace("\n", f"\n{status}")) + ("" if place is None else r"[^\n]*")
            for literal, place, _, _ in Formatter().parse(reply.text)
        )
        body += re.escape(f" [{reply.cause}]") if reply.cause else ""
    return re.compile((re.escape(f"{reply.code} {status}") + body).encode())


_PATTERNS = {name: _pattern(reply) for name, reply in replies.CATALOGUE.items()}
