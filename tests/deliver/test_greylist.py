"""Greylist: strangers come again, who is known does not; workers and restarts judge alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.deliver import greylist as module
from estafeta.deliver.greylist import Greylist, GreylistSettings
from estafeta.deliver.limits import GREYLIST_KNOWN_SECONDS
from estafeta.deliver.visitor import Visitor
from estafeta.intake.networks import network_of
from estafeta.store import accounts, trail
from estafeta.store.engine import Tx
from estafeta.store.limits import TRAIL_DELAY_MS
from estafeta.store.rows import Returned

pytestmark = pytest.mark.usefixtures("each_engine")

DELAY = 300.0
AGAIN = 0.0  # let in, having been asked to come again
DAY = 86400.0
ANA = "ana@a.example"
BOB = "bob@b.example"
STRANGER = Visitor("192.0.2.7", "192.0.2.0/24")


class Meter:
    def __init__(self) -> None:
        self.results: list[str] = []

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        self.results.append(labels["result"])

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...


class Counting:
    """A store that tells what it was asked for."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reads = self.runs = 0

    async def read(self, unit: Callable[[Tx], Any]) -> Any:
        self.reads += 1
        return await self._store.read(unit)

    async def run(self, unit: Callable[[Tx], Any], **given: Any) -> Any:
        self.runs += 1
        return await self._store.run(unit, **given)


class Port:
    """One worker's port 25, of which others may be opened over the same store."""

    def __init__(self, stand: Stand, account: int, **settings: Any) -> None:
        self.stand = stand
        self.account = account
        self.meter = Meter()
        self.store = Counting(stand.store)
        self.settings = GreylistSettings(**settings)
        self.greylist = Greylist(self.store, stand.clock, self.meter, self.settings)  # type: ignore[arg-type]

    def again(self) -> Port:
        """Another worker, or this one after a restart."""
        other = Port(self.stand, self.account)
        other.greylist.use(self.settings)
        return other

    def later(self, seconds: float) -> None:
        self.stand.clock.ms += int(seconds * 1000)

    async def judge(
        self,
        sender: str = BOB,
        to: str = ANA,
        visitor: Visitor = STRANGER,
        account: int | None = None,
    ) -> float | None:
        mine = self.account if account is None else account
        return await self.greylist.judge(visitor, sender, to, mine)

    async def rows(self) -> int:
        found = await self.stand.read(lambda tx: tx.value("SELECT count(*) FROM greylist"))
        return int(found)


def play(folder: Path, scene: Callable[[Port], Awaitable[None]], **settings: Any) -> None:
    async def whole(stand: Stand) -> None:
        await scene(Port(stand, await stand.account(ANA), **settings))

    with_stand(folder, whole)


def named(organisation: str, address: str = "192.0.2.7") -> Visitor:
    return Visitor(address, network_of(address), f"mx.{organisation}", organisation)


def test_a_stranger_waits_and_is_known_then(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        assert await port.judge() == DELAY
        port.later(100)
        assert await port.judge() == DELAY - 100
        port.later(200)
        assert await port.judge() == AGAIN
        assert await port.judge() is None
        assert port.meter.results == ["stranger", "early", "again"]
        assert (port.store.reads, port.store.runs) == (3, 2)

    play(tmp_path, scene)


def test_what_differs_is_another_stranger(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        eva = await port.stand.account("eva@a.example")
        await port.judge()
        port.later(DELAY)
        assert await port.judge() == AGAIN
        assert await port.judge("eve@b.example") == DELAY
        assert await port.judge(to="eva@a.example", account=eva) == DELAY
        assert await port.judge(visitor=Visitor("198.51.100.7", "198.51.100.0/24")) == DELAY
        assert await port.judge(visitor=named("b.example")) == DELAY
        # The same for all that: another host of the network, a subaddress, a signature.
        assert await port.judge(visitor=Visitor("192.0.2.99", "192.0.2.0/24")) is None
        assert await port.judge(to="ana+news@a.example") is None
        assert await port.judge("prvs=1234a5b6c7=Bob@b.example") is None

    play(tmp_path, scene)


def test_addresses_without_an_account_are_told_apart(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        await port.judge(to="team@a.example", account=0)
        port.later(DELAY)
        assert await port.judge(to="team@a.example", account=0) == AGAIN
        assert await port.judge(to="board@a.example", account=0) == DELAY

    play(tmp_path, scene)


def test_an_organisation_is_one_wherever_it_sends_from(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        await port.judge(visitor=named("big.example", "192.0.2.7"))
        port.later(DELAY)
        assert await port.judge(visitor=named("big.example", "198.51.100.9")) == AGAIN

    play(tmp_path, scene)


def test_who_never_waits(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        assert await port.judge("") is None
        local = Visitor("127.0.0.1", "127.0.0.0/24", exempt=True)
        assert await port.judge(visitor=local) is None
        assert (port.store.reads, port.store.runs) == (0, 0)

    play(tmp_path, scene)


def test_an_organisation_is_known_after_some_messages(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        for n in range(2):
            assert await port.judge(f"news-{'xy'[n]}@big.example", visitor=named("big.example"))
            port.later(DELAY)
            await port.judge(f"news-{'xy'[n]}@big.example", visitor=named("big.example"))
        assert await port.judge("else@big.example", visitor=named("big.example")) is None
        assert port.meter.results[-1] == "known"
        asked = port.store.reads
        for n in range(10):
            assert await port.judge(f"{n}@any.example", visitor=named("big.example")) is None
        assert port.store.reads == asked
        assert await port.again().judge("new@big.example", visitor=named("big.example")) is None

    play(tmp_path, scene, known_after=2)


def test_whom_the_account_has_written_to_is_no_stranger(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        stand = port.stand
        assert await port.judge() == DELAY
        await stand.accept((BOB, None), account=port.account)  # still in the queue
        assert await port.judge() is None
        assert await port.judge("prvs=1234a5b6c7=bob@b.example") is None
        eva = await stand.account("eva@a.example")
        assert await port.judge(to="eva@a.example", account=eva) == DELAY  # she has not
        assert port.meter.results == ["stranger", "correspondent", "correspondent", "stranger"]

    play(tmp_path, scene)


@pytest.mark.parametrize("filed", [False, True])
def test_correspondents_are_those_of_the_account_alone(tmp_path: Path, filed: bool) -> None:
    async def scene(port: Port) -> None:
        stand, ana = port.stand, port.account
        for n in range(150):  # that others write to bob, or bob to them, does not drown it
            await stand.accept((BOB if n % 3 else f"n{n}@c.example", None), account=99)
        await stand.accept(("Bob@b.example", Returned(7)), account=ana)
        await stand.accept(("list@b.example", None), account=ana, origin="alias")
        for _ in range(20):
            await stand.accept(("eve@b.example", None), account=ana)
        if filed:
            now = stand.clock.ms + 2 * TRAIL_DELAY_MS
            while not await stand.run(lambda tx: trail.extend(tx, now)):
                pass
        assert await port.judge() is None
        assert await port.judge("eve@b.example") is None
        assert await port.judge("list@b.example") == DELAY
        assert await port.judge("n3@c.example") == DELAY

    play(tmp_path, scene)


def test_known_ones_cost_nothing_and_are_looked_up_now_and_then(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        await port.judge()
        port.later(DELAY)
        await port.judge()
        asked = port.store.reads, port.store.runs
        port.later(GREYLIST_KNOWN_SECONDS - 1)
        await port.judge()
        assert (port.store.reads, port.store.runs) == asked
        port.later(1)
        await port.judge()
        assert (port.store.reads, port.store.runs) == (asked[0] + 1, asked[1])  # nothing written
        port.later(DAY)
        for _ in range(3):
            await port.judge()
        assert (port.store.reads, port.store.runs) == (asked[0] + 2, asked[1] + 1)  # once a day
        for _ in range(50):
            port.later(30 * DAY)
            assert await port.judge() is None  # in use, known for ever
        port.later(37 * DAY)
        assert await port.judge() == DELAY

    play(tmp_path, scene)


def test_a_bounded_number_is_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GREYLIST_KNOWN_MAX", 4)

    async def scene(port: Port) -> None:
        senders = [f"{name}@b.example" for name in "abcdefgh"]
        for sender in senders:
            await port.judge(sender)
        port.later(DELAY)
        for sender in senders:
            assert await port.judge(sender) == AGAIN
        assert len(port.greylist._known) == 4
        for sender in senders:
            assert await port.judge(sender) is None

    play(tmp_path, scene, known_after=100)


def test_a_restart_in_the_middle_and_another_worker(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        assert await port.judge() == DELAY
        port.later(60)
        other = port.again()
        assert await other.judge() == DELAY - 60
        port.later(DELAY - 60)
        assert await other.judge() == AGAIN
        assert await port.judge() is None
        assert port.meter.results == ["stranger", "known"]

    play(tmp_path, scene)


def test_two_workers_see_the_first_try_in_the_same_instant(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        second = port.stand.open()
        try:
            other = port.again()
            other.store._store = second
            for expected in (DELAY, AGAIN):
                told = await asyncio.gather(port.judge(), other.judge(), port.judge())
                assert told == [expected] * 3
                assert await port.rows() == (1 if expected else 2)
                port.later(DELAY)
        finally:
            await second.close()

    play(tmp_path, scene)


def test_forged_senders_of_one_network_write_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GREYLIST_NETWORK_ROWS_MAX", 5)

    async def scene(port: Port) -> None:
        for n in range(40):
            who = named(f"{'abcd'[n % 4]}.example") if n % 2 else STRANGER
            assert await port.judge(f"{'x' * n}y@b.example", visitor=who) == DELAY
        assert await port.rows() == 5 + 1
        assert port.meter.results.count("crowd") == 35
        # Others are judged as ever; so is who was there before.
        elsewhere = Visitor("198.51.100.7", "198.51.100.0/24")
        assert await port.judge(visitor=elsewhere) == DELAY
        port.later(DELAY)
        assert await port.judge(visitor=elsewhere) == AGAIN
        assert await port.judge("y@b.example") == AGAIN
        # One who comes again out of the crowd comes in, and speaks for nobody.
        assert await port.judge("late@b.example") == AGAIN
        rows = await port.rows()
        for n in range(40):
            await port.judge(f"{'x' * n}z@b.example")
        assert await port.rows() == rows
        assert await port.again().judge("new@b.example") == DELAY
        port.later(DAY)
        assert await port.judge("tomorrow@b.example") == DELAY
        assert port.meter.results[-1] == "stranger"

    play(tmp_path, scene, known_after=2)


def test_networks_of_one_site_of_ipv6_count_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GREYLIST_NETWORK_ROWS_MAX", 5)

    async def scene(port: Port) -> None:
        for n in range(40):
            address = f"2001:db8:7:{n:x}::1"
            await port.judge(visitor=Visitor(address, network_of(address)))
        assert await port.rows() == 5 + 1

    play(tmp_path, scene)


def test_strangers_of_everywhere_are_let_in_when_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GREYLIST_ROWS_MAX", 10)

    async def scene(port: Port) -> None:
        told = []
        for n in range(40):
            address = f"192.0.{n}.1"
            told.append(await port.judge(visitor=Visitor(address, network_of(address))))
        assert told == [DELAY] * 10 + [None] * 30
        assert await port.rows() == 10
        assert port.meter.results[10:] == ["unremembered"] * 30

    play(tmp_path, scene)


def test_new_settings_count_at_once(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        assert await port.judge() == DELAY
        port.greylist.use(GreylistSettings(delay=60.0))
        port.later(60)
        assert await port.judge() == AGAIN

    play(tmp_path, scene)


def test_a_removed_account_leaves_nothing_that_counts(tmp_path: Path) -> None:
    async def scene(port: Port) -> None:
        await port.judge()
        port.later(DELAY)
        await port.judge()
        await port.stand.run(lambda tx: accounts.remove_account(tx, port.account))
        fresh = await port.stand.account("ana@a.example")
        assert fresh != port.account  # numbers are never used again
        assert await port.judge(account=fresh) == DELAY

    play(tmp_path, scene)
