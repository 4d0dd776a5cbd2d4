"""Dialect: SQL as the rooms write it, for SQLite, becomes PostgreSQL's.

A statement differs in its placeholders, `?` here and `$1` there, and in what only PostgreSQL needs
to be told, which is written as a comment: `/*postgresql: FOR UPDATE */`. A migration differs in
type names, WITHOUT ROWID and the body of a trigger. Text is compared by its octets, as in SQLite,
whatever the collation of the database.
"""

from __future__ import annotations

import re

_OURS = re.compile(r"/\*postgresql: (.*?)\*/", re.DOTALL)
_TOKEN = re.compile(r"'(?:[^']|'')*'|\?")
_TRIGGER = re.compile(
    r"CREATE TRIGGER (?P<name>\w+) (?P<event>BEFORE UPDATE OF \w+ ON \w+)\s+"
    r"WHEN (?P<condition>.*?)\s+BEGIN SELECT RAISE\(ABORT, (?P<text>'[^']*')\); END;",
    re.DOTALL,
)
_TYPES = (
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\bTEXT\b"), 'TEXT COLLATE "C"'),
    (re.compile(r"\)\s*WITHOUT ROWID\b"), ")"),
)


def statement(sql: str) -> bytes:
    """One statement, with `$n` for the parameters."""
    count = 0

    def numbered(match: re.Match[str]) -> str:
        nonlocal count
        if match[0] != "?":
            return match[0]
        count += 1
        return f"${count}"

    return _TOKEN.sub(numbered, _OURS.sub(r"\1", sql)).encode()


def migration(sql: str) -> list[str]:
    """The statements of a whole file."""
    sql = _OURS.sub(r"\1", re.sub(r"--[^\n]*", "", sql))
    sql = _TRIGGER.sub(_trigger, sql)
    for pattern, replacement in _TYPES:
        sql = pattern.sub(replacement, sql)
    return [part.strip() for part in re.split(r";\s*(?:\n|$)", sql) if part.strip()]


def _trigger(match: re.Match[str]) -> str:
    name = match["name"]
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        f" RAISE integrity_constraint_violation USING MESSAGE = {match['text']}; END$$;\n"
        f"CREATE TRIGGER {name} {match['event']} FOR EACH ROW WHEN ({match['condition']})"
        f" EXECUTE FUNCTION {name}();"
    )
