"""What is imported for a command, and that nobody sees a difference."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import estafeta.office.commands
from estafeta.__main__ import app
from estafeta.office.commands.lazily import COMMANDS, GROUPS

FILES = {where.partition(":")[0] for where in (COMMANDS | GROUPS).values()}
SHARED = {"__init__", "by_hand", "common", "lazily", "progress", "queue_destinations", "rows"}
"""Files of the room that are no word's."""

ASK = """
import sys
from estafeta.office.commands import app
try:
    app(sys.argv[1:])
except SystemExit:
    pass
names = [name.rpartition(".") for name in sys.modules]
print("IMPORTED", *(last for room, _, last in names if room == "estafeta.office.commands"))
"""

AS_INSTALLED = "import sys, estafeta.__main__ as m; sys.argv[0] = 'estafeta'; m.main()"


def imported(*words: str) -> set[str]:
    """The files of words that a command has imported in its process when it ends."""
    told = subprocess.run(
        [sys.executable, "-c", ASK, *words], capture_output=True, text=True, check=True
    ).stdout
    return set(told.rpartition("IMPORTED")[2].split()) & FILES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("version",), set()),
        (("serve", "-c", "/nowhere", "--help"), {"serve"}),
        (("queue", "list", "--help"), {"queue"}),
        (("identity", "--help"), {"alias"}),
        (("qeueu",), set()),
        (("--help",), FILES),
    ],
)
def test_a_word_imports_its_own_file_and_no_other(
    words: tuple[str, ...], expected: set[str]
) -> None:
    assert imported(*words) == expected


def test_every_file_of_the_room_is_some_words() -> None:
    room = Path(estafeta.office.commands.__file__).parent
    assert {file.stem for file in room.glob("*.py")} - SHARED == FILES


def test_every_word_is_a_command_of_that_name_with_help() -> None:
    commands = typer.main.get_command(app).commands
    assert list(commands)[: len(COMMANDS)] == list(COMMANDS)
    assert list(commands)[-len(GROUPS) :] == list(GROUPS)
    assert len(commands) == len(list(commands)) == len(dict(commands))
    for word, command in commands.items():
        assert command.name == word
        assert command.help
        assert hasattr(command, "commands") == (word in GROUPS)
    assert {"version", "demo", "rehearse", "docs"} <= set(commands)


def test_a_word_that_is_none_is_told_with_the_nearest() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "estafeta", "quee"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "No such command 'quee'. Did you mean 'queue'?" in told.stderr


def test_what_is_added_later_is_there_and_what_is_taken_away_is_not() -> None:
    group = typer.main.get_command(app)
    group.add_command(group.commands["version"], "which")
    assert list(group.commands)[-1] == "which"
    del group.commands["serve"]
    assert "serve" not in group.commands
    assert group.commands.get("which") is group.commands["version"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("estafeta q", {"queue"}), ("estafeta queue rel", {"release"}), ("estafeta he", {"health"})],
)
def test_a_shell_completes_words(typed: str, expected: set[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", AS_INSTALLED],
        env={
            **os.environ,
            "_ESTAFETA_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert set(told.split()) == expected
