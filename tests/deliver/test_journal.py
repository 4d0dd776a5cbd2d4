"""Journal: what is noted, how little of a flood is held and written, and whose it is."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.deliver import journal as module
from estafeta.deliver.journal import Journal, Knock
from estafeta.deliver.limits import (
    FLUSH_ROWS_MAX,
    KNOCK_TEXT_CHARACTERS_MAX,
    PENDING_ACCOUNT_MAX,
    PENDING_MAX,
    PENDING_OF_ONE_MAX,
)
from estafeta.explain.causes import causes
from estafeta.store import accounts, knocks
from estafeta.store.engine import StoreError, StoreUncertain, Tx
from estafeta.store.knocks import MANY
from estafeta.store.limits import KNOCKS_MAX, KNOCKS_OF_ONE_MAX

pytestmark = pytest.mark.usefixtures("each_engine")


class Meter:
    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        self.counted[name] += int(by)

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...


class Counting:
    """A store that tells how often it was written to, and can be away."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.runs = 0
        self.away: Exception | None = None
        self.meanwhile: Callable[[], None] = lambda: None

    async def run(self, unit: Callable[[Tx], Any], **given: Any) -> Any:
        self.runs += 1
        self.meanwhile()
        if self.away is not None:
            raise self.away
        return await self._store.run(unit, **given)


def knock(account: int, sender: str = "maria@x.example", **given: Any) -> Knock:
    rest: dict[str, Any] = {
        "who": "y.example",
        "network": "192.0.2.0/24",
        "organisation": "y.example",
        "named": "ana@a.example",
        "cause": "greylisted",
        "reply": "451 4.7.1 <ana@a.example>: come again",
        "hello": "mx.y.example",
        "aligned": False,
    }
    return Knock(account=account, sender=sender, **(rest | given))


class Case:
    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.meter = Meter()
        self.store = Counting(stand.store)
        self.journal = self.other()

    def other(self) -> Journal:
        return Journal(self.store, self.stand.clock, self.stand.ids, self.meter)  # type: ignore[arg-type]

    async def rows(self, account: int) -> list[knocks.Knock]:
        found: list[knocks.Knock] = await self.stand.read(lambda tx: knocks.knocks(tx, account))
        return found


def with_case(folder: Path, work: Callable[[Case], Any]) -> None:
    with_stand(folder, lambda stand: work(Case(stand)))


def test_nothing_is_written_where_nothing_happens_and_little_where_much_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)

    async def work(case: Case) -> None:
        ana = await case.stand.account()
        await case.journal.start()
        await asyncio.sleep(0.2)
        assert case.store.runs == 0
        for _ in range(1000):
            case.journal.note(knock(ana))
        await asyncio.sleep(0.3)
        assert case.store.runs == 1
        (row,) = await case.rows(ana)
        assert row.times == 1000
        await asyncio.sleep(0.2)
        assert case.store.runs == 1
        case.journal.note(knock(ana))
        await case.journal.stop()
        assert case.store.runs == 2
        (row,) = await case.rows(ana)
        assert row.times == 1001

    with_case(tmp_path, work)


def test_what_changes_from_message_to_message_makes_no_second_row(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        ana = await case.stand.account()
        case.journal.note(knock(ana, "prvs=1234abcdef=maria@x.example"))
        await case.journal.flush()
        case.journal.note(knock(ana, "prvs=5678abcdef=Maria@X.example", named="ventas@a.example"))
        case.journal.note(knock(ana, "luis@x.example"))
        await case.journal.flush()
        rows = {row.sender: row for row in await case.rows(ana)}
        assert rows.keys() == {"maria@x.example", "luis@x.example"}
        merged = rows["maria@x.example"]
        assert (merged.times, merged.named) == (2, "ventas@a.example")
        assert merged.detail.sender == "prvs=5678abcdef=Maria@X.example"

    with_case(tmp_path, work)


def test_who_came_in_after_all_is_told_whether_it_was_written_yet_or_not(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        ana = await case.stand.account()
        for written in (False, True):
            case.journal.note(knock(ana))
            if written:
                await case.journal.flush()
            case.stand.clock.ms += 360_000
            case.journal.arrived(ana, "y.example", "Maria@x.example")
            await case.journal.flush()
            (row,) = await case.rows(ana)
            assert row.arrived - row.began == 360_000
            case.stand.clock.ms += 1000

    with_case(tmp_path, work)


def test_what_others_wrote_steers_nothing_and_is_no_longer_than_to_be_read(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        ana = await case.stand.account()
        wild = "a\x00\x1b[m\r\nb\u202e\u2066c\ud800\u00a0d"
        clean = "a\ufffd\ufffd[m  b\ufffd\ufffdc\ufffd d"
        case.journal.note(
            knock(
                ana,
                f"{wild}@x.example",
                who=wild,
                named=wild,
                reply=wild,
                hello="h" * 10_000,
                subject=wild,
                finding=wild * 1000,
            )
        )
        assert await case.journal.flush()
        (row,) = await case.rows(ana)
        assert (row.who, row.named, row.sender) == (clean, clean, f"{clean}@x.example")
        detail = row.detail
        assert (detail.reply, detail.subject) == (clean, clean)
        assert detail.hello == "h" * (KNOCK_TEXT_CHARACTERS_MAX - 1) + "…"
        assert len(detail.finding) == KNOCK_TEXT_CHARACTERS_MAX
        assert all(str(text).isprintable() for text in (row.who, row.sender, row.named, row.detail))

    with_case(tmp_path, work)


def test_of_an_alias_each_reads_the_address_that_was_asked_for_and_nothing_of_the_others(
    tmp_path: Path,
) -> None:
    async def work(case: Case) -> None:
        stand = case.stand
        behind = [await stand.account(f"{name}@a.example") for name in ("ana", "luis", "eva")]
        for name in ("ana", "luis", "eva"):
            await stand.run(
                lambda tx, n=name: accounts.add_alias(tx, "all@a.example", f"{n}@a.example")
            )
        for account in behind:
            case.journal.note(
                knock(account, named="all@a.example", reply="451 4.7.1 <all@a.example>: later")
            )
        await case.journal.flush()
        for account in behind:
            (row,) = await case.rows(account)
            assert row.named == "all@a.example"
            (raw,) = await stand.read(
                lambda tx, a=account: tx.rows("SELECT * FROM knock WHERE account = ?", (a,))
            )
            assert not any(f"{name}@a.example" in str(raw) for name in ("ana", "luis", "eva"))

    with_case(tmp_path, work)


def test_a_flood_of_one_account_is_bounded_and_touches_no_other(tmp_path: Path) -> None:
    """100,000 attempts from 10,000 networks, and in the middle of them some that tell more."""

    async def work(case: Case) -> None:
        stand, journal, dice = case.stand, case.journal, random.Random(5)
        ana, luis = await stand.account(), await stand.account("luis@a.example")
        for n in range(5):
            journal.note(knock(luis, f"{'abcde'[n]}@x.example"))
        journal.note(knock(ana, "before@f.example", aligned=True, organisation="f.example"))
        await journal.flush()
        before = await case.rows(luis)
        case.store.runs = 0
        most = 0
        for second in range(20):
            if second == 19:
                tracemalloc.start()
            for _ in range(5000):
                n = dice.randrange(10_000)
                network = f"10.{n // 250}.{n % 250}.0/24"
                sender = f"{dice.choice('abcdefgh')}{dice.choice('klmnop')}@spam.example"
                journal.note(knock(ana, sender, who=network, network=network, organisation=""))
                most = max(most, journal._held)
            if second == 10:
                journal.note(knock(ana, "friend@f.example", aligned=True, organisation="f.example"))
                journal.note(knock(ana, "named@n.example", who="n.example"))
                journal.note(knock(luis, "a@x.example"))
            stand.clock.ms += 1000
            assert await journal.flush()
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Memory, units and rows.
        assert most <= PENDING_ACCOUNT_MAX
        assert held < 500_000  # whatever is attempted in a second
        assert case.store.runs == 20
        rows = await case.rows(ana)
        assert len(rows) <= KNOCKS_MAX
        # Nothing is lost but the names of those that tell least.
        assert sum(row.times for row in rows) == 100_003
        assert {"before@f.example", "friend@f.example", "named@n.example"} <= {
            row.sender for row in rows
        }
        (rest,) = [row for row in rows if row.who == MANY]
        assert rest.times > 90_000
        # Another's journal is as it was, but for what concerns them.
        after = await case.rows(luis)
        assert [r.sender for r in after] == [
            "a@x.example",
            *(r.sender for r in before if r.sender != "a@x.example"),
        ]
        assert sum(row.times for row in after) == 6

    with_case(tmp_path, work)


def test_who_owns_a_domain_and_sends_as_everybody_of_it_has_few_rows(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        ana = await case.stand.account()
        case.journal.note(knock(ana, "friend@f.example", who="f.example", aligned=True))
        dice = random.Random(3)
        for _ in range(30):
            for _ in range(200):
                sender = "".join(dice.choices("abcdefghijklm", k=8)) + "@spam.example"
                case.journal.note(
                    knock(
                        ana, sender, who="spam.example", organisation="spam.example", aligned=True
                    )
                )
            assert case.journal._held <= PENDING_OF_ONE_MAX + 2
            await case.journal.flush()
        rows = await case.rows(ana)
        assert len(rows) <= KNOCKS_OF_ONE_MAX + 2
        assert sum(row.times for row in rows) == 6001
        assert "friend@f.example" in {row.sender for row in rows}

    with_case(tmp_path, work)


def test_a_flood_of_many_accounts_is_bounded_and_each_has_its_turn(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        stand, journal = case.stand, case.journal
        ana = await stand.account()
        journal.note(knock(ana))
        for account in range(1000, 1000 + 2 * PENDING_MAX):
            for n in range(2):
                journal.note(knock(account, who=f"10.{n}.0.0/24", organisation=""))
        assert PENDING_MAX <= journal._held <= 2 * PENDING_MAX
        assert case.meter.counted["journal_dropped"] > 0
        total = 1 + 4 * PENDING_MAX
        held = sum(r.times for page in journal._pages.values() for r in page.rows.values())
        assert held + case.meter.counted["journal_dropped"] == total
        rows, _ = journal._take()
        assert len(rows) == FLUSH_ROWS_MAX
        assert rows[0].account == ana
        assert len({row.account for row in rows}) == FLUSH_ROWS_MAX

    with_case(tmp_path, work)


def test_one_who_is_flooded_does_not_make_another_wait(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        stand, journal = case.stand, case.journal
        flooded = list(range(1000, 1020))
        luis = await stand.account("luis@a.example")
        for account in flooded:
            for n in range(200):
                journal.note(knock(account, who=f"n{'abcdefgh'[n % 8]}{n}.example"))
        journal.note(knock(luis))
        journal.arrived(luis, "y.example", "maria@x.example")
        assert journal._held > FLUSH_ROWS_MAX
        await journal.flush()
        (row,) = await case.rows(luis)
        assert row.arrived

    with_case(tmp_path, work)


def test_while_the_store_is_away_it_is_kept_and_merged(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        ana = await case.stand.account()
        case.journal.note(knock(ana))
        case.store.away = StoreError("away")
        assert not await case.journal.flush()
        case.journal.note(knock(ana))
        case.journal.arrived(ana, "y.example", "maria@x.example")
        assert not await case.journal.flush()
        # It is merged with what comes while the store is waited for.
        case.store.meanwhile = lambda: case.journal.note(knock(ana, reply="451 4.7.1 later"))
        assert not await case.journal.flush()
        case.store.meanwhile = lambda: None
        await case.journal.stop()  # ends although nothing can be written
        case.store.away = None
        assert await case.journal.flush()
        (row,) = await case.rows(ana)
        assert (row.times, bool(row.arrived)) == (3, True)
        # What may have been written is not written twice.
        case.journal.note(knock(ana))
        case.store.away = StoreUncertain("lost")
        assert not await case.journal.flush()
        case.store.away = None
        assert await case.journal.flush()
        (row,) = await case.rows(ana)
        assert row.times == 3

    with_case(tmp_path, work)


def test_two_workers_write_one_row(tmp_path: Path) -> None:
    async def work(case: Case) -> None:
        ana = await case.stand.account()
        other = case.other()
        for _ in range(5):
            for journal in (case.journal, other):
                for letter in "abcdefghijklmnopqrst":
                    journal.note(knock(ana, f"{letter}@x.example"))
            await asyncio.gather(case.journal.flush(), other.flush())
        rows = await case.rows(ana)
        # Each holds some of one server's senders, and all of the rest in one.
        assert sum(row.times for row in rows) == 200
        assert len(rows) == PENDING_OF_ONE_MAX + 1
        assert all(row.times == 10 for row in rows if not row.of_many)

    with_case(tmp_path, work)


def test_a_stop_in_the_middle_of_writing_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.0)

    async def work(case: Case) -> None:
        ana = await case.stand.account()
        for n in range(20):
            journal = case.other()
            await journal.start()
            journal.note(knock(ana))
            for _ in range(n % 5):
                await asyncio.sleep(0)
            await journal.stop()
        (row,) = await case.rows(ana)
        assert row.times == 20

    with_case(tmp_path, work)


def test_every_cause_that_ends_with_coming_in_is_one() -> None:
    assert set(knocks.HELD_UP) <= set(causes())


def test_a_bug_of_ours_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)

    async def work(case: Case) -> None:
        ana = await case.stand.account()
        await case.journal.start()
        case.store.away = KeyError("ours")
        case.journal.note(knock(ana, "lost@x.example"))
        await asyncio.sleep(0.2)
        assert case.store.runs == 1
        case.store.away = None
        case.journal.note(knock(ana))
        await asyncio.sleep(0.2)
        assert [row.sender for row in await case.rows(ana)] == ["maria@x.example"]
        await case.journal.stop()

    with_case(tmp_path, work)
