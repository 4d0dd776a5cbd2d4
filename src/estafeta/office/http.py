"""HTTP: /healthz, /metrics and the API, on starlette and uvicorn within our own loop.

Promises: sockets are bound before privileges are dropped, and by us; uvicorn installs no signal
handlers and writes no access log. Further pages are routes given to `make_app`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from estafeta.office.errors import DoorError
from estafeta.office.limits import (
    HEALTH_SECONDS_MAX,
    HTTP_CONNECTIONS_MAX,
    HTTP_KEEP_ALIVE_SECONDS,
)
from estafeta.office.metrics import PrometheusMeter, render
from estafeta.world.net import bind
from estafeta.world.seams import Endpoint

Check = Callable[[], Awaitable[str]]
"""A health check: "" is well, else one line that says what is not. Raising is not well either."""

Health = dict[str, str]
"""By name of the check: "" or what is not well."""


class Colleagues(Protocol):
    """All workers of a service, this one among them."""

    async def health(self) -> dict[int, Health]:
        """By worker."""
        ...

    async def metrics(self) -> CollectorRegistry:
        """The sum of what they count."""
        ...


def make_app(
    checks: dict[str, Check],
    meter: PrometheusMeter | None = None,
    routes: Sequence[BaseRoute] = (),
    *,
    colleagues: Colleagues | None = None,
    remarks: Mapping[str, Check] | None = None,
) -> Starlette:
    """The pages. checks: by the name that /healthz shows. meter: None leaves /metrics out.

    colleagues: None where one process is all there is. remarks: what /healthz tells besides, where
    there is something; the service is well all the same.
    """

    async def healthz(_request: Request) -> Response:
        body: dict[str, Any]
        if colleagues is None:
            results = await check_all(checks)
            well = not any(results.values())
            body = {"ok": well, "checks": _shown(results)}
        else:
            by_worker = await colleagues.health()
            well = not any(any(each.values()) for each in by_worker.values())
            body = {
                "ok": well,
                "workers": {str(number): _shown(each) for number, each in by_worker.items()},
            }
        said = await check_all(remarks or {})
        if any(said.values()):
            body["remarks"] = {name: text for name, text in said.items() if text}
        return Response(
            msgspec.json.encode(body), 200 if well else 503, media_type="application/json"
        )

    pages: list[BaseRoute] = [Route("/healthz", healthz, methods=["GET"])]
    if meter is not None:

        async def metrics(request: Request) -> Response:
            accept = request.headers.get("accept", "")
            if colleagues is None:
                await meter.refresh()
                page, content_type = render(meter.registry, accept)
            else:
                page, content_type = render(await colleagues.metrics(), accept)
            return Response(page, headers={"content-type": content_type})

        pages.append(Route("/metrics", metrics, methods=["GET"]))
    return Starlette(routes=[*pages, *routes])


async def check_all(checks: Mapping[str, Check]) -> Health:
    return dict(zip(checks, await asyncio.gather(*map(_checked, checks.values())), strict=True))


def _shown(results: Health) -> dict[str, str]:
    return {name: text or "ok" for name, text in results.items()}


async def _checked(check: Check) -> str:
    try:
        async with asyncio.timeout(HEALTH_SECONDS_MAX):
            return await check()
    except TimeoutError:
        return f"no answer within {HEALTH_SECONDS_MAX:g} s"
    except Exception as trouble:
        return f"{type(trouble).__name__}: {trouble}"


class HttpServer:
    """A component of the service: serves `app` on sockets that `bind` gives at `start`."""

    name = "http"

    def __init__(
        self,
        app: Starlette,
        endpoints: Sequence[Endpoint],
        bind: Callable[[Endpoint], socket.socket] = bind,
    ) -> None:
        self._app = app
        self._bind = bind
        self._wanted = list(endpoints)
        self._sockets: list[socket.socket] = []
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.endpoints: list[Endpoint] = []

    async def start(self) -> None:
        """Binds and serves. Raises DoorError (port in use, not permitted)."""
        for at in self._wanted:
            try:
                bound = self._bind(at)
            except OSError as error:
                self._close_sockets()
                raise DoorError(f"http on {at.host} port {at.port}", error) from error
            self._sockets.append(bound)
            self.endpoints.append(Endpoint(*bound.getsockname()[:2]))
        self._server = _Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                # A proxy on this machine says who is behind it, and whether by TLS; nobody else.
                proxy_headers=True,
                forwarded_allow_ips=["127.0.0.1", "::1"],
                limit_concurrency=HTTP_CONNECTIONS_MAX,
                timeout_keep_alive=HTTP_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=5,
                ws="none",
            )
        )
        self._task = asyncio.create_task(self._server.serve(self._sockets), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task  # raises what stopped it
                raise OSError("the HTTP server ended at once")
            await asyncio.sleep(0.001)

    async def drain(self) -> None:
        """Health stays visible while the others finish: nothing to do yet."""

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        self._close_sockets()

    async def reload(self) -> None:
        """Nothing of it can change without a restart."""

    def _close_sockets(self) -> None:
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the service's own (office/signals.py)."""
        yield
