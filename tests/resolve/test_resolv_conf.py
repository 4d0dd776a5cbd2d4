"""resolv.conf as machines have it."""

from __future__ import annotations

from estafeta.resolve import parse_resolv_conf
from estafeta.world.seams import Endpoint


def test_servers_and_options() -> None:
    conf = parse_resolv_conf(
        "# made by hand\nsearch example\nnameserver 192.0.2.1 # first\n"
        "nameserver 2001:DB8::1\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\n"
        "nameserver 192.0.2.2\nnameserver 192.0.2.3\noptions timeout:1 attempts:3 rotate\n;x\n"
    )
    assert conf.servers == (
        Endpoint("192.0.2.1", 53),
        Endpoint("2001:db8::1", 53),
        Endpoint("192.0.2.2", 53),
    )
    assert (conf.try_seconds, conf.attempts) == (1.0, 3)


def test_empty_and_absurd() -> None:
    conf = parse_resolv_conf("options timeout:99999999 attempts:0 timeout: attempts:²\n")
    assert conf.servers == (Endpoint("127.0.0.1", 53),)
    assert (conf.try_seconds, conf.attempts) == (30.0, 1)
