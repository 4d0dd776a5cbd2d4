"""Certificate watch, in virtual time: what the administrator writes, and what is shown then."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from structlog.testing import capture_logs
from tests.support.whole import Talk, whole

from estafeta.office.certificate_watch import CertificateWatch, Watched
from estafeta.office.limits import CERTIFICATE_POLL_SECONDS
from estafeta.office.metrics import PrometheusMeter
from estafeta.sim.files import SimFiles
from estafeta.sim.loop import run
from estafeta.sim.tls import SimClientTls, sim_server_tls
from estafeta.world.certificates import Authority, dns_names

CHAIN, KEY = "/etc/mail.pem", "/etc/mail.key"
DAY = 86400.0
POLL = CERTIFICATE_POLL_SECONDS + 1


class Town:
    """An installation, the files of its administrator, and the watch over them."""

    def __init__(self, house: Any, net: Any, folder: Path) -> None:
        self.house = house
        self.net = net
        self.files = SimFiles()
        self.clock = house.machine.world.clock
        self.folder = folder
        self.renewals = 0
        self.meter = PrometheusMeter(strict=True)
        self.watch = CertificateWatch(
            self.files,
            self.clock,
            self.meter,
            watched=lambda: Watched((CHAIN,), (KEY,)),
            renew=self._renew,
            warn_seconds=lambda: 14 * DAY,
        )

    def made(self, name: str, days: int = 90) -> tuple[bytes, bytes]:
        """A new certificate and its key."""
        authority = Authority("ca", self.clock.now())
        chain, key = authority.issue([name], self.folder, days)
        return chain.read_bytes(), key.read_bytes()

    def write(self, name: str, days: int = 90) -> None:
        chain, key = self.made(name, days)
        self.files.write(CHAIN, chain)
        self.files.write(KEY, key)

    def _renew(self) -> None:
        """As office.serving does, with toy TLS in place of OpenSSL's."""
        leaf = x509.load_pem_x509_certificate(self.files.read(CHAIN))
        key = load_pem_private_key(self.files.read(KEY), None)
        if leaf.public_key() != key.public_key():
            raise ValueError("key values mismatch")
        self.renewals += 1
        self.house.built.show(sim_server_tls(dns_names(leaf)), None)

    async def shown(self) -> str:
        """The name in the certificate that a new connection sees."""
        stream = await self.house.connect(self.net, "submissions")
        info = await stream.start_tls(SimClientTls(verify=False), server_name="x.example")
        stream.abort()
        return str(info.peer_certificate.split(b" ")[1].decode())


def in_town(work: Callable[[Town], Awaitable[Any]]) -> list[Any]:
    """What was logged."""

    async def main() -> None:
        async with whole(queue=False) as (house, net):
            with tempfile.TemporaryDirectory() as folder:
                town = Town(house, net, Path(folder))
                town.write("one.example")
                await town.watch.start()
                await work(town)
                await town.watch.stop()

    with capture_logs() as logged:
        run(main())
    return [line for line in logged if "certificate" in line["event"]]


def test_new_files_are_shown_to_new_connections_and_to_no_others() -> None:
    async def work(town: Town) -> None:
        assert await town.shown() == "one.example"
        old = Talk(await town.house.connect(town.net, "submissions"))
        await old.begin(tls=True)
        town.write("two.example")
        assert await town.shown() == "one.example"
        await asyncio.sleep(POLL)
        assert await town.shown() == "two.example"
        assert (await old.say("NOOP")).startswith("250")

    (line,) = in_town(work)
    assert (line["event"], line["log_level"]) == ("certificates taken", "info")


def test_nothing_new_is_read_but_once() -> None:
    async def work(town: Town) -> None:
        before = town.renewals
        await asyncio.sleep(100 * POLL)
        assert town.renewals == before == 1

    assert in_town(work) == []


@pytest.mark.parametrize("first", [CHAIN, KEY])
def test_a_half_written_pair_keeps_the_old_one_until_it_is_whole(first: str) -> None:
    async def work(town: Town) -> None:
        both = dict(zip((CHAIN, KEY), town.made("two.example"), strict=True))
        town.files.write(first, both[first])
        await asyncio.sleep(10 * POLL)
        assert await town.shown() == "one.example"
        for path, data in both.items():
            town.files.write(path, data)
        await asyncio.sleep(POLL)
        assert await town.shown() == "two.example"

    refused, taken = in_town(work)
    assert refused["event"] == "certificates not taken, the old ones stay"
    assert refused["reason"] == "key values mismatch"
    assert refused["log_level"] == "error"
    assert taken["event"] == "certificates taken"


@pytest.mark.parametrize("broken", [b"", b"garbage", None])
def test_a_file_that_is_cut_or_gone_and_comes_back(broken: bytes | None) -> None:
    async def work(town: Town) -> None:
        if broken is None:
            town.files.remove(CHAIN)
        else:
            town.files.write(CHAIN, broken)
        await asyncio.sleep(POLL)
        assert await town.shown() == "one.example"
        assert town.meter.value("estafeta_certificate_expiry_seconds", certificate=CHAIN) > 0
        town.write("three.example")
        await asyncio.sleep(POLL)
        assert await town.shown() == "three.example"

    assert [line["log_level"] for line in in_town(work)] == ["error", "info"]


def test_another_state_that_does_not_fit_is_another_line() -> None:
    async def work(town: Town) -> None:
        for _ in range(3):
            town.files.write(CHAIN, b"garbage")
            await asyncio.sleep(3 * POLL)

    assert [line["log_level"] for line in in_town(work)] == ["error"] * 3


def test_what_was_not_to_be_read_is_tried_again_though_it_looks_the_same() -> None:
    """Rights given afterwards change neither time nor size."""

    async def work(town: Town) -> None:
        town.write("two.example")
        town.watch._renew = _refusing
        await asyncio.sleep(POLL)
        town.watch._renew = town._renew
        await asyncio.sleep(POLL)
        assert await town.shown() == "two.example"

    assert [line["log_level"] for line in in_town(work)] == ["error", "info"]


def _refusing() -> None:
    raise PermissionError(13, "Permission denied", KEY)


def test_a_fault_of_ours_does_not_end_the_watch() -> None:
    async def work(town: Town) -> None:
        def fault() -> None:
            raise RuntimeError("a bug")

        town.write("two.example")
        town.watch._renew = fault
        await asyncio.sleep(POLL)
        town.watch._renew = town._renew
        await asyncio.sleep(POLL)
        assert await town.shown() == "two.example"

    assert in_town(work)[0]["event"] == "certificate watch failed"


def test_the_metric_and_a_warning_a_day() -> None:
    async def work(town: Town) -> None:
        def left() -> float:
            return town.meter.value("estafeta_certificate_expiry_seconds", certificate=CHAIN)

        async def later(days: float) -> None:
            town.house.machine.clock.offset += days * DAY
            await asyncio.sleep(POLL)

        assert abs(left() - 90 * DAY) < 60
        await later(75)
        assert abs(left() - 15 * DAY) < 60
        for _ in range(6):
            await later(0.5)  # from 14 days on: three days, three warnings
        town.write("two.example", 10)
        await later(0)  # warned of that day already, under the same file's name
        assert abs(left() - 10 * DAY) < 60
        town.write("two.example", 90)
        for _ in range(78):
            await later(1)
        assert abs(left() - 12 * DAY) < 3600
        for _ in range(14):
            await later(1)
        assert left() < 0

    logged = in_town(work)
    soon = [line for line in logged if line["event"] == "certificate expires soon"]
    assert [line["days"] for line in soon] == [13, 12, 11, *range(13, -1, -1)]
    assert {line["log_level"] for line in soon} == {"warning"}
    over = [line for line in logged if line["event"] == "certificate has expired"]
    assert [line["log_level"] for line in over] == ["error"] * 3


def test_a_reload_reads_at_once() -> None:
    async def work(town: Town) -> None:
        town.write("two.example")
        await town.watch.reload()
        assert await town.shown() == "two.example"

    assert in_town(work) == []
