"""Postfix as sender to our port 25, and as the server to which we relay."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.peers.conftest import DOMAIN
from tests.support.live import Estafeta
from tests.support.peers.authority import Authority
from tests.support.peers.clients import Account, Clients
from tests.support.peers.compare import assert_same
from tests.support.peers.letters import letter
from tests.support.peers.names import NameServer
from tests.support.peers.postfix import Postfix

LUIS = f"luis@{DOMAIN}"
AWAY = "eva@away.example"


def test_postfix_sends_to_us(
    estafeta_server: Estafeta, peer_folder: Path, authority: Authority
) -> None:
    hop = {DOMAIN: ("localhost", estafeta_server.ports["mx"])}
    verify = {"smtp_tls_security_level": "verify", "smtp_tls_verify_cert_match": "hostname"}
    sent = letter("ana@away.example", LUIS, "postfix-in", size=200_000)
    with Postfix(peer_folder, transport=hop, ca=authority.ca, settings=verify) as postfix:
        postfix.sendmail("ana@away.example", [LUIS], sent)
        said = postfix.wait_log(rf"to=<{LUIS}>.* status=(\w+) \((.*)\)")
        assert said[1] == "sent", said
        assert said[2].startswith("250 2."), said
        assert postfix.queue() == []
    [stored] = estafeta_server.marked(LUIS, "postfix-in")
    assert_same(sent, stored)


def test_postfix_learns_that_a_user_is_unknown(
    estafeta_server: Estafeta, peer_folder: Path
) -> None:
    hop = {DOMAIN: ("localhost", estafeta_server.ports["mx"])}
    nobody = f"nadie@{DOMAIN}"
    with Postfix(peer_folder, transport=hop) as postfix:
        postfix.sendmail("ana@away.example", [nobody], letter("a@away.example", nobody, "unknown"))
        said = postfix.wait_log(rf"to=<{nobody}>.* dsn=([\d.]+), status=(\w+)")
        assert (said[1], said[2]) == ("5.1.1", "bounced")


@pytest.mark.parametrize("way", ["route", "dns"])
def test_we_relay_to_postfix(
    way: str, clients: Clients, ana: Account, authority: Authority, peer_folder: Path
) -> None:
    certificate = authority.issue("localhost")
    with (
        Postfix(peer_folder / "p", domains=["away.example"], certificate=certificate) as postfix,
        NameServer(
            {
                "away.example": {"MX": ["10 mx.away.example."]},
                "mx.away.example": {"A": [postfix.host]},
            }
        ) as names,
        Estafeta(
            peer_folder / "e",
            accounts=[ana.user],
            certificate=certificate,
            dns=[names.address],
            relay_port=postfix.port,
            routes={"away.example": (postfix.host, postfix.port)} if way == "route" else {},
        ) as server,
    ):
        sent = letter(ana.user, AWAY, f"relay-{way}", size=200_000)
        url = f"smtps://localhost:{server.ports['submissions']}"
        clients.curl_send(ana, url, ana.user, [AWAY], sent)
        [stored] = postfix.wait_messages(AWAY)
        assert_same(sent, stored)
        assert (way == "dns") == ("away.example. MX" in names.asked)
        assert "TLS" in postfix.log() or b"TLS" in stored.partition(b"\n\n")[0]
