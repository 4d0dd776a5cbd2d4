"""Finding: why a message must not come in, as far as it lies in the message."""

from __future__ import annotations

from typing import Literal

import msgspec

from estafeta.deliver.policy.limits import NAME_CHARACTERS_MAX

Kind = Literal["type", "size", "depth", "parts", "header", "archive", "tls"]
"""tls is found by looking back alone (replay): before a message comes, RCPT is refused for it."""


class Finding(msgspec.Struct, frozen=True):
    """The first thing found.

    name: of the file, or of the header field; "" where it has none. type: what it is: the entry of
    `blocked_types` it is refused by; for an archive `encrypted` or `unreadable`. words: what a
    header rule says to it. inside: the archive it lies in, "" where it lies in none.
    """

    kind: Kind
    name: str = ""
    type: str = ""
    words: str = ""
    inside: str = ""


class Late(msgspec.Struct, frozen=True):
    """It was not looked through in time: nothing is known of it."""


Verdict = Finding | Late | None
"""None: nothing keeps it out."""


def shown(name: str) -> str:
    """A name as it may be repeated: on one line, nothing that steers, not too long."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in name).strip()
    if len(plain) <= NAME_CHARACTERS_MAX:
        return plain
    half = (NAME_CHARACTERS_MAX - 1) // 2
    return f"{plain[:half]}…{plain[-half:]}"
