"""Behind a proxy: the client is who the header says, everywhere; without a header nobody is."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.support.whole import CLIENT, HERE, PASSWORD, TRUSTED, Talk, Whole, whole

from estafeta.sim.loop import run
from estafeta.sim.stream import SimStream
from estafeta.sim.tls import SimClientTls
from estafeta.world.seams import Endpoint

BEHIND = "203.0.113.77"
EVA = "eva@mx.example"
V1 = f"PROXY TCP4 {BEHIND} {HERE} 40000 25\r\n".encode()
MESSAGE = b"Subject: x\r\nFrom: ana@mx.example\r\n\r\nhello\r\n"


def v2(host: str = BEHIND, command: int = 0x21, fields: bytes = b"") -> bytes:
    block = ipaddress.ip_address(host).packed + ipaddress.ip_address(HERE).packed
    block += struct.pack("!HH", 40000, 25) + fields
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, 0x11, len(block)) + block


def with_proxy(
    work: Callable[[Whole, Callable[..., Awaitable[SimStream]]], Awaitable[Any]], **how: Any
) -> list[Any]:
    """work gets a function that connects: (place in the list of listeners, source address). The
    proxies are in the network of TRUSTED. Gives what was logged."""

    async def main() -> None:
        async with whole(queue=False, **how) as (house, net):
            opened = []
            for port, setting in enumerate(house.built.config.listener, start=2000):
                behind = msgspec.structs.replace(setting, proxy_networks=[f"{TRUSTED}/32"])
                door = house.built._door(behind)
                here = Endpoint(HERE, port)
                opened.append(await house.machine.world.net.listen(here, door.admit))

            async def connect(listener: int = 0, source: str = TRUSTED) -> SimStream:
                stream = await net.connect(Endpoint(HERE, 2000 + listener), source=source)
                assert isinstance(stream, SimStream)
                return stream

            await work(house, connect)
            await house.balanced()
            for listener in opened:
                await listener.close()

    with capture_logs() as logged:
        run(main())
    return list(logged)


@pytest.mark.parametrize("header", [V1, v2()])
@pytest.mark.parametrize("seed", range(3))
def test_received_names_the_client(header: bytes, seed: int) -> None:
    async def work(house: Whole, connect: Any) -> None:
        stream = await connect()
        stream.write(header)
        talk = Talk(stream)
        await talk.begin()
        assert (await talk.hand("", [EVA], MESSAGE)).startswith("250")
        (kept,) = await house.inbox("eva")
        assert f"from client.example ([{BEHIND}])".encode() in kept
        assert TRUSTED.encode() not in kept

    with_proxy(work, seed=seed)


def test_limits_count_the_client_and_not_the_proxy() -> None:
    async def work(house: Whole, connect: Any) -> None:
        codes = []
        for client in (BEHIND, BEHIND, "203.0.113.78"):
            stream = await connect()
            stream.write(v2(client))
            codes.append((await Talk(stream).reply())[:3])
        assert codes == ["220", "421", "220"]

    with_proxy(work, connections_per_address_max=1)


def test_a_trusted_network_is_where_the_client_is() -> None:
    """The proxy itself is in relay_networks."""

    async def work(house: Whole, connect: Any) -> None:
        for client, code in ((BEHIND, "530"), (TRUSTED, "250")):
            stream = await connect(2)
            stream.write(v2(client))
            talk = Talk(stream)
            await talk.begin()
            assert (await talk.say("MAIL FROM:<ana@mx.example>")).startswith(code)

    with_proxy(work)


@pytest.mark.parametrize("fields", [b"", b"\x20\x00\x05\x07" + bytes(4)])
def test_tls_at_the_proxy_is_not_ours(fields: bytes) -> None:
    async def work(house: Whole, connect: Any) -> None:
        stream = await connect(2)
        stream.write(v2(fields=fields))
        talk = Talk(stream)
        await talk.begin()
        proof = b64encode(f"\0{EVA}\0{PASSWORD}".encode()).decode()
        assert (await talk.say(f"AUTH PLAIN {proof}")).startswith("538")

    with_proxy(work)


@pytest.mark.parametrize("in_one_go", [False, True])
def test_tls_from_the_first_octet_behind_the_header(in_one_go: bool) -> None:
    async def work(house: Whole, connect: Any) -> None:
        stream = await connect(3)
        if not in_one_go:
            stream.write(v2())
            await asyncio.sleep(1)
            talk = Talk(stream)
            await talk.begin(tls=True, login=EVA)
            return
        stream.write(v2() + b"\x16sim-tls client mx.example\n")
        assert (await stream.read()).startswith(b"\x16sim-tls server mx.example")

    with_proxy(work)


def test_starttls_behind_the_header() -> None:
    async def work(house: Whole, connect: Any) -> None:
        stream = await connect(2)
        stream.write(V1)
        talk = Talk(stream)
        await talk.begin()
        assert (await talk.say("STARTTLS")).startswith("220")
        await stream.start_tls(SimClientTls(verify=True), server_name="mx.example")
        assert (await talk.say("EHLO client.example")).startswith("250")

    with_proxy(work)


@pytest.mark.parametrize("header", [v2(command=0x20), b"PROXY UNKNOWN\r\n"])
def test_the_proxys_own_connection_keeps_its_address(header: bytes) -> None:
    async def work(house: Whole, connect: Any) -> None:
        stream = await connect()
        stream.write(header)
        talk = Talk(stream)
        await talk.begin()
        assert (await talk.hand("", [EVA], MESSAGE)).startswith("250")
        assert f"([{TRUSTED}])".encode() in (await house.inbox("eva"))[0]

    with_proxy(work)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"EHLO me\r\n", "no PROXY header"),
        (b"\x16sim-tls client x\n", "no PROXY header"),
        (b"PROXY TCP4 1.2.3.4\r\n", "TCP4, TCP6 or UNKNOWN, two addresses and two ports"),
        (v2(fields=b"\x03\x00\x04abcd"), "the checksum is wrong"),
        (V1[:-2], "no header in time"),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("listener", [0, 1, 3])
def test_without_a_header_there_is_no_reply(said: bytes, reason: str, listener: int) -> None:
    async def work(house: Whole, connect: Any) -> None:
        stream = await connect(listener)
        stream.write(said)
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionError):
            await stream.read()
        assert asyncio.get_running_loop().time() - began < 12
        assert await house.ledger() == []

    logged = [line for line in with_proxy(work) if line["event"] == "proxy refused"]
    if reason:
        (line,) = logged
        assert reason in line["reason"]
        assert line["proxy"].startswith(TRUSTED)
        assert line["log_level"] == "warning"
    else:
        assert [line["log_level"] for line in logged] == ["debug"]


def test_who_goes_before_the_header_is_whole() -> None:
    async def work(house: Whole, connect: Any) -> None:
        for said in (V1[:20], b""):
            stream = await connect()
            stream.write(said)
            stream.half_close()
            with pytest.raises(ConnectionError):
                await stream.read()

    assert len(with_proxy(work)) >= 1


def test_a_header_from_elsewhere_is_bad_input() -> None:
    """Whoever may connect might claim to be anybody."""

    async def work(house: Whole, connect: Any) -> None:
        stream = await connect(0, CLIENT)
        talk = Talk(stream)
        await talk.reply()
        stream.write(V1)
        assert (await talk.reply()).startswith("500")
        assert (await talk.say("EHLO client.example")).startswith("250")
        assert (await talk.hand("", [EVA], MESSAGE)).startswith("250")
        assert f"([{CLIENT}])".encode() in (await house.inbox("eva"))[0]

    with_proxy(work)


def test_a_second_header_is_bad_input_too() -> None:
    async def work(house: Whole, connect: Any) -> None:
        stream = await connect(1)
        stream.write(V1)
        talk = Talk(stream)
        assert (await talk.reply()).startswith("220")
        assert (await talk.say(V1.decode().strip())).startswith("500")

    with_proxy(work)
