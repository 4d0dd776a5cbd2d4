"""Assemble: what the settings come to in the rooms."""

from __future__ import annotations

import msgspec
from tests.support.whole import whole

from estafeta.mail.outcome import Looped
from estafeta.office.assemble import answered_at
from estafeta.office.config import Listener
from estafeta.resolve import RouteFailure
from estafeta.sim.loop import run

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
