"""estafeta explain: what a bounce of any server, or a single reply, means."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from estafeta.explain.causes import Cause, cause, causes
from estafeta.explain.reading import Kind, Reading, ReportedRecipient, read_reply, read_report
from estafeta.explain.refusal import Verdict
from estafeta.explain.verdicts import verdicts
from estafeta.explain.words import pick_language, say
from estafeta.office.commands.common import (
    JsonOption,
    clean,
    console,
    print_json,
    print_table,
    the_language,
)
from estafeta.office.errors import EXIT_FAILURE, CommandError, UsageMistake, explain_startup_error
from estafeta.office.limits import EXPLAIN_OCTETS_MAX

_FIELD = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[!-9;-~]{1,100}[ \t]*:|From )")
_STYLES: dict[Kind, str] = {
    "bounce": "red",
    "delay": "yellow",
    "delivered": "green",
    "feedback": "yellow",
    "auto-reply": "cyan",
    "other": "dim",
}


class Explained(msgspec.Struct, frozen=True):
    """One recipient of a report, for programs. reply_code: None where there was none."""

    address: str
    cause: str
    permanent: bool
    hard: bool
    status: str
    reply_code: int | None
    host: str
    remote_text: str
    repair_by: str
    title: str
    remedy: str


class ExplainedFile(msgspec.Struct, frozen=True):
    """One message, for programs."""

    file: str
    kind: Kind
    recipients: list[Explained]


def explain(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Messages as .eml; - is standard input."),
    ] = None,
    reply: Annotated[
        str, typer.Option("--reply", help="A server's reply, such as “550 5.1.1 …”.")
    ] = "",
    host: Annotated[str, typer.Option("--host", help="Who gave that reply.")] = "",
    address: Annotated[str, typer.Option("--address", help="Whom the mail was for.")] = "",
    catalogue: Annotated[
        bool, typer.Option("--causes", help="List every cause that there is.")
    ] = False,
    language: Annotated[
        str, typer.Option("--lang", help="en or es; default: as LANG says, else English.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Explain bounces of any mail server, delay notices, and replies; with --json one a line."""
    spoken = pick_language(the_language(language) or _of_environment())
    if (bool(files) + bool(reply) + catalogue) != 1:
        raise UsageMistake("files were expected, or --reply, or --causes")
    if (host or address) and not reply:
        raise UsageMistake("--host and --address belong to --reply")
    if catalogue:
        _list_causes(spoken, json)
        return
    if reply:
        _show("", read_reply(reply, host=host, address=address), spoken, json)
        return
    failed = False
    for file in files or ():
        try:
            reading = read_report(_read(file))
        except (CommandError, OSError) as problem:
            failed = True
            sys.stderr.write(clean(f"estafeta: {explain_startup_error(problem)}") + "\n")
            continue
        _show(file, reading, spoken, json)
    if failed:
        raise typer.Exit(EXIT_FAILURE)


def _of_environment() -> str:
    return os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG", "")


def _read(file: str) -> bytes:
    """The octets of a message. Raises CommandError, OSError."""
    if file == "-":
        data = sys.stdin.buffer.read(EXPLAIN_OCTETS_MAX + 1)
    else:
        if Path(file).is_dir():
            raise CommandError(f"{file} is a folder; a message was expected")
        with Path(file).open("rb") as stream:
            data = stream.read(EXPLAIN_OCTETS_MAX + 1)
    shown = "standard input" if file == "-" else file
    if len(data) > EXPLAIN_OCTETS_MAX:
        raise CommandError(f"{shown} is larger than {EXPLAIN_OCTETS_MAX >> 20} MiB")
    if _FIELD.match(data) is None:
        raise CommandError(f"{shown} is no message: it does not begin with a header")
    return data


def _show(file: str, reading: Reading, language: str, json: bool) -> None:
    found = verdicts(reading)
    if json:
        explained = ExplainedFile(
            file, reading.kind, [_explained(reading.kind, *each, language) for each in found]
        )
        sys.stdout.write(msgspec.json.encode(explained).decode() + "\n")
    else:
        _print(file, reading, found, language, console())


def _explained(
    kind: Kind, recipient: ReportedRecipient, verdict: Verdict, language: str
) -> Explained:
    known = cause(verdict.cause)
    title, _, remedy = _words(kind, recipient, known, language)
    return Explained(
        address=recipient.address,
        cause=verdict.cause,
        permanent=verdict.permanent,
        hard=verdict.hard,
        status=recipient.status,
        reply_code=recipient.code or None,
        host=recipient.host,
        remote_text=recipient.text,
        repair_by=known.owner,
        title=title,
        remedy=remedy,
    )


def _words(
    kind: Kind, recipient: ReportedRecipient, known: Cause, language: str
) -> tuple[str, str, str]:
    """(title, explanation, remedy)."""
    address = recipient.address or say("explain.somebody", language)
    words = known.in_words(language, address=address, host=recipient.host or address)
    remedy = (words.returned if kind == "bounce" else "") or words.remedy
    return words.title, words.explanation, remedy


def _print(
    file: str,
    reading: Reading,
    found: list[tuple[ReportedRecipient, Verdict]],
    language: str,
    to: Console,
) -> None:
    kind = say(f"explain.{reading.kind}", language)
    heading = Text(clean(f"{file}: " if file else ""), style="bold")
    heading.append(kind, style=_STYLES[reading.kind])
    if reading.mailer:
        heading.append(f" ({clean(reading.mailer)})", style="dim")
    to.print(heading)
    if reading.returned.subject:
        about = say("explain.about", language, subject=reading.returned.subject)
        _line(to, about, style="dim")
    for recipient, verdict in found:
        _print_one(reading.kind, recipient, verdict, language, to)
    to.print()


def _print_one(
    kind: Kind, recipient: ReportedRecipient, verdict: Verdict, language: str, to: Console
) -> None:
    known = cause(verdict.cause)
    title, explanation, remedy = _words(kind, recipient, known, language)
    _line(to, recipient.address or say("explain.somebody", language), style="bold")
    _line(to, title, depth=4)
    _line(to, explanation, depth=4)
    if kind in ("bounce", "delay"):
        owner = say(f"owner.{known.owner}", language)
        _line(to, say("explain.whose", language, owner=owner), depth=4)
    _line(to, say("explain.remedy", language, text=remedy), depth=4)
    code = " ".join(filter(None, (str(recipient.code or ""), recipient.status)))
    reply = " ".join(filter(None, (code, recipient.text)))
    if reply:
        key = "explain.words-of" if recipient.host else "explain.words"
        words = say(key, language, host=recipient.host, reply=reply[:500])
        _line(to, words, depth=4, style="dim")
    _line(to, say("explain.cause", language, code=verdict.cause), depth=4, style="dim")


def _line(to: Console, text: str, *, depth: int = 2, style: str = "") -> None:
    shown = clean(" ".join(text.split()))
    if to.is_terminal:
        to.print(Padding(Text(shown, style=style), (0, 0, 0, depth)))
    else:  # padding would end each line with spaces
        to.print(Text(" " * depth + shown))


def _list_causes(language: str, json: bool) -> None:
    if json:
        print_json([_for_programs(each, language) for each in causes().values()])
        return
    rows = [
        (
            each.code,
            say(f"owner.{each.owner}", language),
            ", ".join(each.sisimai),
            each.words[language].title,
        )
        for each in causes().values()
    ]
    columns = ("code", "owner", "sisimai", "title")
    print_table([say(f"explain.column-{name}", language) for name in columns], rows)


def _for_programs(each: Cause, language: str) -> dict[str, Any]:
    words = each.words[language]
    return {
        "code": each.code,
        "permanent": each.permanent,
        "hard": each.hard,
        "repair_by": each.owner,
        "sisimai": each.sisimai,
        "title": words.title,
        "explanation": words.explanation,
        "remedy": words.remedy,
    }
