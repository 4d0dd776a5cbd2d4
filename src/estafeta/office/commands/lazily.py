"""Lazily: the words after `estafeta`, each imported when it is asked for.

Who types one word waits for one file of commands and what it needs: the server does not wait for
the queue's commands, nor the other way round. Whoever wants to know of all (`--help`, completion,
the page of commands) imports all, and sees what would be there if they had been from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

ROOM = "estafeta.office.commands"

COMMANDS = {
    "serve": "serve:serve",
    "health": "health:health",
    "preflight": "preflight:preflight_",
    "trace": "trace:trace",
    "explain": "explain:explain",
    "audit": "audit:audit",
}
"""word -> file:function. Words of one command, first in help."""

GROUPS = {
    "domain": "domain:app",
    "account": "account:app",
    "alias": "alias:alias_app",
    "identity": "alias:identity_app",
    "queue": "queue:app",
    "policy": "policy:app",
    "token": "token:app",
    "tried": "tried:app",
    "greylist": "strangers:greylist_app",
    "lists": "strangers:lists_app",
    "config": "settings:app",
    "store": "store:app",
}
"""word -> file:Typer. Words that others follow, last in help."""


class Lazily(TyperGroup):
    """All that `estafeta` can do: what is named above, around what was added to it otherwise."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Words(self.commands)


class _Words(MutableMapping[str, Any]):
    """word -> its command; in the order of help. Typer carries its own click, with its types."""

    def __init__(self, others: Mapping[str, Any]) -> None:
        self._order = list(dict.fromkeys((*COMMANDS, *others, *GROUPS)))
        self._loaded = dict(others)

    def __getitem__(self, word: str) -> Any:
        if word not in self._loaded:
            self._loaded[word] = _load(word)
        return self._loaded[word]

    def __setitem__(self, word: str, command: Any) -> None:
        if word not in self._order:
            self._order.append(word)
        self._loaded[word] = command

    def __delitem__(self, word: str) -> None:
        self._order.remove(word)
        self._loaded.pop(word, None)

    def __contains__(self, word: object) -> bool:
        return word in self._order

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


def _load(word: str) -> Any:
    """Raises KeyError where no file has it."""
    file, _, name = (COMMANDS | GROUPS)[word].partition(":")
    found = getattr(import_module(f"{ROOM}.{file}"), name)
    alone = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=word)
    else:
        alone.command(word)(found)
    return typer.main.get_group(alone).commands[word]
