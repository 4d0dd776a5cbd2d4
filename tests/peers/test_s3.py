"""A whole installation whose large bodies are in a bucket."""

from __future__ import annotations

import json
import random
import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.live import Estafeta
from tests.support.s3 import BUCKET, S3Server, s3_server

ANA = "ana@correo.example"
MEBIBYTE = 1024 * 1024


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def letter(octets: int, mark: str) -> bytes:
    dice = random.Random(mark)
    head = (
        "From: Bob Builder <bob@far.example>\r\n"
        f"Message-ID: <{mark}@far.example>\r\nSubject: {mark}\r\n\r\n"
    )
    line = bytes(dice.choices(b"abcdefghijklmnopqrstuvwxyz", k=76)) + b"\r\n"
    return head.encode() + line * (octets // len(line))


def send(house: Estafeta, message: bytes) -> tuple[int, bytes]:
    with smtplib.SMTP(house.host, house.ports["mx"], timeout=60) as client:
        client.helo("far.example")
        client.mail("bob@far.example")
        client.rcpt(ANA)
        code, said = client.data(message)
        return code, said


def names(server: S3Server) -> list[str]:
    import asyncio

    found = asyncio.run(server.objects().list("", "", 1000))
    return [name for name, _ in found]


def health(house: Estafeta) -> dict[str, object]:
    return dict(json.loads(house.page("healthz")[1]))


def test_ten_mebibytes_there_and_back_and_a_bucket_that_is_away(
    tmp_path: Path, server: S3Server
) -> None:
    large, later = letter(10 * MEBIBYTE, "large"), letter(MEBIBYTE, "later")
    with Estafeta(tmp_path, accounts=[ANA], settings=server.settings()) as house:
        assert send(house, large)[0] == 250
        assert send(house, letter(1000, "small"))[0] == 250
        stored = names(server)
        assert len(stored) == 4  # three parts, and whose they are
        assert "installation" in stored
        assert not list((tmp_path / "data").rglob("bodies/*"))
        client = house.imap(ANA)
        got = house.wait_messages(client, 2)
        assert got[0].endswith(large[-9 * MEBIBYTE :])
        assert health(house)["ok"]
        assert "Bob Builder" in house.command("trace", "large@far.example")
        house.stop()

        # Another process, with nothing in its cache.
        house.start()
        client = house.imap(ANA)
        client.select("INBOX")
        part = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0]
        assert b"Subject: large" in part[1]
        assert client.fetch("1", "(BODY.PEEK[]<5000000.100>)")[1][0][1] == got[0][5000000:5000100]

        server.stop()
        code, said = send(house, later)
        assert (code, said[:5]) == (451, b"4.3.0")
        assert send(house, letter(1000, "small2"))[0] == 250
        # It was fetched before, so it is at hand; what was not is told to be away.
        assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == got[0]
        assert not health(house)["ok"]
        server.start()
        assert send(house, later)[0] == 250
        assert health(house)["ok"]
        assert len(names(server)) == 5
        house.stop()

        server.stop()
        house.start()  # a bucket that is away does not keep small mail
        assert "object store not available" in house.log()
        client = house.imap(ANA)
        client.select("INBOX")
        answer, why = client.fetch("1", "(BODY.PEEK[])")
        assert answer == "NO"
        assert why[0].startswith(b"[UNAVAILABLE]")
        assert client.fetch("2", "(BODY.PEEK[])")[0] == "OK"
        server.start()
        assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == got[0]
        client.logout()
    assert house.command("audit", "--full") == ""


def test_a_start_that_cannot_work_says_why(tmp_path: Path, server: S3Server) -> None:
    house = Estafeta(tmp_path / "one", accounts=[ANA], settings=server.settings())
    with house:
        pass
    server.check_credentials(True)
    assert failure(house) == (
        f"put installation in bucket {BUCKET}: InvalidAccessKeyId: "
        "The AWS Access Key Id you provided does not exist in our records."
    )
    server.check_credentials(False)
    other = Estafeta(tmp_path / "two", accounts=[], settings=server.settings())
    (tmp_path / "two" / "data").mkdir()
    assert failure(other) == (
        "the bucket holds the bodies of another installation; choose another bucket or [s3] prefix"
    )
    text = house.config.read_text()
    house.config.write_text(text.replace(f'bucket = "{BUCKET}"', 'bucket = "nowhere"'))
    assert failure(house) == "there is no bucket nowhere"


def failure(house: Estafeta) -> str:
    """What `estafeta serve` says before it ends."""
    last = house.failing_start().stderr.strip().splitlines()[-1]
    return last.removeprefix("estafeta: ")


def test_two_workers_and_one_bucket(tmp_path: Path, server: S3Server) -> None:
    """Each has a way there of its own, made after the fork."""
    settings = server.settings() | {"server": ["workers = 2"]}
    with Estafeta(tmp_path, accounts=[ANA], settings=settings) as house:
        messages = [letter(MEBIBYTE, f"w{n}") for n in range(8)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda message: send(house, message)[0], messages))
        assert answers == [250] * 8
        assert len(names(server)) == 9
        for _ in range(3):  # connections fall to either
            got = house.wait_messages(house.imap(ANA), 8)
            assert sorted(x[-2000:] for x in got) == sorted(x[-2000:] for x in messages)
    assert house.command("audit", "--full") == ""
