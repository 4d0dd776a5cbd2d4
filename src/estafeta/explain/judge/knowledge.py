"""Knowledge: what is known of how servers speak, read from `facts/*.toml` once.

An entry is a fact: a cause, when it holds, and a source. All its conditions must hold; of `says`
and of the lists of a condition one must. Each phrase is a piece of its own, so that the score can
tell which of them carries what.

    [[fact]]
    cause = "mailbox-full"
    source = "RFC 3463 X.2.2; Postfix virtual(8)"
    says = ["over quota", "mailbox … full"]        words, in the language of `phrase`
    unless = ["message size"]                      words that speak against it
    status = ["*.2.2", "5.7.1"]                    enhanced status, "*" for either class
    code = [452, 552]                              reply code
    command = ["RCPT"]                             what was answered; "-" where it is not known
    host = ["outlook.com"]                         who said it: this host or one below it
    mailer = ["exchange", "-"]                     who reports it; "-": nobody, the reply is ours
    action = ["delayed"]                           of RFC 3464
    hard = false                                   where it is other than the cause's own

"@name" in `says` stands for the list of that name in the file's [phrases], for what means one thing
here and another there.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from estafeta.explain.judge.phrase import Kind, Phrase

ORDER = ("providers", "programs", "words", "statuses", "grammar", "hints", "codes")
"""The files, in the order in which they are asked: who speaks plainest comes first."""


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry, as it is written."""

    cause: str
    source: str
    says: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    code: tuple[int, ...] = ()
    command: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    mailer: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    hard: bool | None = None


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of knowledge: a fact with one of its phrases, or with none.

    file: that it is from. place: in the order in which they are asked. fact: the place of its fact
    in the same order. rule: its name. phrase: what must be said, None where nothing need be. bare:
    it has no condition but its phrase.
    """

    file: str
    place: int
    fact: int
    rule: str
    cause: str
    hard: bool | None
    phrase: Phrase | None
    unless: tuple[Phrase, ...]
    status: frozenset[str]
    code: frozenset[int]
    command: frozenset[str]
    host: tuple[str, ...]
    mailer: frozenset[str]
    action: frozenset[str]
    bare: bool


@lru_cache
def facts() -> tuple[tuple[str, Fact], ...]:
    """Every fact with the name of its file, in the order in which they are asked."""
    found = []
    for name in ORDER:
        file = _read(name)
        phrases = file.get("phrases", {})
        for entry in file["fact"]:
            said = [phrases[s[1:]] if s[:1] == "@" else [s] for s in entry.get("says", ())]
            entry["says"] = [phrase for several in said for phrase in several]
            found.append((name, msgspec.convert(entry, Fact)))
    return tuple(found)


@lru_cache
def pieces() -> tuple[Piece, ...]:
    """Every piece in the order in which they are asked."""
    kinds = {name: Kind(words) for name, words in _read("kinds").items()}
    known: dict[str, Phrase] = {}
    found: list[Piece] = []
    for number, (file, fact) in enumerate(facts()):
        for written in (*fact.says, *fact.unless):
            if written not in known:
                known[written] = Phrase(written, kinds)
        found += _pieces(file, number, known, len(found))
    return tuple(found)


def _pieces(file: str, number: int, known: dict[str, Phrase], first: int) -> list[Piece]:
    fact = facts()[number][1]
    conditions: dict[str, Any] = {
        "status": frozenset(_statuses(fact.status)),
        "code": frozenset(fact.code),
        "command": frozenset(fact.command),
        "host": fact.host,
        "mailer": frozenset(fact.mailer),
        "action": frozenset(fact.action),
    }
    told = [
        f"{name} {'|'.join(str(value) for value in getattr(fact, name))}"
        for name in conditions
        if getattr(fact, name)
    ]
    return [
        Piece(
            file=file,
            place=first + n,
            fact=number,
            rule=f"{file}: {', '.join([*([f'“{said}”'] if said else []), *told])} → {fact.cause}",
            cause=fact.cause,
            hard=fact.hard,
            phrase=known[said] if said else None,
            unless=tuple(known[other] for other in fact.unless),
            bare=not told and not fact.unless,
            **conditions,
        )
        for n, said in enumerate(fact.says or ("",))
    ]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "facts" / f"{name}.toml").read_text("utf-8"))


def _statuses(written: tuple[str, ...]) -> list[str]:
    return [
        status.replace("*", each, 1)
        for status in written
        for each in (("4", "5") if status.startswith("*") else ("",))
    ]
