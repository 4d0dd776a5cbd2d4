"""Fixtures of the tests that run the real program."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.live.strangers import ANA, LUIS, Watch
from tests.support.live import Estafeta


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """A server with small limits. After all that was done to it, the books balance."""
    server = Estafeta(
        tmp_path_factory.mktemp("live") / "e",
        accounts=[ANA, LUIS],
        settings={
            "smtp": [
                'size_max = "1MiB"',
                "recipients_max = 100",
                'greeting_delay = "50ms"',
                'plaintext_auth_networks = ["127.0.0.0/8"]',
            ]
        },
    )
    with server:
        watch = Watch(server)
        yield watch
        print(f"{watch.served} messages of the neighbour, the slowest {watch.slowest:.3f} s")
        client = server.imap(ANA)
        assert int(client.select("INBOX")[1][0] or b"0") == watch.served
        client.logout()
        server.command("audit", "--full")
