"""imaplib and poplib against real listeners on loopback, with TLS and without."""

from __future__ import annotations

import asyncio
import imaplib
import poplib
import random
import ssl
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.read.rig import ADDRESS, PASSWORD, message, password
from tests.support.streams import FixedClock, InlineCpu

from estafeta.read import ImapServer, Pop3Server, ReadSettings
from estafeta.store import accounts
from estafeta.store.bodies import Bodies
from estafeta.store.credentials import Authenticator
from estafeta.store.ids import Ids
from estafeta.store.open import open_store
from estafeta.world.disk import RealDisk
from estafeta.world.net import RealNet
from estafeta.world.seams import Endpoint, World
from estafeta.world.tls import server_config

Work = Callable[[int, int], None]


def run(path: Path, work: Work, tls: Any, *, implicit: bool = False) -> None:
    """Runs `work(imap port, pop3 port)` in a thread."""

    async def main() -> None:
        world = World(FixedClock(), random.Random(7), RealNet(), RealDisk(path), InlineCpu())
        store = await open_store(f"sqlite://{path}/estafeta.db", world)

        def begin(tx: Any) -> None:
            accounts.add_domain(tx, "correo.example", 0)
            accounts.add_account(tx, ADDRESS, 0, password=password())

        await store.run(begin)
        settings = ReadSettings(
            hostname="correo.example",
            starttls=tls,
            plaintext_auth_networks=(ip_network("127.0.0.0/8"),),
        )
        bodies = Bodies(world.disk, Ids(world.clock, world.dice))
        listeners, servers, ports = [], [], []
        for kind in (ImapServer, Pop3Server):
            server = kind(store, bodies, Authenticator(store, world), world, settings)
            servers.append(server)

            def handler(stream: Any, server: Any = server) -> Any:
                return server.serve(stream, implicit_tls=tls if implicit else None)

            listener = await world.net.listen(Endpoint("127.0.0.1", 0), handler)
            listeners.append(listener)
            ports.append(listener.endpoint.port)
        try:
            await asyncio.wait_for(asyncio.to_thread(work, *ports), 60)
        finally:
            for listener in listeners:
                await listener.close()
            for server in servers:
                await asyncio.wait_for(server.stop(), 10)
            await store.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ssl.SSLContext]:
    """(what our listeners show, a client's context that trusts it)."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server_config([(chain, key)]), client


def test_imaplib(tmp_path: Path) -> None:
    def work(port: int, _: int) -> None:
        with imaplib.IMAP4("127.0.0.1", port, timeout=20) as c:
            c.login(ADDRESS, PASSWORD)
            assert c.select()[1] == [b"0"]
            for n in range(3):
                assert c.append("INBOX", r"(\Flagged)", None, message(n))[0] == "OK"
            assert c.noop()[0] == "OK"
            kind, found = c.search(None, "FLAGGED", "SUBJECT", '"message 1"')
            assert (kind, found) == ("OK", [b"2"])
            _, fetched = c.fetch("2", "(RFC822 FLAGS)")
            assert fetched[0][1] == message(1)
            assert c.uid("STORE", "1:3", "+FLAGS", r"(\Deleted)")[0] == "OK"
            assert c.copy("1", "Archive")[0] == "OK"
            assert c.expunge()[1] == [b"3", b"2", b"1"]
            assert c.status("Archive", "(MESSAGES)")[1] == [b"Archive (MESSAGES 1)"]
            assert len(c.list()[1]) == 6
            assert c.create("carpeta/otra")[0] == "OK"
            assert c.close()[0] == "OK"

    run(tmp_path, work, None)


def test_poplib(tmp_path: Path) -> None:
    def work(imap: int, port: int) -> None:
        with imaplib.IMAP4("127.0.0.1", imap, timeout=20) as c:
            c.login(ADDRESS, PASSWORD)
            for n in range(3):
                c.append("INBOX", "", None, message(n, b".\r\n..a\r\n"))
        c = poplib.POP3("127.0.0.1", port, timeout=20)
        assert "PIPELINING" in c.capa()
        c.user(ADDRESS)
        c.pass_(PASSWORD)
        assert c.stat()[0] == 3
        assert b"\r\n".join(c.retr(2)[1]) + b"\r\n" == message(1, b".\r\n..a\r\n")
        assert c.top(1, 1)[1][-1] == b"."
        c.dele(1)
        assert len(c.uidl()[1]) == 2
        c.quit()

    run(tmp_path, work, None)


@pytest.mark.parametrize("implicit", [True, False])
def test_under_tls(tmp_path: Path, tls: tuple[Any, ssl.SSLContext], implicit: bool) -> None:
    config, context = tls
    large = message(1, b"0123456789abcde\r\n" * 100_000)

    def work(imap: int, port: int) -> None:
        if implicit:
            c: Any = imaplib.IMAP4_SSL("127.0.0.1", imap, ssl_context=context, timeout=20)
            p: Any = poplib.POP3_SSL("127.0.0.1", port, context=context, timeout=20)
        else:
            c = imaplib.IMAP4("127.0.0.1", imap, timeout=20)
            c.starttls(context)
            p = poplib.POP3("127.0.0.1", port, timeout=20)
            p.stls(context)
        c.authenticate("PLAIN", lambda _: f"\0{ADDRESS}\0{PASSWORD}".encode())
        assert c.append("INBOX", "", None, large)[0] == "OK"
        c.select()
        assert c.fetch("1", "(BODY.PEEK[])")[1][0][1] == large
        c.logout()
        p.user(ADDRESS)
        p.pass_(PASSWORD)
        assert b"\r\n".join(p.retr(1)[1]) + b"\r\n" == large
        p.quit()

    run(tmp_path, work, config, implicit=implicit)
