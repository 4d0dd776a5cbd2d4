"""resolv_conf: the system's choice of DNS servers, from the text of resolv.conf(5)."""

from __future__ import annotations

import ipaddress

import msgspec

from estafeta.resolve.limits import ATTEMPTS, TRY_SECONDS
from estafeta.world.seams import Endpoint

_DNS_PORT = 53
_SERVERS_MAX = 3
"""As the C library: further ones are passed over."""
_TRY_SECONDS_MAX = 30
_ATTEMPTS_MAX = 5


class ResolvConf(msgspec.Struct, frozen=True):
    servers: tuple[Endpoint, ...]
    try_seconds: float
    attempts: int


def parse_resolv_conf(text: str) -> ResolvConf:
    """Lines that are not understood are passed over; without a nameserver it is 127.0.0.1."""
    servers: list[Endpoint] = []
    try_seconds, attempts = TRY_SECONDS, ATTEMPTS
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            try:
                address = ipaddress.ip_address(words[1])
            except ValueError:
                continue
            # An endpoint has no scope: "fe80::1%eth0" cannot be asked.
            if len(servers) < _SERVERS_MAX and "%" not in words[1]:
                servers.append(Endpoint(str(address), _DNS_PORT))
        elif words[0] == "options":
            for option in words[1:]:
                name, _, value = option.partition(":")
                if not (value.isascii() and value.isdigit()):
                    continue
                if name == "timeout":
                    try_seconds = float(min(max(int(value[:4]), 1), _TRY_SECONDS_MAX))
                elif name == "attempts":
                    attempts = min(max(int(value[:4]), 1), _ATTEMPTS_MAX)
    return ResolvConf(tuple(servers) or (Endpoint("127.0.0.1", _DNS_PORT),), try_seconds, attempts)
