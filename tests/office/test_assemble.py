"""Assemble: what the settings come to in the rooms."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.whole import whole

from estafeta.mail.outcome import Looped
from estafeta.office.assemble import answered_at
from estafeta.office.config import Listener, Relay
from estafeta.resolve import RouteFailure, Router
from estafeta.sim.loop import run
from estafeta.store.engine import StoreConflict, StoreReadOnly

OWN = ("203.0.113.5", "2001:db8::5")


def test_where_a_listener_is_found() -> None:
    assert answered_at("*", OWN) == OWN
    assert answered_at("0.0.0.0", OWN) == ["203.0.113.5"]
    assert answered_at("::", OWN) == ["2001:db8::5"]
    assert answered_at("127.0.0.1", OWN) == ("127.0.0.1",)


def test_a_listener_on_every_address_makes_the_machines_addresses_ours() -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, _):
            built = house.built
            everywhere = [Listener(role="mx", address="*", port=25, tls="none")]
            built.config = msgspec.structs.replace(built.config, listener=everywhere)
            built.outside = msgspec.structs.replace(built.outside, own_addresses=OWN)
            route = await built._router().route("[203.0.113.5]")
            assert isinstance(route, RouteFailure)
            assert isinstance(route.outcome, Looped)

    run(main())


def test_what_no_mx_means_changes_with_a_reload() -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, _):
            built = house.built
            seen = []
            router = Router.__init__

            def looking(self: Router, *rest: Any, **named: Any) -> None:
                seen.append((named["no_mx"], named["no_mx_exceptions"]))
                router(self, *rest, **named)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Router, "__init__", looking)
                for relay in (Relay(no_mx="bounce"), Relay(no_mx_exceptions=["b.example"])):
                    fresh = msgspec.structs.replace(built.config, relay=relay)
                    built.reconfigure(fresh, built.outside)
            assert seen == [("bounce", []), ("defer", ["b.example"])]

    run(main())


def test_a_store_that_cannot_write_is_not_well_until_it_can_again() -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, _):
            check = house.built.health_checks()["store"]
            await house.store.run(lambda tx: tx.run("INSERT INTO meta VALUES ('mine', '')"))
            with pytest.raises(StoreConflict):  # the unit's own matter
                await house.store.run(lambda tx: tx.run("INSERT INTO meta VALUES ('mine', '')"))
            assert await check() == ""
            connection = house.store.inner._writer.connection
            connection.pragma("query_only", 1)
            with pytest.raises(StoreReadOnly):
                await house.accept("ana@mx.example")
            for _ in range(2):
                with pytest.raises(StoreReadOnly):
                    await check()
            connection.pragma("query_only", 0)
            assert await check() == ""
            assert house.store.statistics.last_failure == ""

    run(main())
