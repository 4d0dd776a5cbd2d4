"""Audit: from a store that real deliveries filled, something is taken; the command names it.

Each loss is done to a copy of one store; `tests/store/test_audit.py` has more of them, by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shutil
import smtplib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest
from tests.support.live import Estafeta
from tests.support.stores import Stand, with_stand

from estafeta.office.commands import main
from estafeta.store.audit import audit_open, seal_days
from estafeta.store.bodies import path_of
from estafeta.store.engine import Tx
from estafeta.store.ids import LOW_BITS, queue_id
from estafeta.store.open import open_store
from estafeta.world.real import real_world

DOMAIN = "estafeta.example"
ANA, LUIS = f"ana@{DOMAIN}", f"luis@{DOMAIN}"
DAY_MS = 86_400_000
OLD_DAYS = 100
OLD_ACCEPTANCES = 100_000


class Filled(NamedTuple):
    """Two stores. sealed: yesterday's mail, all delivered. live: that, and mail that waits."""

    sealed: Path
    live: Path


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = tmp_path_factory.mktemp("audit")
    server = Estafeta(
        folder / "live",
        accounts=[ANA, LUIS],
        settings={"smtp": ['relay_networks = ["127.0.0.0/8"]']},
    )
    with server:
        for n in range(3):
            send(server, "mx", [ANA, LUIS], f"small {n}", 500)
        send(server, "mx", [ANA], "large", 400_000)
    shutil.copytree(folder / "live", folder / "sealed")
    asyncio.run(seal(folder / "sealed" / "data"))
    with server:
        send(server, "submission", ["x@a.example", "y@b.example"], "waits", 500)
    return Filled(folder / "sealed", folder / "live")


def send(server: Estafeta, port: str, to: list[str], subject: str, octets: int) -> None:
    text = ("z" * 70 + "\r\n") * (octets // 72)
    data = f"From: <{ANA}>\r\nSubject: {subject}\r\nMessage-ID: <{time.time_ns()}@t>\r\n\r\n{text}"
    with smtplib.SMTP("127.0.0.1", server.ports[port]) as client:
        assert client.sendmail(ANA, to, data) == {}


async def seal(data: Path) -> None:
    """As if the day were over."""
    world = real_world(data)
    store = await open_store(f"sqlite://{data}/estafeta.db", world)
    later = int(world.clock.now() * 1000) + 3 * DAY_MS
    await store.run(lambda tx: seal_days(tx, later))
    await store.close()


def audit(folder: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """The command's exit code and findings."""
    out = io.StringIO()
    sys.argv = ["estafeta", "audit", "--json", *words, "--config", str(folder / "estafeta.toml")]
    code = 0
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    said = json.loads(out.getvalue())
    assert said["ok"] == (code == 0)
    return code, said["findings"]


class Copy:
    """A store to break. sql runs on the file itself, as no unit would."""

    def __init__(self, base: Path, folder: Path) -> None:
        shutil.copytree(base, folder)
        config = folder / "estafeta.toml"
        config.write_text(
            config.read_text()
            .replace(str(base), str(folder))
            .replace(str(base.parent / "live"), str(folder))
        )
        self.folder = folder
        self.data = folder / "data"

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(apsw.Connection(str(self.data / "estafeta.db"))) as connection:
            return connection.execute(statement, values).fetchall()


@pytest.fixture
def broken(filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    monkeypatch.setattr(sys, "argv", sys.argv)
    return Copy(filled.live, tmp_path / "copy")


def test_what_real_deliveries_left_is_in_order(filled: Filled, broken: Copy) -> None:
    for folder in (broken.folder, Copy(filled.sealed, broken.folder / "sealed").folder):
        assert audit(folder) == (0, [])
        assert audit(folder, "--full") == (0, [])


def lose_message(store: Copy) -> tuple[str, list[str]]:
    acceptance, uid = store.sql(
        "SELECT acceptance, fate_uid FROM recipient WHERE address = ? AND fate_uid = 2", ANA
    )[0]
    for table in ("message", "message_text"):
        store.sql(
            f"DELETE FROM {table} WHERE uid = ? AND account ="
            " (SELECT id FROM account WHERE address = ?)",
            uid,
            ANA,
        )
    return "stored-lost", [queue_id(acceptance), "uid 2"]


def lose_queue_row(store: Copy) -> tuple[str, list[str]]:
    acceptance, _ = store.sql("DELETE FROM queue WHERE n = 1 RETURNING acceptance, n")[0]
    return "recipient-without-queue-row", [queue_id(acceptance), "recipient 1", "y@b.example"]


def lose_body(store: Copy) -> tuple[str, list[str]]:
    (body,) = store.sql("SELECT min(id) FROM body WHERE filed = 0")[0]
    store.sql("DELETE FROM body WHERE id = ?", body)
    return "body-missing", [queue_id(body), ANA]


def lose_data(store: Copy) -> tuple[str, list[str]]:
    (body,) = store.sql(
        "DELETE FROM body_data WHERE id = (SELECT min(id) FROM body_data) RETURNING id"
    )[0]
    return "body-missing", [queue_id(body)]


def lose_file(store: Copy) -> tuple[str, list[str]]:
    (body,) = store.sql("SELECT id FROM body WHERE filed = 1")[0]
    (store.data / path_of(body)).unlink()
    return "body-missing", [queue_id(body), "its file"]


def cut_file(store: Copy) -> tuple[str, list[str]]:
    (body,) = store.sql("SELECT id FROM body WHERE filed = 1")[0]
    with (store.data / path_of(body)).open("r+b") as file:
        file.truncate(1000)
    return "body-missing", [queue_id(body), "1000 octets instead of"]


def miscount_messages(store: Copy) -> tuple[str, list[str]]:
    store.sql("UPDATE mailbox SET messages = messages + 1 WHERE name = 'INBOX' AND messages = 4")
    return "mailbox-counter", [ANA, "INBOX counts 5 messages, there are 4"]


def miscount_octets(store: Copy) -> tuple[str, list[str]]:
    store.sql("UPDATE account SET used = 7 WHERE address = ?", LUIS)
    return "account-used", [LUIS, "7 octets"]


def end_a_recipient(store: Copy) -> tuple[str, list[str]]:
    acceptance, n = store.sql(
        "UPDATE recipient SET fate = 'relayed', ended = 1 WHERE fate IS NULL AND n = 0"
        " RETURNING acceptance, n"
    )[0]
    return "queue-row-without-recipient", [queue_id(acceptance), f"recipient {n}", "relayed"]


def lose_acceptance(store: Copy) -> tuple[str, list[str]]:
    (acceptance,) = store.sql(
        "DELETE FROM acceptance WHERE id = (SELECT min(id) FROM acceptance) RETURNING id"
    )[0]
    return "acceptance-lost", [queue_id(acceptance)]


CHEAP = [lose_queue_row, end_a_recipient]
LOSSES: list[Callable[[Copy], tuple[str, list[str]]]] = [
    *CHEAP,
    lose_message,
    lose_body,
    lose_data,
    lose_file,
    cut_file,
    miscount_messages,
    miscount_octets,
    lose_acceptance,
]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_what_is_taken_away_is_named(
    broken: Copy, lose: Callable[[Copy], tuple[str, list[str]]]
) -> None:
    kind, words = lose(broken)
    code, found = audit(broken.folder, "--full")
    assert code == 1
    texts = [one["text"] for one in found if one["kind"] == kind]
    assert any(all(word in text for word in words) for text in texts), (words, found)
    if lose in CHEAP:
        code, found = audit(broken.folder)
        assert (code, {one["kind"] for one in found}) == (1, {kind})


def change_a_fate(store: Copy) -> str:
    """Past the trigger that makes it final."""
    store.sql("DROP TRIGGER recipient_final")
    store.sql("UPDATE recipient SET fate = 'dropped' WHERE address = ? AND fate_uid = 1", ANA)
    return "dropped 0 then, 1 now"


def change_an_address(store: Copy) -> str:
    store.sql("UPDATE recipient SET address = 'eve@x.example' WHERE n = 1")
    return "a row was changed"


def change_the_totals(store: Copy) -> str:
    store.sql("UPDATE seal SET totals = replace(totals, '\"stored\":7', '\"stored\":8')")
    return "stored 8 then, 7 now"


@pytest.mark.parametrize("change", [change_a_fate, change_an_address, change_the_totals])
def test_a_sealed_day_that_was_changed_is_named(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Copy], str]
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    store = Copy(filled.sealed, tmp_path / "copy")
    words = change(store)
    code, found = audit(store.folder, "--full")
    assert code == 1
    (broken,) = [one for one in found if one["kind"] == "seal-broken"]
    assert broken["day"] * DAY_MS <= time.time() * 1000
    assert words in broken["text"]


def test_people_read_kind_and_ids(broken: Copy, capfd: pytest.CaptureFixture[str]) -> None:
    lose_queue_row(broken)
    sys.argv = ["estafeta", "audit", "--config", str(broken.folder / "estafeta.toml")]
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "recipient-without-queue-row" in capfd.readouterr().out


_GROW = (
    "WITH RECURSIVE i(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM i WHERE k < ?1 - 1)"
    " INSERT INTO acceptance (id, at, origin, reverse_path, body, size, recipients)"
    " SELECT ((?2 + k * ?3) << ?4), ?2 + k * ?3, 'smtp', 'a@a.example', 1, 1000, 1 FROM i"
)


def test_the_cheap_audit_does_not_grow_with_the_years(tmp_path: Path) -> None:
    """Steps of SQLite's machine, not seconds: as many beside 100,000 old acceptances as without."""

    async def work(stand: Stand) -> None:
        account = await stand.account()
        inbox = await stand.inbox(account)
        await stand.deliver(account, inbox)
        for n in range(20):
            await stand.accept((f"u@d{n}.example", None))
        steps = 0

        def counted(event: dict[str, Any]) -> None:
            nonlocal steps
            steps += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

        def costs() -> int:
            nonlocal steps
            with contextlib.closing(apsw.Connection(str(stand.path))) as connection:
                reader = Reader(connection)
                assert audit_open(reader) == []
                connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, counted)
                steps = 0
                assert audit_open(reader) == []
            return steps

        small = costs()
        # Years of mail, all of it delivered, its days sealed.
        first = stand.clock.ms // DAY_MS * DAY_MS - OLD_DAYS * DAY_MS
        apart = (OLD_DAYS - 1) * DAY_MS // OLD_ACCEPTANCES

        def grow(tx: Tx) -> None:
            tx.run(_GROW, (OLD_ACCEPTANCES, first, apart, LOW_BITS))
            tx.run(
                "INSERT INTO recipient (acceptance, n, address, fate, ended, fate_text)"
                " SELECT id, 0, 'b@b.example', 'relayed', at, 'mx 250 ok' FROM acceptance"
                " WHERE origin = 'smtp' AND at < ?",
                (first + OLD_DAYS * DAY_MS,),
            )
            for day in range(first // DAY_MS, first // DAY_MS + OLD_DAYS):
                tx.run("INSERT INTO seal VALUES (?, 1, 0, '{}', '')", (day,))
                tx.run("INSERT INTO answered VALUES (?, 0, 1000, 1000)", (day,))

        await stand.run(grow)
        large = costs()
        print(f"steps: {small} without, {large} with {OLD_ACCEPTANCES} old acceptances")
        assert small > 100
        assert large < small + 100

    with_stand(tmp_path, work)


class Reader:
    """The reading half of a Tx, on a connection that is being watched."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Any = ()) -> list[Any]:
        return self._connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Any = ()) -> Any:
        row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]
