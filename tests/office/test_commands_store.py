"""estafeta store move: what is refused, what is told, and how an installation goes on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.test_move import dump
from tests.support.peers import postgres
from tests.support.stores import Stand

from estafeta.office.commands.progress import teller
from estafeta.office.tenure import Tenure
from estafeta.store import messages
from estafeta.store.flags import SEEN
from estafeta.store.garbage import collect_garbage
from estafeta.store.ledger import DAY_MS
from estafeta.store.move import copy, run
from estafeta.store.move.hold import nobody_else

Run = Callable[..., Any]


@pytest.fixture
def database() -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def source(estafeta: Run, tmp_path: Path) -> str:
    assert estafeta("domain", "add", "x.example").code == 0
    assert estafeta("account", "add", "a@x.example", "--generate").code == 0
    return f"sqlite://{tmp_path}/data/estafeta.db"


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/new/estafeta.db"


def served_from(folder: Path, store: str) -> None:
    file = folder / "estafeta.toml"
    text = file.read_text()
    file.write_text(text.replace("[server]\n", f'[server]\nstore = "{store}"\n', 1))


def test_the_installation_goes_on_in_the_target(
    estafeta: Run, source: str, target: str, tmp_path: Path
) -> None:
    before = estafeta("account", "show", "a@x.example", "--json").out
    done = estafeta("store", "move", source, target, "--audit", "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["rows"]["account"] == 1
    assert summary["findings"] == []
    assert len(summary["hash"]) == 64
    assert (tmp_path / "new" / "estafeta.db").stat().st_mode & 0o777 == 0o600
    assert "copy: 0 of " in done.err
    assert "verify: 0 of " in done.err
    served_from(tmp_path, target)
    assert estafeta("account", "show", "a@x.example", "--json").out == before
    assert estafeta("audit", "--full").code == 0


def test_through_postgresql_and_back(
    estafeta: Run, source: str, target: str, database: str, tmp_path: Path
) -> None:
    before = estafeta("account", "show", "a@x.example", "--json").out
    done = estafeta("store", "move", source, database, "--audit")
    assert done.code == 0, done.err
    assert "are the same in both" in done.err
    done = estafeta("store", "move", database, target, "--audit")
    assert done.code == 0, done.err
    served_from(tmp_path, target)
    assert estafeta("account", "show", "a@x.example", "--json").out == before


def fill(folder: Path) -> None:
    """Mail read and unread, deleted, large, queued; a sealed day; what a dead worker held."""

    async def main() -> None:
        stand = Stand(folder, "sqlite-inline")
        try:
            ana = await stand.account(quota=10_000_000)
            inbox = await stand.inbox(ana)
            for n in range(30):
                await stand.deliver(ana, inbox, message_id=f"<{n}@x.example>")
            await stand.append(ana, inbox, data=b"Subject: l\r\n\r\n" + b"x" * 300_000)
            flags = {"mode": "add", "flags": SEEN, "keywords": frozenset({"$x"})}
            await stand.run(lambda tx: messages.store_flags(tx, ana, inbox, [3, 4], **flags))
            await stand.run(lambda tx: messages.expunge(tx, ana, inbox, [5, 6, 7]))
            stand.clock.ms += 3 * DAY_MS
            await stand.accept(("b@y.example", None), ("c@z.example", None))
            held = "UPDATE queue SET lease = 77, due = due + 900000 WHERE n = 1"
            await stand.run(lambda tx: tx.run(held))
            await collect_garbage(stand.store, stand.bodies, stand.clock.ms)
        finally:
            await stand.store.close()

    asyncio.run(main())


def test_real_mail_through_postgresql_and_back(
    estafeta: Run, database: str, target: str, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    fill(folder)
    file = tmp_path / "estafeta.toml"
    file.write_text(file.read_text().replace('"data"', '"s/files"'))
    source = f"sqlite://{folder}/estafeta.db"
    served_from(tmp_path, source)
    before = [estafeta(*words).out for words in LOOKS]
    for one, other in ((source, database), (database, target)):
        done = estafeta("store", "move", one, other, "--audit", "--json")
        assert done.code == 0, done.err
        summary = json.loads(done.out)
        assert summary["findings"] == []
        assert summary["filed_bodies"] == 1
        assert summary["rows"]["seal"] == 1
        assert summary["rows"]["expunged"] == 3
    assert dump(target) == dump(source) == dump(database)
    file.write_text(file.read_text().replace(source, target))
    after = [estafeta(*words).out for words in LOOKS]
    assert before[1:] == after[1:]
    # What was leased waits again, at once.
    assert [row["state"] for row in json.loads(before[0])] == ["waiting", "sending"]
    assert [row["state"] for row in json.loads(after[0])] == ["waiting", "waiting"]


LOOKS = [
    ("queue", "list", "--json"),
    ("account", "show", "ana@a.example", "--json"),
    ("trace", "<7@x.example>", "--json"),
]


def test_a_store_in_service_is_refused(
    estafeta: Run, source: str, target: str, tmp_path: Path
) -> None:
    with Tenure(tmp_path / "data" / "estafeta.db"):
        done = estafeta("store", "move", source, target)
        assert done.code == 1
        assert f"is in use by another estafeta serve, pid {os.getpid()}" in done.err
    assert not (tmp_path / "new" / "estafeta.db").exists()
    (tmp_path / "new").mkdir(exist_ok=True)
    with Tenure(tmp_path / "new" / "estafeta.db"):
        assert estafeta("store", "move", source, target).code == 1
    assert estafeta("store", "move", source, target).code == 0


def test_postgresql_in_service_is_refused(estafeta: Run, source: str, database: str) -> None:
    import psycopg

    for name in ("estafeta", "a node"):
        with psycopg.connect(database, application_name=name):
            for words in ((source, database), (database, source)):
                done = estafeta("store", "move", *words)
                assert done.code == 1
                assert f"is in service: connections open 1 ({name})" in done.err


def test_a_database_that_went_away_is_not_counted_as_moved(
    estafeta: Run, source: str, database: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables are locked no more, and somebody may have written."""
    import psycopg

    assert estafeta("store", "move", source, database).code == 0
    whole = run.verify

    async def verify(*given: Any) -> Any:
        proven = await whole(*given)
        with psycopg.connect(database, autocommit=True, application_name="psql") as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ShareLock'"
                " AND relation = 'account'::regclass"
            )
        return proven

    with monkeypatch.context() as patched:
        patched.setattr(run, "verify", verify)
        done = estafeta("store", "move", database, target)
    assert done.code == 1
    assert "went away" in done.err
    assert estafeta("store", "move", database, target).code == 0


def test_nobody_writes_into_a_database_that_is_moved(database: str) -> None:
    import psycopg

    with (
        nobody_else(database, locked=True) as check,
        psycopg.connect(database, autocommit=True, application_name="psql") as other,
    ):
        check()
        other.execute("SET lock_timeout = '50ms'")
        other.execute("SELECT count(*) FROM account")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("UPDATE account SET name = ''")


def test_half_a_store_is_refused_by_every_command_until_it_is_whole(
    estafeta: Run, source: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise OSError("the line was cut")

    with monkeypatch.context() as patched:
        patched.setattr(copy, "_copy_table", broken)
        assert estafeta("store", "move", source, target).code == 1
    original = (tmp_path / "estafeta.toml").read_text()
    served_from(tmp_path, target)
    for words in (("domain", "list"), ("serve",)):
        done = estafeta(*words)
        assert done.code == 1
        assert (
            done.err.strip()
            .splitlines()[-1]
            .startswith(
                f"estafeta: the store {target} is only half of one: a move from {source} into it"
            )
        )
    (tmp_path / "estafeta.toml").write_text(original)
    assert estafeta("store", "move", source, target).code == 0
    served_from(tmp_path, target)
    assert "x.example" in estafeta("domain", "list").out


def test_what_cannot_be_moved(estafeta: Run, source: str, target: str, tmp_path: Path) -> None:
    done = estafeta("store", "move", f"sqlite://{tmp_path}/none.db", target)
    assert "there is no store" in done.err
    assert not (tmp_path / "none.db").exists()
    done = estafeta("store", "move", source, source)
    assert (done.code, done.out) == (1, "")
    for wrong in ("mysql://x/y", "sqlite://relative.db", "nothing"):
        done = estafeta("store", "move", source, wrong)
        assert done.code == 1
        assert "is not understood" in done.err
    assert estafeta("store", "move", source, target).code == 0
    done = estafeta("store", "move", source, target)
    assert done.code == 1
    assert "was moved into the target already" in done.err


def test_on_a_terminal_there_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with teller() as telling:
        telling.begin("copy", 1000, 130)
        telling.advance("message", 870)
    text = capsys.readouterr().err
    assert "copy" in text
    assert "1000/1000" in text


def test_off_a_terminal_each_tenth_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with teller() as telling:
        telling.begin("copy", 1000, 130)
        for _ in range(87):
            telling.advance("message", 10)
        telling.begin("verify", 0, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "copy: 130 of 1,000 rows"
    assert lines[1] == "copy: 200 of 1,000 rows, 20 %, at message"
    assert lines[9] == "copy: 1,000 of 1,000 rows, 100 %"
    assert lines[10:] == ["verify: 0 of 0 rows"]
