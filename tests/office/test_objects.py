"""The object store as the configuration names it, and as `config check` finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.s3 import BUCKET, S3Server, s3_server

from estafeta.office.check.finding import Finding
from estafeta.office.check.objects import check_objects
from estafeta.office.config import Config
from estafeta.office.config_read import ConfigError, parse_config
from estafeta.office.objects import objects_of

BASE = '[tls]\nself_signed = true\n[server]\nhostname = "mx.example"\n'


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def config_for(server: S3Server, **changed: str) -> Config:
    given = {
        "bucket": BUCKET,
        "endpoint": server.endpoint,
        "region": "us-east-1",
        "access_key_id": "key",
        "secret_access_key": "secret",
    } | changed
    lines = [f'{name} = "{value}"' for name, value in given.items()]
    return parse_config(BASE + '[bodies]\nlarge = "s3"\n[s3]\n' + "\n".join(lines))


def checked(config: Config) -> Finding:
    (finding,) = asyncio.run(check_objects(config))
    return finding


def test_what_check_says_of_the_bucket(server: S3Server) -> None:
    config = config_for(server, prefix="here")
    assert asyncio.run(check_objects(parse_config(BASE))) == []
    assert checked(config).level == "ok"
    assert "the first start makes it ours" in checked(config).text
    objects = objects_of(config)
    assert objects is not None
    asyncio.run(objects.put("installation", b"ours"))
    assert "an installation has it" in checked(config).text
    assert checked(config_for(server, bucket="nowhere")).level == "error"
    server.check_credentials(True)
    try:
        found = checked(config)
    finally:
        server.check_credentials(False)
    assert found.level == "error"
    assert "InvalidAccessKeyId" in found.text
    server.stop()
    try:
        found = checked(config)
    finally:
        server.start()
    assert found.level == "warning"
    assert found.text.endswith("until it is there, large messages are answered 451")


def test_prefixes_are_folders(server: S3Server) -> None:
    for written in ("a", "/a", "a/", "/a/"):
        assert config_for(server, prefix=written).s3.prefix == "a/"
    assert config_for(server, prefix="/").s3.prefix == ""


def test_the_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\nanother line\n")
    text = BASE + '[s3]\nbucket = "b"\naccess_key_id = "k"\nsecret_access_key_file = "key"\n'
    assert parse_config(text, base=tmp_path).s3.secret_access_key == "s3cret"
    with pytest.raises(ConfigError, match=r"s3\.secret_access_key_file: a readable file"):
        parse_config(text.replace('"key"', '"none"'), base=tmp_path)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('[bodies]\nlarge = "s3"', "bodies.large: [s3] bucket was expected beside it"),
        ('[bodies]\nlarge = "tape"', 'bodies.large: "files" or "s3" was expected'),
        ('[s3]\nendpoint = "s3.example.org"', "s3.endpoint: a URL such as"),
        ('[s3]\nprefix = "a/../b"', "s3.prefix: a path such as"),
        ('[s3]\nprefix = "ñ"', "s3.prefix: a path such as"),
        ('[s3]\naccess_key_id = "k"', "s3.access_key_id: secret_access_key or"),
        ('[s3]\nsecret_access_key = "k"', "s3.secret_access_key: access_key_id was expected"),
        ('[s3]\naddressing = "odd"', 's3.addressing: "path" or "host" was expected'),
    ],
)
def test_settings_that_do_not_fit(lines: str, problem: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_config(BASE + lines + "\n")
    assert problem in str(told.value)
