"""Guard: who may come in: over which connection, with which token, how often.

Promises: a token that came in the clear from elsewhere is not looked at; a token is never logged;
who shows tokens that open nothing is slowed down, and so is a program that asks without end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from functools import partial

import structlog
from starlette.requests import Request

from estafeta.intake.networks import Network, within
from estafeta.office.api.buckets import Buckets
from estafeta.office.api.errors import ApiError
from estafeta.office.api.limits import (
    BUCKETS_MAX,
    FAILURES_BURST,
    FAILURES_PER_SECOND,
    REQUESTS_BURST,
    REQUESTS_PER_SECOND,
    TOKEN_CHARACTERS_MAX,
)
from estafeta.store import bearers
from estafeta.store.bearers import Bearer
from estafeta.store.engine import Store, StoreError
from estafeta.store.ledger import DAY_MS
from estafeta.world.seams import Clock

_CHALLENGE = 'Bearer realm="estafeta"'

log = structlog.get_logger("api")


class Guard:
    """plaintext_networks: from which tokens may come in the clear, besides this machine."""

    def __init__(
        self, store: Store, clock: Clock, plaintext_networks: tuple[Network, ...] = ()
    ) -> None:
        self._store = store
        self._clock = clock
        self._plaintext_networks = plaintext_networks
        self._requests = Buckets(
            burst=REQUESTS_BURST, per_second=REQUESTS_PER_SECOND, keys_max=BUCKETS_MAX
        )
        self._failures = Buckets(
            burst=FAILURES_BURST, per_second=FAILURES_PER_SECOND, keys_max=BUCKETS_MAX
        )

    async def let_in(self, request: Request) -> Bearer:
        """Whose token it is. Raises ApiError, StoreError."""
        host = request.client.host if request.client else ""
        if request.url.scheme != "https" and not self._may_be_clear(host):
            raise ApiError(
                "tls-required",
                "a token was expected over TLS, or from the machine itself; "
                "[http] plaintext_token_networks names further networks",
            )
        now = asyncio.get_running_loop().time()
        _not_too_often(self._failures, host, now)
        token = _token_of(request)
        ms = int(self._clock.now() * 1000)
        bearer = await self._store.read(partial(bearers.shown, token=token, now=ms))
        if bearer is None:
            self._failures.take(host, now)
            log.warning("token refused", client=host)
            raise ApiError(
                "unauthorized",
                "this token opens nothing: it is not known, its time is over, or its account "
                "is gone or disabled",
                {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
            )
        _not_too_often(self._requests, bearer.name, now)
        self._requests.take(bearer.name, now)
        await self._note_use(bearer, ms)
        return bearer

    async def _note_use(self, bearer: Bearer, now: int) -> None:
        if bearer.used >= now // DAY_MS:
            return
        try:
            await self._store.run(partial(bearers.note_use, name=bearer.name, now=now))
        except StoreError as error:
            # Looking is possible while nothing can be written.
            log.warning("use of a token not noted", token=bearer.name, error=str(error))

    def _may_be_clear(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback or within(host, self._plaintext_networks)


def _token_of(request: Request) -> str:
    """RFC 6750 §2.1. Raises ApiError."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise ApiError(
            "unauthorized",
            "a token was expected: Authorization: Bearer …",
            {"WWW-Authenticate": _CHALLENGE},
        )
    return token[: TOKEN_CHARACTERS_MAX + 1]


def _not_too_often(buckets: Buckets, key: str, now: float) -> None:
    """Raises ApiError."""
    wait = buckets.wait(key, now)
    if wait > 0:
        seconds = math.ceil(wait)
        raise ApiError(
            "too-many-requests",
            f"too many requests; come again in {seconds} s",
            {"Retry-After": str(seconds)},
        )
