"""Docs pages made by reading code and tables: limits, commands, standards."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

import estafeta
from estafeta.office.docs_pages import make_table as table

ROOMS = [
    "mail",
    "wire",
    "world",
    "trust",
    "explain",
    "store",
    "resolve",
    "relay",
    "queue",
    "intake",
    "deliver",
    "submit",
    "compose",
    "read",
    "office",
    "sim",
]
"""From right to left on the map."""


class Limit(msgspec.Struct, frozen=True):
    """One named constant of a room's `limits.py`."""

    file: str
    name: str
    value: str
    about: str


def limits_page() -> str:
    """Every limit of every room, from their `limits.py`."""
    parts = [
        "# Limits\n\n"
        "Nothing grows with what a stranger sends: what may be sent, held and waited for has a "
        "named limit, in one file a room. Those that are settings stand in "
        "[settings](settings.md); what a client is answered at a limit, in "
        "[replies](replies.md).\n"
    ]
    by_file: dict[str, list[Limit]] = {}
    for limit in limits():
        by_file.setdefault(limit.file, []).append(limit)
    for file, found in by_file.items():
        rows = [(f"`{limit.name}`", f"`{limit.value}`", _by_name(limit)) for limit in found]
        parts.append(f"## {file}\n\n{table(('limit', 'value', 'what it bounds'), rows)}\n")
    return "\n".join(parts)


def limits() -> Iterator[Limit]:
    """The constants of every `limits.py`, the rooms in the order of the map.

    What a limit bounds is said in a string after it, or in a comment beside or above it.
    """
    root = Path(estafeta.__file__).parent
    for room in ROOMS:
        for file in sorted((root / room).rglob("limits.py")):
            yield from _limits_of(file, file.relative_to(root).as_posix())


def _limits_of(file: Path, shown: str) -> Iterator[Limit]:
    text = file.read_text("utf-8")
    lines = text.split("\n")
    body = ast.parse(text).body
    for n, node in enumerate(body):
        target: ast.expr
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        elif isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
        else:
            continue
        if not isinstance(target, ast.Name) or not target.id.isupper() or target.id[0] == "_":
            continue
        after = body[n + 1] if n + 1 < len(body) else None
        yield Limit(shown, target.id, ast.unparse(value), _about(node, after, lines))


def _about(node: ast.stmt, after: ast.stmt | None, lines: list[str]) -> str:
    if (
        isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    ):
        return " ".join(after.value.value.split())
    beside = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")[2]
    if beside:
        return beside.strip()
    above: list[str] = []
    at = node.lineno - 2
    while at >= 0 and lines[at].startswith("# "):
        above.insert(0, lines[at][2:])
        at -= 1
    return " ".join(above)


def _by_name(limit: Limit) -> str:
    """What the name itself says, where nothing else does."""
    return limit.about or limit.name.lower().replace("_", " ")


def commands_page(app: typer.Typer) -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Commands\n\n"
        "Exit codes: 0 done; 1 it could not be done, or a check found something; 2 the command "
        "line or the configuration is wrong. Results go to standard output, everything else to "
        "standard error. Changes of domains, accounts and aliases work at once; the server needs "
        "no restart.\n"
    ]
    for path, command in _commands(typer.main.get_command(app), ("estafeta",)):
        rows = [(f"`{_usage(p)}`", p.help or "") for p in command.params]
        parts.append(f"## {' '.join(path)}\n\n{(command.help or '').strip()}\n")
        if rows:
            parts.append(table(("argument", "what for"), rows) + "\n")
    return "\n".join(parts)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command by its words. Typer carries its own click, whose types are not public."""
    below = getattr(command, "commands", None)
    if command.hidden:
        return
    if below is None:
        yield path, command
        return
    for name, each in below.items():
        yield from _commands(each, (*path, name))


def _usage(parameter: Any) -> str:
    if parameter.param_type_name != "option":
        return str(parameter.metavar or parameter.name.upper())
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.name.upper()}"


class Standard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One RFC of docs/rfc.toml. missing: what we do not do yet, for `partial`."""

    number: int
    title: str
    state: str
    rooms: list[str]
    missing: str = ""


def standards(folder: Path) -> list[Standard]:
    """docs/rfc.toml, checked: states are yes, partial or no; rooms exist."""
    raw = tomllib.loads((folder / "rfc.toml").read_text("utf-8"))
    found = [msgspec.convert(entry, Standard) for entry in raw["rfc"]]
    for each in found:
        if each.state not in ("yes", "partial", "no"):
            raise ValueError(f"RFC {each.number}: yes, partial or no was expected")
        if unknown := set(each.rooms) - set(ROOMS):
            raise ValueError(f"RFC {each.number}: there is no room {unknown}")
        if (each.state == "partial") != bool(each.missing):
            raise ValueError(f"RFC {each.number}: `missing` belongs to partial ones, all of them")
    return sorted(found, key=lambda each: each.number)


class Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One draft of docs/rfc.toml that became no RFC and is kept all the same."""

    name: str
    title: str
    rooms: list[str]


def drafts(folder: Path) -> list[Draft]:
    """Those of docs/rfc.toml, in its order."""
    raw = tomllib.loads((folder / "rfc.toml").read_text("utf-8"))
    return [msgspec.convert(entry, Draft) for entry in raw["draft"]]


def standards_page(folder: Path) -> str:
    """Every RFC and how far we keep it."""
    rows = [
        (
            f"[RFC {s.number}](https://www.rfc-editor.org/rfc/rfc{s.number})",
            s.title,
            s.state,
            ", ".join(s.rooms),
            s.missing,
        )
        for s in standards(folder)
    ]
    return (
        "# Standards\n\n"
        "What we keep of each RFC: yes, partial, or not yet. Made from `rfc.toml`; tests see to it "
        "that each RFC the code refers to is in it.\n\n"
        + table(("RFC", "title", "kept", "rooms", "missing"), rows)
        + "\n## Drafts\n\nNo RFC was made of them; others speak them all the same.\n\n"
        + table(
            ("draft", "title", "rooms"),
            [
                (
                    f"[{d.name}](https://datatracker.ietf.org/doc/html/{d.name})",
                    d.title,
                    ", ".join(d.rooms),
                )
                for d in drafts(folder)
            ],
        )
    )


def rfcs_in_code() -> dict[int, list[str]]:
    """Each RFC that a comment or docstring refers to, with the rooms that do."""
    root = Path(estafeta.__file__).parent
    found: dict[int, set[str]] = {}
    for file in sorted(root.rglob("*.py")):
        room = file.relative_to(root).parts[0]
        for number in re.findall(r"RFC (\d{3,5})", file.read_text("utf-8")):
            found.setdefault(int(number), set()).add(room)
    return {number: sorted(rooms) for number, rooms in sorted(found.items())}
