"""The configuration reader against texts nobody would write: problems, never anything else."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from typing import Any

from estafeta.office.config_lines import Path, locate
from estafeta.office.config_read import ConfigError, parse_config

_WORDS = (
    "[server]",
    "[[listener]]",
    "[tls]",
    "[relay]",
    "[[relay.routes]]",
    "[x.y.z]",
    '[ a . "b c" ]',
    "role",
    "hostname",
    "port",
    "certificates",
    "=",
    ".",
    '"x"',
    "'y'",
    '"""\nm\n"""',
    "'''q'''",
    "[1, 2,]",
    "[]",
    "{}",
    "{a = 1, b.c = [2]}",
    "[[1], [\n{k = 'v'}]]",
    "# c",
    "\n",
    "\n",
    "\n",
    "25",
    "-1",
    "1e3",
    "0x1F",
    "true",
    "inf",
    "2026-01-01",
    "2026-01-01 10:00:00Z",
    "10:00",
    "ñ",
    "\t",
    " ",
    '"\\"]"',
    "'#'",
)


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Of every key of a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from paths(item, (*path, n))


def valid_line(dice: random.Random) -> str:
    keys = [dice.choice(("a", "b-c", '"q r"', "'s'", "1")) for _ in range(dice.randint(1, 2))]
    blank = dice.choice(("", " ", "\t"))
    key = f"{blank}.{blank}".join(keys)
    match dice.randrange(4):
        case 0:
            return f"[{blank}{key}{blank}] # c"
        case 1:
            return f"[[{key}]]"
    values = [word for word in _WORDS if word[0] in "\"'[{-012tiñ" and not word.startswith("[s")]
    return f"{blank}{key}{blank}={blank}{dice.choice(values)}"


def test_every_key_of_a_valid_text_has_its_line() -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    checked = 0
    for _ in range(3000):
        text = "\n".join(valid_line(dice) for _ in range(dice.randint(1, 5)))
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        lines = locate(text)
        written = text.split("\n")
        for path in paths(document):
            assert path in lines, (text, path)
            key = next(step for step in reversed(path) if isinstance(step, str))
            assert key in written[lines[path] - 1], (text, path)
        checked += 1
    assert checked > 300


def test_no_text_does_more_than_be_wrong() -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    wrong = right = 0
    for _ in range(3000):
        text = dice.choice(("", " ")).join(dice.choice(_WORDS) for _ in range(dice.randint(1, 12)))
        try:
            parse_config(text)
        except ConfigError as told:
            wrong += bool(told.problems) and all(problem.expected for problem in told.problems)
        else:
            right += 1
    assert wrong + right == 3000
    assert wrong > 1000
