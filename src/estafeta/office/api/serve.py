"""Serve: the routes of the table behind HTTP, and every error as JSON.

Promises: nothing is read before the token is known; a body has a size and a time; whatever happens,
the answer is `{"error", "detail"}` with a status of the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as HttpRoute

from estafeta.office.api.call import Call
from estafeta.office.api.errors import ApiError
from estafeta.office.api.guard import Guard
from estafeta.office.api.limits import BODY_OCTETS_MAX, BODY_SECONDS_MAX
from estafeta.office.api.openapi import encoded
from estafeta.office.api.route import PREFIX, Route
from estafeta.office.api.table import ROUTES
from estafeta.office.assemble import Installation
from estafeta.office.receiving import networks
from estafeta.queue.hand import Conflict, HandError, Unknown
from estafeta.store.engine import StoreConflict, StoreError, StoreUncertain

_JSON = "application/json"

log = structlog.get_logger("api")


def api_routes(whole: Installation) -> list[BaseRoute]:
    """For `office.http.make_app`."""
    return [Mount(PREFIX, Api(whole).app)]


class Api:
    """One for a worker."""

    def __init__(self, whole: Installation) -> None:
        self._meter = whole.meter
        self._desks = {desk: desk(whole) for desk in {route.desk for route in ROUTES}}
        self._guard = Guard(
            whole.store,
            whole.world.clock,
            networks(whole.config.http.plaintext_token_networks),
        )
        self.app = Starlette(
            # One route a path: with several, a method of the second would be one not allowed.
            routes=[
                HttpRoute(path, self._endpoint(path), methods=_methods(path))
                for path in dict.fromkeys(route.path for route in ROUTES)
            ]
            + [HttpRoute("/openapi.json", _description, methods=["GET"])],
            exception_handlers={HTTPException: _not_here},
        )

    def _endpoint(self, path: str) -> Callable[[Request], Awaitable[Response]]:
        by_method = {route.method: route for route in ROUTES if route.path == path}

        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            route = by_method[method]  # type: ignore[index]
            try:
                response = await self._answer(route, request)
            except ApiError as wrong:
                response = _shown(wrong)
            self._meter.count(
                "api_requests", route=f"{method} {path}", status=str(response.status_code)
            )
            return response

        return answer

    async def _answer(self, route: Route, request: Request) -> Response:
        try:
            bearer = await self._guard.let_in(request)
            if route.scope == "admin" and not bearer.is_admin:
                raise ApiError("forbidden", "a token for administration was expected")
            call = Call(
                bearer,
                dict(request.path_params),
                _query(route, request),
                await _body(request) if route.method != "GET" else b"",
                request.headers.get("accept-language", ""),
            )
            found = await route.handler(self._desks[route.desk], call)
        except Unknown as missing:
            raise ApiError("not-found", str(missing)) from missing
        except Conflict as standing:
            raise ApiError("conflict", str(standing)) from standing
        except HandError as wrong:
            raise ApiError("invalid", str(wrong)) from wrong
        except StoreConflict as standing:
            raise ApiError("conflict", "somebody else was faster; look again") from standing
        except StoreUncertain as doubt:
            raise ApiError(
                "unavailable", "it may have been done or not: look before you try again"
            ) from doubt
        except StoreError as trouble:
            log.warning("request not served", route=route.path, error=str(trouble))
            raise ApiError(
                "unavailable", "the store does not answer, or cannot be written", _LATER
            ) from trouble
        except ApiError:
            raise
        except ClientDisconnect as gone:
            raise ApiError("timeout", "the body ended before its end") from gone
        except Exception as fault:
            log.exception("request failed", route=route.path)
            raise ApiError("internal", "a fault of ours; the log has more") from fault
        if route.status == 204:
            return Response(status_code=204)
        return Response(msgspec.json.encode(found), route.status, media_type=_JSON)


_LATER = {"Retry-After": "5"}


def _methods(path: str) -> list[str]:
    return [route.method for route in ROUTES if route.path == path]


def _query(route: Route, request: Request) -> dict[str, str]:
    """Each name once. Raises ApiError."""
    known = {parameter.name for parameter in route.query}
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise ApiError("invalid", f"{name[:100]!r} is no parameter of this route")
        if name in found:
            raise ApiError("invalid", f"{name} was expected once")
        found[name] = value
    for each in route.query:
        if each.needed and not found.get(each.name):
            raise ApiError("invalid", f"{each.name} was expected")
    return found


async def _body(request: Request) -> bytes:
    """All of it. Raises ApiError."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_OCTETS_MAX:
                    raise ApiError(
                        "too-large", f"a body of at most {BODY_OCTETS_MAX} octets was expected"
                    )
    except TimeoutError:
        raise ApiError("timeout", f"the body was not there after {BODY_SECONDS_MAX:g} s") from None
    return bytes(body)


async def _description(_request: Request) -> Response:
    """For whoever asks: it says nothing of anybody, and programs are made from it."""
    return Response(encoded(), media_type=_JSON)


def _shown(wrong: ApiError) -> Response:
    return Response(wrong.body, wrong.status, wrong.headers, media_type=_JSON)


async def _not_here(_request: Request, wrong: Exception) -> Response:
    """A path that is none, or a method that it has not."""
    if isinstance(wrong, HTTPException) and wrong.status_code == 405:
        return _shown(ApiError("not-allowed", "this path has another method", wrong.headers))
    return _shown(ApiError("not-found", "there is no such path"))
