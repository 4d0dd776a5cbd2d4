"""Limits of the HTTP API: what one program may ask for."""

from __future__ import annotations

BODY_OCTETS_MAX = 64 * 1024
"""Of a request, octets; larger ones get 413."""

BODY_SECONDS_MAX = 10.0
"""A request's body must be there after, seconds; else 408."""

REQUESTS_BURST = 100
"""Requests that one token may make at once; further ones get 429. Each worker counts its own."""

REQUESTS_PER_SECOND = 20.0
"""So many come back to a token's burst, a second."""

FAILURES_BURST = 20
"""Tokens that open nothing which one address may show at once; then it gets 429."""

FAILURES_PER_SECOND = 0.2
"""So many come back to an address's burst, a second."""

BUCKETS_MAX = 10_000
"""Tokens and addresses whose requests are counted; the one seen longest ago is forgotten."""

TOKEN_CHARACTERS_MAX = 256
"""A longer one is not looked up."""

RECIPIENTS_MAX = 1000
"""Addresses named in one request."""

QUERY_CHARACTERS_MAX = 320
"""Of one parameter of a query, and of what stands in the braces of a path; an address is no
longer."""

WRITTEN_CHARACTERS_MAX = 1000
"""Of an address that is only looked at; longer ones are not even that."""

TRIAL_DAYS_MAX = 31
"""How far back a policy is tried on stored mail; `estafeta policy test` goes further."""

TRIAL_SECONDS_MAX = 20.0
"""Then it is given up."""
