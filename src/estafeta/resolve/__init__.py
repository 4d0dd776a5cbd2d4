"""resolve: step 4, from a domain to the servers that take its mail.

`Resolver` asks and remembers, `Router` decides, `EgressGuard` keeps strangers from pointing us at
our own network.
"""

from __future__ import annotations

from estafeta.resolve.answer import Answer, Found, NameNotFound, NoData, Trouble
from estafeta.resolve.egress import EgressGuard
from estafeta.resolve.plan import (
    Credentials,
    Host,
    Route,
    RouteFailure,
    RouteNote,
    StaticRoute,
    StaticRoutes,
    TlsMode,
)
from estafeta.resolve.resolv_conf import ResolvConf, parse_resolv_conf
from estafeta.resolve.resolver import Resolver
from estafeta.resolve.route import Router

__all__ = [
    "Answer",
    "Credentials",
    "EgressGuard",
    "Found",
    "Host",
    "NameNotFound",
    "NoData",
    "ResolvConf",
    "Resolver",
    "Route",
    "RouteFailure",
    "RouteNote",
    "Router",
    "StaticRoute",
    "StaticRoutes",
    "TlsMode",
    "Trouble",
    "parse_resolv_conf",
]
