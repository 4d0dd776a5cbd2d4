"""HTTP: health and metrics over a real socket."""

from __future__ import annotations

import asyncio
import json
import signal
import socket

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from estafeta.office.errors import DoorError
from estafeta.office.http import HttpServer, make_app
from estafeta.office.metrics import PrometheusMeter
from estafeta.world.seams import Endpoint


async def get(at: Endpoint, path: str, headers: str = "") -> tuple[int, str, str]:
    reader, writer = await asyncio.open_connection(at.host, at.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n".encode())
    data = (await reader.read()).decode()
    writer.close()
    head, _, body = data.partition("\r\n\r\n")
    return int(head.split(" ")[1]), head.lower(), body


async def well() -> str:
    return ""


async def ill() -> str:
    return "the store does not answer"


async def raising() -> str:
    raise OSError("disk gone")


def test_health_and_metrics() -> None:
    async def main() -> None:
        meter = PrometheusMeter(strict=True)
        meter.count("imap_sessions")
        server = HttpServer(make_app({"store": well}, meter), [Endpoint("127.0.0.1", 0)])
        await server.start()
        at = server.endpoints[0]
        code, head, body = await get(at, "/healthz")
        assert code == 200
        assert json.loads(body) == {"ok": True, "checks": {"store": "ok"}}
        assert "server:" not in head
        code, head, body = await get(at, "/metrics")
        assert code == 200
        assert "estafeta_imap_sessions_total 1.0" in body
        assert "text/plain" in head
        assert (await get(at, "/nothing"))[0] == 404
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await get(at, "/healthz")

    asyncio.run(main())


def test_what_is_not_well_is_named() -> None:
    async def main() -> None:
        app = make_app({"a": well, "store": ill, "disk": raising})
        server = HttpServer(app, [Endpoint("127.0.0.1", 0)])
        await server.start()
        code, _, body = await get(server.endpoints[0], "/healthz")
        assert code == 503
        checks = json.loads(body)["checks"]
        assert checks["a"] == "ok"
        assert checks["store"] == "the store does not answer"
        assert checks["disk"] == "OSError: disk gone"
        assert (await get(server.endpoints[0], "/metrics"))[0] == 404
        await server.stop()

    asyncio.run(main())


def test_a_port_in_use_is_named_and_leaves_nothing_open() -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            at = Endpoint("127.0.0.1", taken.getsockname()[1])
            server = HttpServer(make_app({}), [Endpoint("127.0.0.1", 0), at])
            with pytest.raises(DoorError, match=r"http on 127.0.0.1 port .* in use"):
                await server.start()
            first = server.endpoints[0]
        with pytest.raises(ConnectionRefusedError):
            await get(first, "/healthz")

    asyncio.run(main())


def test_signals_stay_ours() -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        server = HttpServer(make_app({}), [Endpoint("127.0.0.1", 0)])
        await server.start()
        assert signal.getsignal(signal.SIGTERM) == before
        await server.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ("", "http 127.0.0.1"),
        ("X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-Proto: https\r\n", "https 198.51.100.9"),
        ("X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-Proto: http\r\n", "http 198.51.100.9"),
    ],
)
def test_a_proxy_on_this_machine_says_who_is_behind_it(headers: str, seen: str) -> None:
    async def page(request: Request) -> Response:
        assert request.client is not None
        return Response(f"{request.url.scheme} {request.client.host}")

    async def main() -> None:
        app = make_app({}, routes=[Route("/who", page)])
        server = HttpServer(app, [Endpoint("127.0.0.1", 0)])
        await server.start()
        assert (await get(server.endpoints[0], "/who", headers))[2] == seen
        await server.stop()

    asyncio.run(main())
