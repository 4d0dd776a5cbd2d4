"""Commands about strangers and about whom one is about to write to, over a real store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estafeta.office.commands.common import in_store
from estafeta.store import greylist
from estafeta.store.greylist import Terms

Run = Callable[..., Any]
TERMS = Terms(delay=1000, window=10_000, keep=10**12, known_after=5, apart=0)


@pytest.fixture
def silent_dns(tmp_path: Path, estafeta: Run) -> Run:
    """Nobody answers: no test asks the real DNS."""
    config = tmp_path / "estafeta.toml"
    config.write_text(
        config.read_text()
        + '[dns]\nservers = ["127.0.0.1:9"]\ntimeout = "100ms"\n'
        + '[lists]\nwait_max = "200ms"\nblock_networks = ["203.0.113.0/24"]\n'
        + 'allow_networks = ["198.51.100.0/24"]\n'
        + '[[lists.dns]]\nzone = "list.example"\n'
    )
    return estafeta


def test_greylisting_is_looked_at_and_forgotten(estafeta: Run, tmp_path: Path) -> None:
    async def work(store: Any, *_: Any) -> None:
        for sender in ("a@x.example", "b@x.example"):
            key = greylist.key_of("203.0.113.0/24", sender, "1")
            await store.run(lambda tx, key=key: greylist.arrive(tx, key, 1000, TERMS))

    in_store(tmp_path / "estafeta.toml", work)
    shown = json.loads(estafeta("greylist", "show", "203.0.113.9", "--json").out)
    assert (shown["who"], shown["waiting"]) == ("203.0.113.0/24", 2)
    assert "203.0.113.0/24" in estafeta("greylist", "show", "203.0.113.0/24").out
    done = estafeta("greylist", "forget", "203.0.113.9")
    assert (done.code, "2 rows" in done.err) == (0, True)
    assert json.loads(estafeta("greylist", "show", "203.0.113.9", "--json").out)["waiting"] == 0
    for command in ("show", "forget"):
        assert estafeta("greylist", command, "a..b").code == 2
        assert estafeta("greylist", command, "203.0.113.9/24").code == 2


def test_lists_are_looked_up(silent_dns: Run) -> None:
    listed = silent_dns("lists", "look", "203.0.113.9", "--json")
    assert (listed.code, json.loads(listed.out)["verdict"]) == (1, "listed")
    allowed = silent_dns("lists", "look", "198.51.100.9")
    assert (allowed.code, "allowed" in allowed.out) == (0, True)
    # A list that does not answer refuses nobody, and says so where it is asked for.
    unlisted = silent_dns("lists", "look", "192.0.2.9", "--json")
    assert (unlisted.code, json.loads(unlisted.out)["verdict"]) == (0, "unlisted")
    checked = silent_dns("lists", "check", "--json")
    assert checked.code == 1
    assert [(each["zone"], each["result"]) for each in json.loads(checked.out)] == [
        ("list.example", "silent")
    ]
    assert silent_dns("lists", "look", "x").code == 2


def test_preflight(silent_dns: Run) -> None:
    silent_dns("domain", "add", "a.example")
    for name in ("ana", "eva"):
        silent_dns(
            "account", "add", f"{name}@a.example", "--password-stdin", given="secret words\n"
        )
    fine = silent_dns("preflight", "ana@a.example", "eva@a.example")
    assert (fine.code, "fine" in fine.out) == (0, True)
    done = silent_dns(
        *("preflight", "ana@a.example", "nobody@a.example", "x", "bob@far.example"),
        *("--json", "--lang", "es"),
    )
    found = json.loads(done.out)
    assert done.code == 1
    assert [(each["verdict"], each["cause"]) for each in found] == [
        ("wrong", "unknown-user"),
        ("wrong", "bad-address"),
        ("unknown", "dns-trouble"),
    ]
    assert found[0]["text"].startswith("nobody@a.example no existe.")
    assert silent_dns("preflight", "none@a.example", "eva@a.example").code == 1
    assert silent_dns("preflight", "ana@a.example", *["x"] * 101).code == 2
