"""The files that TLS is made of, looked at before anything is opened."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from estafeta.office.certificates import check_authorities
from estafeta.office.check.tls import check_tls
from estafeta.office.config import Certificate, Config, Server, Tls
from estafeta.office.errors import CommandError
from estafeta.world.certificates import Authority


def config(folder: Path, authorities: str) -> Config:
    authority = Authority("ca", time.time())
    chain, key = authority.issue(["mx.example"], folder)
    authority.write(folder / "ca.pem")
    pair = Certificate(certificate=str(chain), key=str(key))
    tls = Tls(certificates=[pair], client_authorities=authorities)
    return Config(server=Server(hostname="mx.example"), tls=tls)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "does not exist"),
        (b"", "no certificate or crl found"),
        (b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", "cannot be used"),
    ],
)
def test_authorities_that_are_none_are_named(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "people.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=why) as wrong:
        check_authorities(str(file))
    assert str(file) in str(wrong.value)
    found = list(check_tls(config(tmp_path, str(file)), None, time.time()))
    assert [each.about for each in found if each.level == "error"] == [f"client authorities {file}"]


def test_authorities_that_are_some(tmp_path: Path) -> None:
    made = config(tmp_path, str(tmp_path / "ca.pem"))
    check_authorities(made.tls.client_authorities)
    check_authorities("")
    found = list(check_tls(made, None, time.time()))
    assert {each.level for each in found} == {"ok"}
    without = msgspec.structs.replace(
        made, tls=msgspec.structs.replace(made.tls, client_authorities="")
    )
    assert len(list(check_tls(without, None, time.time()))) == len(found) - 1
