"""Forms: `forms.toml` ready for use, compiled once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

import msgspec

ADDRESS = (
    r'(?:"[^"\s]{1,64}"|[^\s<>()\[\]",:;\\|\x01\x02]{1,64})'
    r"@(?:\[[^\]\s]{3,60}\]|[\w-]{1,63}(?:\.[\w-]{1,63}){0,20})"
)
"""An address as it stands in text; not whether it may be sent to."""


_HOST = r"(?<![\w.:-])(?P<host>[\w.:-]{1,255}?)(?!\.?[\w-])"
_IP = r"(?P<ip>[^\])\s]{2,60})"

_CLASS = re.compile(r"(\[\^?\]?(?:\\.|[^\]\\])*\]|\\.)")
"""Brackets of a regular expression, and what is escaped."""


class Around(msgspec.Struct, frozen=True):
    """A sentence around a reply. cut, opens: as the file says."""

    pattern: re.Pattern[str]
    cut: bool
    opens: bool


class Forms(msgspec.Struct, frozen=True):
    """The sections of `forms.toml`, as patterns."""

    returned: re.Pattern[str]
    reason: tuple[re.Pattern[str], ...]
    addresses: re.Pattern[str]
    labels: re.Pattern[str]
    forwarded: re.Pattern[str]
    sentences: tuple[re.Pattern[str], ...]
    empty: re.Pattern[str]
    idle: re.Pattern[str]
    around: tuple[Around, ...]
    subject: dict[str, re.Pattern[str]]
    opening: dict[str, re.Pattern[str]]
    daemon: re.Pattern[str]
    program: re.Pattern[str]
    named: re.Pattern[str]


@lru_cache
def forms() -> Forms:
    """What the file holds."""
    data = tomllib.loads((files(__package__) / "forms.toml").read_text("utf-8"))
    return Forms(
        returned=re.compile(rf"[ \t>|*]*(?:{'|'.join(data['returned'])})", re.IGNORECASE),
        reason=tuple(
            re.compile(rf"[ \t>|*#]*(?:{form})\b[ \t]*(?:[.:-]+|$)[ \t|-]*", re.IGNORECASE)
            for form in data["reason"]
        ),
        addresses=_any(data["addresses"]),
        labels=re.compile(
            rf"(?:{'|'.join(data['labels'])})(?:\s*[:=-]+\s*|\s+(?=<))[\"'<]*({ADDRESS})[\"'>]*[.,;]?$",
            re.IGNORECASE,
        ),
        forwarded=re.compile(rf"^[ \t>]*(?:{'|'.join(data['forwarded'])})", re.I | re.M),
        sentences=tuple(
            re.compile(form.replace("ADDRESS", f"({ADDRESS})"), re.IGNORECASE)
            for form in data["sentences"]
        ),
        empty=re.compile(rf"(?:{'|'.join(data['empty'])})[.!:;]?", re.IGNORECASE),
        idle=re.compile(rf"[ 	>|*#-]*(?:{'|'.join(data['idle'])})", re.IGNORECASE),
        around=tuple(
            Around(
                re.compile(_form(entry["form"]), re.IGNORECASE | re.MULTILINE),
                entry["cut"],
                entry.get("opens", False),
            )
            for entry in data["around"]
        ),
        subject={kind: _any(patterns) for kind, patterns in data["subject"].items()},
        opening={kind: _any(patterns) for kind, patterns in data["opening"].items()},
        daemon=re.compile(rf"(?:{'|'.join(data['sender']['daemon'])})\Z", re.IGNORECASE),
        program=re.compile(rf"(?:{'|'.join(data['sender']['program'])})\Z", re.IGNORECASE),
        named=_any(data["sender"]["named"]),
    )


def _any(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def _form(form: str) -> str:
    """The form with its names put in, and any white space for a space outside brackets: a few
    characters, since thousands would be looked through again from many places."""
    pieces = _CLASS.split(form)
    whole = "".join(
        piece if number % 2 else piece.replace(" ", r"(?:\s{1,8})")
        for number, piece in enumerate(pieces)
    )
    return whole.replace("HOST", _HOST).replace("IP", _IP)
