"""A server that is short of something says so to new mail at once, and goes on with the rest."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.live.strangers import Stranger
from tests.support.live import Estafeta


def test_new_mail_waits_and_readers_do_not(tmp_path: Path) -> None:
    server = Estafeta(
        tmp_path / "e",
        accounts=["ana@correo.example"],
        settings={"busy": ['memory_max = "1MiB"']},
    )

    async def main() -> None:
        for role in ("mx", "submission"):
            async with await Stranger.at(server.ports[role]) as s:
                answer = await s.reply()
                assert answer.startswith("421 4.3.2 "), answer
                assert answer.strip().endswith("[server-busy]")
        async with await Stranger.at(server.ports["imap"]) as s:
            assert (await s.reply()).startswith("* OK")

    with server:
        asyncio.run(main())
        assert server.page("healthz")[0] == 200
        assert 'estafeta_busy{what="memory"} 1.0' in server.page("metrics")[1]
