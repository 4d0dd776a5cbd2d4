"""Scene: one step of one letter, as a row for programs and as lines for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from estafeta.explain.words import say
from estafeta.sim.demo.letters import Letter

STEPS = ("write", "submission", "queue", "dns", "smtp", "account", "mailbox")


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step. step: such as "A.4 dns". expected: in words. seen: the words of the other side.
    explanation: what a person is told of a failure, in their language."""

    step: str
    expected: str
    seen: str
    ok: bool
    explanation: str = ""


class Scene(msgspec.Struct, frozen=True):
    """A row as it is shown. number: 1 to 7. at: seconds since 1970, 0 where it took no time; exact:
    to the millisecond. where: the servers. lines: the gist of what was seen. needed: False for a
    step that this letter does without."""

    row: Row
    number: int
    title: str
    where: str
    lines: tuple[str, ...]
    at: float = 0.0
    exact: bool = True
    needed: bool = True


def make_scene(
    letter: Letter,
    language: str,
    number: int,
    ok: bool,
    lines: Sequence[str],
    *,
    gist: Sequence[str] = (),
    where: str = "",
    at: float = 0.0,
    exact: bool = True,
) -> Scene:
    """The texts are those of the step, or of the step for this kind of letter. lines: what was
    seen, "" for nothing; gist: those to be shown, where not all are."""
    kind = {"remote": "", "local": "-here", "returned": "-back"}[letter.kind]
    kind = kind if number > (4 if kind == "-back" else 3) else ""
    nothing = say("tour.nothing", language)
    values = {
        "domain": letter.destination.domain,
        "host": letter.destination.host,
        "recipient": letter.to,
        "sender": letter.sender.address,
    }
    row = Row(
        f"{letter.name}.{number} {STEPS[number - 1]}",
        say(f"tour.expect-{number}{kind}", language, **values),
        "; ".join(_flat(lines)) or nothing,
        ok,
    )
    return Scene(
        row,
        number,
        say(f"tour.title-{number}{kind}", language),
        where,
        tuple(_short(line) for line in _flat(gist or lines)) or (nothing,),
        at,
        exact,
        needed=kind != "-here" or number > 5,
    )


def _flat(lines: Sequence[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines if line.strip()]


def _short(line: str) -> str:
    """A line as a person wants it: of a Received field from where, to where, and the queue id; of
    a DNS answer the records."""
    if line.startswith("Received: "):
        line = re.sub(r" \(using (\S+) [^)]*\)", r" \1", line)
        return re.sub(r"( id [0-9A-Za-z]+).*", r"\1", line)
    return line.replace("? → NOERROR ", "? → ")
