"""Rates: what is counted, what is put off, and that who is put off uses up nothing else."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from tests.support.stores import usual_store

from estafeta.deliver.rates import Rates, RateSettings
from estafeta.office.metrics import PrometheusMeter
from estafeta.sim.loop import run
from estafeta.sim.net import Internet
from estafeta.sim.quiet import quiet
from estafeta.sim.world import SimMachine
from estafeta.store.buckets import Buckets, Limit

NET, OTHER = "192.0.2.0/24", "203.0.113.0/24"


def with_rates(
    folder: Path, work: Callable[[Rates, PrometheusMeter], Awaitable[None]], **limits: Limit
) -> None:
    async def main() -> None:
        machine = SimMachine(
            "mx", ["192.0.2.1"], Internet(random.Random(1)), random.Random(1), folder
        )
        with closing(machine):
            async with usual_store(machine.root, machine.world) as store:
                meter = PrometheusMeter(strict=True)
                settings = RateSettings(
                    **limits, exempt_networks=(ipaddress.ip_network("127.0.0.0/8"),)
                )
                buckets = Buckets(store, machine.world.clock, meter)
                await work(Rates(buckets, settings, host_name="mx.example", meter=meter), meter)

    with quiet() as logged:
        run(main())
    assert not logged.lines


async def comes_in(
    rates: Rates, network: str = NET, domain: str = "a.example", account: int | None = 1
) -> bool:
    said = await rates.recipient(network, domain, account)
    if said is not None:
        reply = said.said()
        assert (reply.code, reply.status) == (450, "4.7.1")
        assert reply.text.endswith("[rate-limited]")
    return said is None


def test_where_nothing_is_limited_nothing_is_counted(tmp_path: Path) -> None:
    async def work(rates: Rates, meter: PrometheusMeter) -> None:
        for _ in range(1000):
            assert await comes_in(rates)
            assert await rates.unknown(NET) is None
            assert await rates.guesses(NET) is None
        assert not rates._buckets._known

    with_rates(tmp_path, work)


def test_each_network_has_its_own(tmp_path: Path) -> None:
    async def work(rates: Rates, meter: PrometheusMeter) -> None:
        assert [await comes_in(rates) for _ in range(4)] == [True, True, True, False]
        assert await comes_in(rates, OTHER)
        assert meter.value("estafeta_rate_limited_total", limit="network") == 1

    with_rates(tmp_path, work, network=Limit(3, 60.0))


def test_the_domain_of_the_sender_wherever_it_comes_from(tmp_path: Path) -> None:
    async def work(rates: Rates, meter: PrometheusMeter) -> None:
        assert await comes_in(rates)
        assert await comes_in(rates, OTHER, "A.Example")
        assert not await comes_in(rates, OTHER)
        for _ in range(5):
            assert await comes_in(rates, domain="")  # the null sender has none
        assert await comes_in(rates, domain="b.example")

    with_rates(tmp_path, work, sender_domain=Limit(2, 60.0))


def test_an_account_of_ours(tmp_path: Path) -> None:
    async def work(rates: Rates, meter: PrometheusMeter) -> None:
        assert [await comes_in(rates) for _ in range(3)] == [True, True, False]
        assert await comes_in(rates, account=2)
        for _ in range(5):
            assert await comes_in(rates, account=None)

    with_rates(tmp_path, work, account=Limit(2, 60.0))


def test_who_is_put_off_by_one_limit_uses_up_no_other(tmp_path: Path) -> None:
    async def work(rates: Rates, meter: PrometheusMeter) -> None:
        assert await comes_in(rates)
        for _ in range(10):
            assert not await comes_in(rates)  # its account takes no more
        assert [await comes_in(rates, account=2) for _ in range(2)] == [True, False]
        assert [await comes_in(rates, account=n) for n in (3, 4, 5)] == [True, True, False]

    with_rates(tmp_path, work, network=Limit(4, 600.0), account=Limit(1, 600.0))


def test_the_reply_says_when(tmp_path: Path) -> None:
    async def work(rates: Rates, meter: PrometheusMeter) -> None:
        assert await comes_in(rates)
        said = await rates.recipient(NET, "a.example", 1)
        assert said is not None
        assert " 60 seconds" in said.said().text

    with_rates(tmp_path, work, network=Limit(1, 60.0))


def test_who_guesses_addresses_is_told_of_none(tmp_path: Path) -> None:
    async def work(rates: Rates, meter: PrometheusMeter) -> None:
        for _ in range(10):
            assert await rates.guesses(NET) is None
            assert await rates.unknown(NET) is None
        said = await rates.unknown(NET)
        assert said is not None
        assert (said.said().code, said.said().status) == (421, "4.7.0")
        # Nor whether one of them is there.
        assert await rates.guesses(NET) is not None
        assert await rates.guesses(OTHER) is None
        assert rates.is_exempt("127.0.0.9")
        assert not rates.is_exempt("192.0.2.9")

    with_rates(tmp_path, work, unknown_recipients=Limit(10, 3600.0))
