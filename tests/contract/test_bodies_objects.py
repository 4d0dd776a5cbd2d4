"""The seam `Objects`: what the simulated bucket and a real client of S3 must both do."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.support.peers.process import free_port
from tests.support.s3 import BUCKET, KEY, LOOPBACK, SECRET, S3Server, s3_server

from estafeta.sim.objects import SimBucket, SimObjects
from estafeta.world.certificates import Authority
from estafeta.world.objects import S3Objects
from estafeta.world.seams import (
    ObjectExists,
    ObjectMissing,
    Objects,
    ObjectsError,
    ObjectsRefused,
)

Work = Callable[[Objects], Awaitable[None]]
Run = Callable[[Work], None]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(params=["simulated", "s3"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_it(work: Work) -> None:
        async def main() -> None:
            if request.param == "simulated":
                await work(SimObjects(SimBucket()))
            else:
                name = f"{request.node.name}/"
                await work(request.getfixturevalue("server").objects(prefix=name))

        asyncio.run(main())

    return run_it


def test_what_was_put_is_there_whole_and_in_ranges(run: Run) -> None:
    async def work(objects: Objects) -> None:
        data = bytes(range(256)) * 20_000
        await objects.put("bodies/0A/one-0", data)
        assert await objects.get("bodies/0A/one-0", 0, len(data)) == data
        assert await objects.get("bodies/0A/one-0", 0, 1) == b"\0"
        assert await objects.get("bodies/0A/one-0", 255, 258) == b"\xff\0\1"
        assert await objects.get("bodies/0A/one-0", len(data) - 1, len(data)) == b"\xff"

    run(work)


def test_a_name_is_given_once(run: Run) -> None:
    async def work(objects: Objects) -> None:
        await objects.put("a", b"first")
        with pytest.raises(ObjectExists):
            await objects.put("a", b"other")
        assert await objects.get("a", 0, 5) == b"first"
        put = [objects.put("b", b"%d" % n) for n in range(4)]
        done = await asyncio.gather(*put, return_exceptions=True)
        assert sum(result is None for result in done) == 1
        assert sum(isinstance(result, ObjectExists) for result in done) == 3

    run(work)


def test_what_is_not_there(run: Run) -> None:
    async def work(objects: Objects) -> None:
        with pytest.raises(ObjectMissing):
            await objects.get("nothing", 0, 1)
        await objects.put("something", b"x")
        await objects.delete(["nothing", "something", "something"])
        with pytest.raises(ObjectMissing):
            await objects.get("something", 0, 1)
        await objects.put("something", b"again")
        many = [f"many/{n}" for n in range(40)]
        await asyncio.gather(*(objects.put(name, b"x") for name in many))
        await objects.delete([])
        await objects.delete(["many/none", *many])
        assert await objects.list("many/", "", 99) == []
        assert await objects.get("something", 0, 5) == b"again"

    run(work)


def test_a_listing_is_in_order_and_goes_on(run: Run) -> None:
    async def work(objects: Objects) -> None:
        names = [f"bodies/{n:02}/x-{part}" for n in (3, 1, 2) for part in (1, 0)]
        for name in [*names, "other/x", "bodiesx"]:
            await objects.put(name, name.encode())
        assert await objects.list("nothing/", "", 10) == []
        found: list[tuple[str, int]] = []
        while some := await objects.list("bodies/", found[-1][0] if found else "", 4):
            assert len(some) <= 4
            found.extend(some)
        assert found == [(name, len(name)) for name in sorted(names)]
        after = "bodies/02/x-1"
        assert [name for name, _ in await objects.list("bodies/", after, 9)] == sorted(names)[4:]

    run(work)


def test_what_waiting_does_not_mend(server: S3Server) -> None:
    async def work() -> None:
        nowhere = server.objects("nowhere")
        for asked in (
            nowhere.put("a", b"x"),
            nowhere.get("a", 0, 1),
            nowhere.list("", "", 1),
            nowhere.delete(["a"]),
        ):
            with pytest.raises(ObjectsRefused, match=r"^there is no bucket nowhere$"):
                await asked
        here = server.objects()
        server.check_credentials(True)
        try:
            for asked in (here.put("a", b"x"), here.get("a", 0, 1), here.delete(["a"])):
                with pytest.raises(ObjectsRefused, match="InvalidAccessKeyId: The AWS Access") as e:
                    await asked
                assert f"a in bucket {BUCKET}" in str(e.value)
            with pytest.raises(ObjectsRefused, match="InvalidAccessKeyId"):
                await here.list("", "", 1)
        finally:
            server.check_credentials(False)

    asyncio.run(work())


def test_keys_of_the_environment(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def objects() -> S3Objects:
        return S3Objects(BUCKET, endpoint=server.endpoint, prefix="environment/")

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port(LOOPBACK)}")
    with pytest.raises(ObjectsError, match=r"^put a in .*: no credentials: neither \[s3\] nor the"):
        asyncio.run(S3Objects(BUCKET, endpoint=server.endpoint).put("a", b"x"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    asyncio.run(objects().put("a", b"x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    found = S3Objects(BUCKET, prefix="environment/")
    assert bytes(asyncio.run(found.get("a", 0, 1))) == b"x"


def test_tls_and_an_authority_of_our_own(tmp_path: Path) -> None:
    authority = Authority("a test", time.time())
    chain, key = authority.issue(["localhost"], tmp_path)
    authority.write(tmp_path / "authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    with s3_server(context) as server:

        def objects(authorities: bytes = b"") -> S3Objects:
            return S3Objects(
                BUCKET,
                endpoint=server.endpoint,
                access_key_id=KEY,
                secret_access_key=SECRET,
                authorities=authorities,
            )

        asyncio.run(objects((tmp_path / "authority.pem").read_bytes()).put("a", b"x"))
        with pytest.raises(ObjectsError, match="put b in bucket"):
            asyncio.run(objects().put("b", b"x"))
        with pytest.raises(ObjectsRefused, match=r"^the bucket cannot be used: No certificates"):
            objects(b"not PEM")


def test_a_server_that_is_away_and_comes_back() -> None:
    async def work(server: S3Server) -> None:
        objects = server.objects()
        await objects.put("a", b"before")
        await asyncio.to_thread(server.stop)
        for asked in (objects.put("b", b"x"), objects.get("a", 0, 1), objects.list("", "", 1)):
            with pytest.raises(ObjectsError) as told:
                await asked
            assert not isinstance(told.value, ObjectsRefused | ObjectExists | ObjectMissing)
            assert "\n" not in str(told.value)
        await asyncio.to_thread(server.start)
        assert await objects.get("a", 0, 6) == b"before"
        await objects.put("b", b"x")

    with s3_server() as server:
        asyncio.run(work(server))
