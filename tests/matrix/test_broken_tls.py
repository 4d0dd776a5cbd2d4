"""A server that offers STARTTLS and fails at the handshake: Debian 12's OpenSMTPD, in real life.

Encryption that fails must not cost the mail (RFC 7435 §3), unless it was demanded.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.matrix.house import ANA, House, Way
from tests.support.peers.authority import Authority
from tests.support.peers.compare import assert_same
from tests.support.peers.letters import letter
from tests.support.peers.opensmtpd import SERVER
from tests.support.peers.packages import Unavailable
from tests.support.peers.process import free_port
from tests.support.peers.server import Direction, Feature, ServerSpec
from tests.support.require import require

EASY = "easy.example"
STRICT = "strict.example"


def test_opportunistic_goes_on_in_the_clear_and_required_waits(tmp_path: Path) -> None:
    try:
        broken = (Direction.RECEIVES, Feature.STARTTLS) in SERVER.cannot
    except Unavailable as error:
        require("peers", f"OpenSMTPD: {error}")
    if not broken:
        pytest.skip("the TLS of this OpenSMTPD works")
    authority = Authority(tmp_path / "authority")
    port = free_port()
    spec = ServerSpec(
        domains={EASY: ["eva"], STRICT: ["eva"]},
        certificate=authority.issue("localhost", "127.0.0.1"),
        smtp_port=port,
    )
    ways = [Way(EASY, port, "opportunistic"), Way(STRICT, port, "required")]
    with (
        SERVER.start(tmp_path / "broken", spec) as peer,
        House(tmp_path / "beside", authority, ways) as house,
    ):
        easy, strict = f"eva@{EASY}", f"eva@{STRICT}"
        message = letter(ANA, strict, "strict")
        house.submit(message, ANA, [strict])
        message = letter(ANA, easy, "easy")
        house.submit(message, ANA, [easy])
        [copy] = peer.wait_received(easy)
        assert_same(message, copy)
        assert house.wait_fates("easy", [easy]) == {easy: "relayed"}
        said = house.said("easy")
        assert "TLS handshake with" in said
        assert "in the clear" in said[said.index("TLS handshake with") :]
        house.wait_waiting("strict", strict)
        assert peer.received(strict) == []
