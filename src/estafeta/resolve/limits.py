"""limits: how long we ask, how long we remember, how much a stranger's DNS may cost us."""

from __future__ import annotations

EDNS_OCTETS = 1232
"""Answer size we take over UDP; what DNS Flag Day 2020 settled on, below every path MTU."""

TRY_SECONDS = 3.0
"""Wait for one answer of one server."""

ATTEMPTS = 2
"""Rounds over all servers before a question is given up."""

SOCKETS_PER_FAMILY = 4
"""UDP sockets among which questions are strewn; each has a random port."""

QUESTIONS_PER_SOCKET = 500
"""After that many a socket is closed and another port taken."""

QUESTIONS_IN_FLIGHT_MAX = 1000
"""Questions asked at once; further ones wait for their turn."""

CACHE_ENTRIES_MAX = 50_000
"""Answers remembered; the least lately used go first."""

TTL_MAX_SECONDS = 24 * 3600
"""A record is asked for again after a day at the latest."""

NEGATIVE_TTL_MAX_SECONDS = 900
"""RFC 2308 §5 allows up to three hours; a domain just repaired should not wait as long."""

TROUBLE_TTL_SECONDS = 5
"""RFC 9520 §3.2: a failure is remembered, so that a burst does not ask again for each message."""

CNAME_CHAIN_MAX = 8
"""Aliases from a name to its records (RFC 1034 §3.6.2 sets no bound)."""

RECORDS_MAX = 100
"""Records of one answer that are kept."""

MX_HOSTS_MAX = 16
"""The best ones of a longer list are tried."""

ADDRESSES_PER_HOST_MAX = 8
"""Addresses of one host that are tried, both families together."""

ROUTES_CACHED_MAX = 10_000
"""Finished routes remembered; the oldest go first."""

ROUTE_TTL_MAX_SECONDS = 60
"""A finished route is kept as long as its shortest TTL, but no longer than this."""

NAMES_OF_ADDRESS_MAX = 10
"""PTR records of one address that are looked at."""

SPF_LOOKUPS_MAX = 10
"""Terms of one SPF record that ask the DNS (RFC 7208 §4.6.4)."""

SPF_MX_MAX = 10
"""MX records that one `mx` of it may mean (RFC 7208 §4.6.4)."""
