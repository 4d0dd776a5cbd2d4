"""`estafeta tried`: the journal of an account, and letting in."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import NOON, StandingClock

from estafeta.store import accounts, admissions, knocks
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.knocks import Arrival, Detail, Noted
from estafeta.store.sqlite import open_sqlite
from estafeta.world.clock import SystemClock

Run = Callable[..., Any]

ANA, LUIS = "ana@a.example", "luis@a.example"


def ok(done: Any) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out) if done.out.startswith(("[", "{")) else done.out


class Journal:
    """What the server has noted meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "data" / "estafeta.db"
        self.now = int(SystemClock().now() * 1000)
        self._ids = Ids(StandingClock(NOON), random.Random(1))

    def run(self, unit: Callable[[Tx], Any]) -> Any:
        async def work() -> Any:
            store = open_sqlite(self._path, clock=SystemClock())
            try:
                return await store.run(unit)
            finally:
                await store.close()

        return asyncio.run(work())

    def noted(self, address: str, **given: Any) -> str:
        """The name of the row."""
        id = self._ids.next()
        columns: dict[str, Any] = {
            "who": "example.net",
            "sender": "maria@example.org",
            "cause": "greylisted",
            "named": ANA,
            "proof": 1,
            "times": 1,
        }
        detail: dict[str, Any] = {
            "sender": "maria@example.org",
            "network": "192.0.2.0/24",
            "organisation": "example.net",
            "reply": "451 4.7.1 come again [greylisted]",
        }
        columns |= {k: v for k, v in given.items() if k in columns}
        detail |= {k: v for k, v in given.items() if k not in columns}

        def unit(tx: Tx) -> None:
            account = accounts.account(tx, address)
            assert account is not None
            row = Noted(
                account=account.id,
                id=id,
                first=self.now - 600_000,
                last=self.now - 600_000,
                detail=Detail(**detail),
                **columns,
            )
            arrival = Arrival(account.id, "example.net", "maria@example.org", self.now - 240_000)
            knocks.write(tx, [row], [arrival])

        self.run(unit)
        return queue_id(id)


@pytest.fixture
def journal(estafeta: Run, tmp_path: Path) -> Journal:
    ok(estafeta("domain", "add", "a.example"))
    ok(estafeta("account", "add", ANA, "--generate", "--language", "es"))
    ok(estafeta("account", "add", LUIS, "--generate"))
    return Journal(tmp_path)


def test_who_tried_is_told_in_the_language_of_the_account_or_another(
    estafeta: Run, journal: Journal
) -> None:
    row = journal.noted(ANA)
    (told,) = ok(estafeta("tried", "list", ANA, "--json"))
    assert told["row"] == row
    assert told["words"][0] == (
        "Alguien que dice ser maria@example.org, desde los servidores de example.net, recibió la "
        "petición de volver más tarde (lista gris), y volvió 6 minutos después."
    )
    (told,) = ok(estafeta("tried", "list", ANA, "--json", "--lang", "en"))
    assert told["words"][0] == (
        "Someone who claims to be maria@example.org, from the servers of example.net, was asked to "
        "come again (greylisting), and came 6 minutes later."
    )
    assert (told["sender"], told["proven"], told["admission"]) == ("maria@example.org", False, None)
    assert "dice ser maria@example.org" in ok(estafeta("tried", "list", ANA))
    shown = ok(estafeta("tried", "show", ANA, row, "--lang", "en"))
    assert "claims to be maria@example.org" in shown
    assert "451 4.7.1 come again [greylisted]" in shown
    assert ok(estafeta("tried", "show", ANA, row, "--json"))["hello"] == ""


def test_a_journal_is_its_accounts_alone(estafeta: Run, journal: Journal) -> None:
    row = journal.noted(ANA)
    assert ok(estafeta("tried", "list", LUIS, "--json")) == []
    for command in ("show", "let-in", "revoke"):
        done = estafeta("tried", command, LUIS, row)
        assert done.code == 1
        assert row in done.err
        assert "maria" not in done.out + done.err


def test_letting_in_and_taking_it_back(estafeta: Run, journal: Journal) -> None:
    row = journal.noted(ANA)
    ok(estafeta("policy", "set", "let_in=greylist,type"))
    done = estafeta("tried", "let-in", ANA, row)
    assert done.code == 0
    assert "one message from maria@example.org, from the network 192.0.2.0/24" in done.err
    (told,) = ok(estafeta("tried", "list", ANA, "--json"))
    assert told["admission"]["used_by"] is None
    assert told["words"][-1].startswith("Usted deja entrar su próximo mensaje")
    ok(estafeta("tried", "revoke", ANA, row))
    assert ok(estafeta("tried", "show", ANA, row, "--json"))["admission"] is None
    assert estafeta("tried", "revoke", ANA, row).code == 1
    proven = journal.noted(
        ANA,
        who="example.org",
        cause="policy-attachment",
        organisation="example.org",
        aligned=True,
        finding="Holiday.mov",
    )
    made = ok(estafeta("tried", "let-in", ANA, proven, "--json"))
    assert made["domain"] == "example.org"

    def came(tx: Tx) -> None:
        (given,) = admissions.admissions(tx, 1)
        assert admissions.consume(tx, 1, given.id, 5, journal.now)

    journal.run(came)
    shown = ok(estafeta("tried", "show", ANA, proven, "--json", "--lang", "en"))
    assert shown["admission"]["used_by"] == queue_id(5)
    assert shown["words"][-1] == "You let a message of theirs in, and it came."
    assert "came in" in ok(estafeta("tried", "list", ANA))


def test_what_is_not_the_owners_is_told_why(estafeta: Run, journal: Journal) -> None:
    listed = journal.noted(ANA, cause="blocked-ip", reply="554 5.7.1 x")
    done = estafeta("tried", "let-in", ANA, listed)
    assert done.code == 1
    assert "(blocked-ip) no puede decidirlo el titular" in done.err
    row = journal.noted(ANA)
    ok(estafeta("policy", "set", "--account", ANA, "let_in="))
    done = estafeta("tried", "let-in", ANA, row, "--lang", "en")
    assert "has not left it to the owner" in done.err
    ok(estafeta("policy", "set", "--account", ANA, "let_in=size"))
    large = journal.noted(ANA, cause="message-too-large", sender="b@x.example", size=10**12)
    assert "más grande que todo" in estafeta("tried", "let-in", ANA, large).err


def test_mistakes(estafeta: Run, journal: Journal) -> None:
    assert estafeta("tried", "list", "nobody@a.example").code == 1
    assert estafeta("tried", "list", "ana").code == 2
    assert estafeta("tried", "show", ANA, "x").code == 2
    assert estafeta("tried", "list", ANA, "--lang", "fr").code == 2
    assert "\x1b" not in ok(estafeta("tried", "list", ANA))
