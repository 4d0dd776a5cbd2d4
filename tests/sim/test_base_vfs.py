"""The forgetful disk under SQLite: what is synced survives, what is not does not."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from estafeta.sim.vfs import SECTOR_OCTETS, PowerDomain, install


@pytest.fixture
def domain(tmp_path: Path) -> PowerDomain:
    install()
    (tmp_path / "1").mkdir()
    return PowerDomain(tmp_path / "1")


def opened(domain: PowerDomain, synchronous: str = "FULL") -> apsw.Connection:
    connection = apsw.Connection(domain.root + "/store.db")
    assert connection.pragma("journal_mode", "wal") == "wal"
    connection.pragma("synchronous", synchronous)
    connection.execute("CREATE TABLE IF NOT EXISTS message(n INTEGER, body BLOB)")
    return connection


def acknowledged(connection: apsw.Connection, count: int) -> None:
    for n in range(count):
        connection.execute("INSERT INTO message VALUES(?, ?)", (n, bytes([n % 256]) * 3000))


def held(domain: PowerDomain) -> list[int]:
    connection = opened(domain)
    assert connection.pragma("integrity_check") == "ok"
    rows = list(connection.execute("SELECT n, body FROM message ORDER BY n"))
    assert all(body == bytes([n % 256]) * 3000 for n, body in rows)
    connection.close()
    return [n for n, _ in rows]


@pytest.mark.parametrize(("synchronous", "survive"), [("FULL", 50), ("NORMAL", 0)])
def test_acknowledged_commits_under_power_loss(
    domain: PowerDomain, tmp_path: Path, synchronous: str, survive: int
) -> None:
    connection = opened(domain, synchronous)
    if synchronous == "NORMAL":
        connection.pragma("wal_checkpoint")  # the table itself is durable
    acknowledged(connection, 50)
    after = domain.move(tmp_path / "2", power_lost=True)
    assert held(after) == list(range(survive))


def test_a_process_that_dies_loses_nothing(domain: PowerDomain, tmp_path: Path) -> None:
    connection = opened(domain, "NORMAL")
    acknowledged(connection, 50)
    connection.execute("BEGIN")
    connection.execute("INSERT INTO message VALUES(99, x'00')")  # never committed
    after = domain.move(tmp_path / "2", power_lost=False)
    assert held(after) == list(range(50))


def test_torn_writes_keep_every_acknowledged_commit(domain: PowerDomain, tmp_path: Path) -> None:
    for seed in range(30):
        dice = random.Random(seed)
        connection = opened(domain)
        connection.execute("DELETE FROM message")
        count = dice.randrange(1, 20)
        acknowledged(connection, count)
        if dice.random() < 0.5:
            connection.pragma("wal_checkpoint")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO message SELECT n + 100, body FROM message")
        domain = domain.move(tmp_path / f"torn-{seed}", power_lost=True, torn=dice)
        assert held(domain) == list(range(count)), f"seed {seed}"


def test_power_may_go_at_any_operation_of_a_commit(domain: PowerDomain, tmp_path: Path) -> None:
    """Whatever the operation, a commit that returned is there and one that did not is whole or
    absent; each cut falls into another place, the checkpoint included."""
    reached = set()
    for cut in range(1, 200, 3):
        connection = opened(domain)
        connection.execute("DELETE FROM message")
        connection.pragma("wal_autocheckpoint", 8)
        domain.cut_power_at(cut)
        committed = 0
        try:
            for n in range(40):
                connection.execute("INSERT INTO message VALUES(?, ?)", (n, bytes([n % 256]) * 3000))
                committed += 1
        except apsw.IOError:
            pass
        assert committed < 40, "the power never went"
        reached.add(committed)
        dice = random.Random(cut)
        domain = domain.move(tmp_path / f"cut-{cut}", power_lost=True, torn=dice)
        assert held(domain) in (list(range(committed)), list(range(committed + 1))), f"cut {cut}"
    assert len(reached) > 10, reached


@pytest.mark.parametrize(("error", "kind"), [("full", apsw.FullError), ("io", apsw.IOError)])
@pytest.mark.parametrize("operation", ["write", "sync"])
def test_injected_errors(domain: PowerDomain, operation: str, error: str, kind: type) -> None:
    connection = opened(domain)
    acknowledged(connection, 3)
    domain.fail(operation, 1, error, suffix="-wal")  # type: ignore[arg-type]
    with pytest.raises(kind):
        connection.execute("INSERT INTO message VALUES(3, x'')")
    connection.execute("DELETE FROM message WHERE n = 3")
    assert len(list(connection.execute("SELECT n FROM message"))) == 3
    connection.close()
    assert held(domain) == [0, 1, 2]


def test_the_dead_write_nothing(domain: PowerDomain, tmp_path: Path) -> None:
    connection = opened(domain)
    acknowledged(connection, 2)
    after = domain.move(tmp_path / "2", power_lost=True)
    with pytest.raises(apsw.Error):
        connection.execute("INSERT INTO message VALUES(9, x'')")
    with pytest.raises(apsw.Error):
        apsw.Connection(domain.root + "/store.db").execute("SELECT * FROM message")
    assert held(after) == [0, 1]


def test_a_folder_reached_by_a_symbolic_link(tmp_path: Path) -> None:
    install()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    domain = PowerDomain(tmp_path / "link")
    connection = apsw.Connection(str(tmp_path / "link" / "store.db"))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE message(n INTEGER, body BLOB)")
    assert domain.writes > 0
    connection.close()
    domain.close()


def test_two_connections_share_one_file(domain: PowerDomain) -> None:
    one, two = opened(domain), opened(domain)
    acknowledged(one, 5)
    assert next(two.execute("SELECT count(*) FROM message"))[0] == 5
    assert domain.syncs > 0
    before = domain.syncs
    acknowledged(two, 4)
    assert domain.syncs - before == 4, "one sync a commit"


def test_a_rollback_journal_that_was_deleted_may_come_back(
    domain: PowerDomain, tmp_path: Path
) -> None:
    connection = apsw.Connection(domain.root + "/store.db")
    connection.pragma("journal_mode", "delete")
    connection.pragma("synchronous", "FULL")
    connection.execute("CREATE TABLE message(n INTEGER, body BLOB)")
    acknowledged(connection, 10)
    after = domain.move(tmp_path / "2", power_lost=True)
    assert held(after) == list(range(9)), "the last journal is back, and hot"


def test_sectors_are_kept_or_lost_whole(domain: PowerDomain, tmp_path: Path) -> None:
    from estafeta.sim.vfs import Tracked

    old, new = b"a" * (4 * SECTOR_OCTETS), b"b" * (6 * SECTOR_OCTETS)
    seen = set()
    for seed in range(40):
        tracked = Tracked(len(old), named=True)
        tracked.keep(0, len(new), lambda size, at: old[at : at + size])
        assert tracked.survivors(new, None) == old
        torn = tracked.survivors(new, random.Random(seed))
        assert torn is not None
        seen.add(torn)
        for at in range(0, len(torn), SECTOR_OCTETS):
            assert len(set(torn[at : at + SECTOR_OCTETS])) == 1
    assert len(seen) > 20
