"""What `estafeta config check` finds, how it says so, and that it leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import pwd
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
import trustme
from tests.support.live import Estafeta
from tests.support.peers import postgres
from tests.support.peers.process import free_port

from estafeta.office.check.dns import check_dns
from estafeta.office.check.finding import Finding
from estafeta.office.check.people import may
from estafeta.office.check.ports import check_limit
from estafeta.office.check.processes import lock_holder
from estafeta.office.check.tls import check_tls
from estafeta.office.config import Certificate, Config, Server, Tls
from estafeta.office.tenure import Tenure
from estafeta.store.migrate import newest_migration
from estafeta.world.real import real_world
from estafeta.world.seams import Endpoint

Run = Callable[..., Any]


def checked(estafeta: Run, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and what -> (level, finding)."""
    done = estafeta("config", "check", "--json", *words)
    found = json.loads(done.out)
    assert found["ok"] == (done.code == 0)
    return done.code, {f["about"]: (f["level"], f["text"]) for f in found["findings"]}


@pytest.fixture
def server(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a configuration with one listener and a DNS server that is there."""
    with contextlib.ExitStack() as open_things:
        dns = open_things.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        dns.bind(("127.0.0.1", 0))  # takes what comes and says nothing

        def write(more: str = "", *, port: int = 0, data_dir: str = "data") -> Path:
            file = tmp_path / "estafeta.toml"
            file.write_text(
                f'[server]\nhostname = "h.example"\ndata_dir = "{data_dir}"\n'
                f'[dns]\nservers = ["127.0.0.1:{dns.getsockname()[1]}"]\ntimeout = "10ms"\n'
                f'[[listener]]\nrole = "mx"\naddress = "127.0.0.1"\nport = {port}\ntls = "none"\n'
                f"{more}"
            )
            return file

        yield write


def test_everything_wrong_with_the_file_is_told_with_lines_and_neighbours(
    estafeta: Run, tmp_path: Path
) -> None:
    (tmp_path / "estafeta.toml").write_text("[sever]\n[smtp]\nsize_mx = 3\n")
    done = estafeta("config", "check")
    assert done.code == 2
    assert 'estafeta.toml:1: sever: no such setting; did you mean "server"?' in done.out
    assert 'estafeta.toml:3: smtp.size_mx: no such setting; did you mean "size_max"?' in done.out
    code, found = checked(estafeta)
    assert code == 2
    assert found["file"][0] == "error"


def test_a_new_installation(estafeta: Run, server: Callable[..., Path], tmp_path: Path) -> None:
    server()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    _, found = checked(estafeta)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert found["file"][0] == "ok"
    assert found["data folder"] == (
        "ok",
        f"{tmp_path}/data does not exist yet; the first start makes it",
    )
    assert "does not exist yet" in found["store"][1]
    assert found["mx on 127.0.0.1 port 0"][0] == "ok"
    assert found["certificate"] == ("ok", "none, and no listener wants one")


def test_a_store_is_looked_at_without_a_trace(
    estafeta: Run, server: Callable[..., Path], tmp_path: Path
) -> None:
    server()
    assert estafeta("domain", "add", "x.example").code == 0
    data = tmp_path / "data"

    def state() -> list[tuple[str, int, bytes]]:
        files = [file for file in sorted(data.rglob("*")) if file.is_file()]
        return [(file.name, file.stat().st_mtime_ns, file.read_bytes()) for file in files]

    before = state()
    _, found = checked(estafeta)
    assert state() == before
    assert found["store"][0] == "ok"
    assert f"{data}/estafeta.db, schema " in found["store"][1]
    assert "server" not in found
    with contextlib.closing(apsw.Connection(str(data / "estafeta.db"))) as store:
        store.execute("INSERT INTO migration VALUES (9999, 'later', 'x', 0)")
    code, found = checked(estafeta)
    assert code == 2
    assert "made by a newer estafeta (schema 9999" in found["store"][1]
    (data / "estafeta.db").write_bytes(b"not a database, but long enough" * 100)
    assert checked(estafeta)[1]["store"][0] == "error"
    (data / "estafeta.db").unlink()
    (data / "estafeta.db").mkdir()
    assert checked(estafeta)[1]["store"][0] == "error"


def test_half_a_store(estafeta: Run, server: Callable[..., Path], tmp_path: Path) -> None:
    server()
    assert estafeta("domain", "add", "x.example").code == 0
    with contextlib.closing(apsw.Connection(str(tmp_path / "data" / "estafeta.db"))) as store:
        store.execute("INSERT INTO meta VALUES ('move', '{}')")
    code, found = checked(estafeta)
    assert code == 2
    assert "only half of one" in found["store"][1]


def test_a_database(estafeta: Run, server: Callable[..., Path]) -> None:
    with postgres.database() as url:
        file = server()
        text = file.read_text()
        file.write_text(text.replace("[server]\n", f'[server]\nstore = "{url}"\n'))
        code, found = checked(estafeta)
        # The tests' own server does not sync.
        assert found["database"] == ("warning", "fsync is off: mail is lost when the power fails")
        assert found["store"][0] == "ok"
        assert f"schema {newest_migration()}" in found["store"][1]
        gone = url.replace(url.rpartition("/")[2].partition("?")[0], "gone")
        file.write_text(text.replace("[server]\n", f'[server]\nstore = "{gone}"\n'))
        code, found = checked(estafeta)
        assert code == 2
        assert "cannot be reached: " in found["store"][1]
        assert "does not exist" in found["store"][1]


def test_a_port_of_somebody_else(estafeta: Run, server: Callable[..., Path]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server(port=port)
        code, found = checked(estafeta)
    assert code == 2
    assert "in use by another program" in found[f"mx on 127.0.0.1 port {port}"][1]
    server(port=free_port("127.0.0.1"))
    assert next(v for k, v in checked(estafeta)[1].items() if k.startswith("mx on"))[0] == "ok"


def test_beside_the_running_server_its_ports_are_its_own(tmp_path: Path) -> None:
    live = Estafeta(tmp_path, accounts=["a@x.example"], dns=["127.0.0.1:1"])
    with live:
        try:
            text = live.command("config", "check", "--json")
        except Exception as told:
            text = str(told).partition("\n")[2]
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])["findings"]
    by_name = {f["about"]: f for f in found}
    doors = [f for f in found if " on 127.0.0.1 port " in f["about"]]
    assert len(doors) == len(live.ports)
    assert {f["text"] for f in doors} == {"open, by the server that is running"}
    assert by_name["server"]["text"].startswith("it is running, as process ")
    assert "schema" in by_name["store"]["text"]


def test_who_holds_a_lock_is_looked_up(tmp_path: Path) -> None:
    store = tmp_path / "e.db"
    assert lock_holder(Path(f"{store}.service")) is None
    with Tenure(store):
        assert lock_holder(Path(f"{store}.service")) == os.getpid()
    assert lock_holder(Path(f"{store}.service")) is None


def test_dns_that_does_not_answer(estafeta: Run, server: Callable[..., Path]) -> None:
    server()
    code, found = checked(estafeta)
    assert code == 2
    about = next(key for key in found if key.startswith("DNS "))
    assert found[about] == ("error", "no answer within 0.01 s")


def test_one_dns_server_of_two_is_a_warning(tmp_path: Path) -> None:
    async def main() -> list[Finding]:
        world = real_world(tmp_path)
        good = await world.net.datagrams(Endpoint("127.0.0.1", 0))

        async def answer() -> None:
            while True:
                data, peer = await good.receive()
                code = b"\x81\x85" if refuse else b"\x81\x80"
                good.send(data[:2] + code + data[4:], peer)

        answering = asyncio.create_task(answer())
        try:
            closed = Endpoint("127.0.0.1", free_port("127.0.0.1"))
            return await check_dns([good.local, closed], world, 0.3)
        finally:
            answering.cancel()
            good.close()

    refuse = False
    assert [f.level for f in asyncio.run(main())] == ["ok", "warning"]
    refuse = True
    assert [f.level for f in asyncio.run(main())] == ["warning", "error"]


def test_no_dns_server_at_all(tmp_path: Path) -> None:
    (found,) = asyncio.run(check_dns([], real_world(tmp_path), 1.0))
    assert found.level == "error"


@pytest.mark.parametrize(
    ("ends", "level", "says"),
    [
        (-1, "error", "it has expired on "),
        (5, "warning", "it expires in 4 days"),
        (60, "ok", "its key fits; 59 days left"),
    ],
)
def test_a_certificate_ages(tmp_path: Path, ends: int, level: str, says: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    issued = trustme.CA().issue_cert(
        "h.example",
        not_before=now - datetime.timedelta(days=90),
        not_after=now + datetime.timedelta(days=ends),
    )
    (found,) = check_tls(_with_certificate(tmp_path, issued), None, time.time())
    assert found.level == level
    assert says in found.text


def test_a_certificate_for_other_names(tmp_path: Path) -> None:
    authority = trustme.CA()
    config = _with_certificate(tmp_path, authority.issue_cert("www.example"))
    assert [f.level for f in check_tls(config, None, time.time())] == ["ok", "warning"]
    config = _with_certificate(tmp_path, authority.issue_cert("*.example"))
    assert [f.level for f in check_tls(config, None, time.time())] == ["ok"]


def test_a_certificate_that_comes_to_be_valid_later(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("h.example")
    found = list(check_tls(_with_certificate(tmp_path, issued), None, 0.0))
    assert found[0].level == "error"
    assert "it is valid from" in found[0].text


def test_a_key_that_everybody_can_read(tmp_path: Path) -> None:
    config = _with_certificate(tmp_path, trustme.CA().issue_cert("h.example"))
    (tmp_path / "key").chmod(0o644)
    texts = [f.text for f in check_tls(config, None, time.time()) if f.level == "warning"]
    assert texts == [f"everybody can read {tmp_path / 'key'}; chmod 640 {tmp_path / 'key'}"]


def test_a_password_that_everybody_can_read(
    estafeta: Run, server: Callable[..., Path], tmp_path: Path
) -> None:
    route = '[[relay.routes]]\ndomain = "*"\nhosts = ["s"]\nusername = "u"\n'
    server(f'{route}password = "x"\n').chmod(0o644)
    assert checked(estafeta)[1]["password"][0] == "warning"
    server(f'{route}password = "x"\n').chmod(0o600)
    assert "password" not in checked(estafeta)[1]
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "secret").chmod(0o644)
    server(f'{route}password_file = "secret"\n')
    assert f"{tmp_path}/secret" in checked(estafeta)[1]["password"][1]


def test_folders(estafeta: Run, server: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server(data_dir="file")
    assert checked(estafeta)[1]["data folder"] == ("error", f"{tmp_path}/file is not a folder")
    server(data_dir="file/below")
    assert checked(estafeta)[1]["data folder"][0] == "error"
    (tmp_path / "data").mkdir(mode=0o700)
    server()
    assert checked(estafeta)[1]["data folder"][0] == "ok"
    (tmp_path / "data").chmod(0o755)
    assert checked(estafeta)[1]["data folder"][0] == "warning"


def test_may_goes_by_owner_group_and_the_rest() -> None:
    me = pwd.getpwuid(65534) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

    def status(mode: int, uid: int, gid: int) -> os.stat_result:
        return os.stat_result((stat.S_IFREG | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))

    assert may(me.pw_uid, status(0o400, me.pw_uid, 1), 4)
    assert not may(me.pw_uid, status(0o044, me.pw_uid, me.pw_gid), 4)
    assert may(me.pw_uid, status(0o040, 1, me.pw_gid), 4)
    assert not may(me.pw_uid, status(0o404, 1, me.pw_gid), 4)
    assert may(me.pw_uid, status(0o004, 1, 1), 4)
    assert not may(me.pw_uid, status(0o440, 1, 1), 4)
    assert may(0, status(0, 1, 1), 4)


def test_few_open_files_are_a_warning() -> None:
    assert check_limit(Config(), 1024).level == "warning"
    assert check_limit(Config(), 65536).level == "ok"


def _with_certificate(folder: Path, issued: trustme.LeafCert) -> Config:
    chain, key = folder / "chain", folder / "key"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    pair = Certificate(certificate=str(chain), key=str(key))
    return Config(server=Server(hostname="h.example"), tls=Tls(certificates=[pair]))
