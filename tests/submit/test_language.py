"""Language: who submits in Spanish is refused in Spanish, with the same cause."""

from __future__ import annotations

import pytest
from tests.support.whole import Talk, whole

from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet
from estafeta.store import accounts


@pytest.mark.parametrize(
    ("params", "header", "expected"),
    [
        ("", "From: eva@mx.example", "553 5.7.1 El From <eva@mx.example> no pertenece a la cuenta"),
        ("", "Subject: x", "554 5.6.0 Falta el campo From: nadie podria responder a este mensaje"),
        (" SMTPUTF8", "Subject: x", "554 5.6.0 Falta el campo From: nadie podría responder"),
    ],
)
def test_a_submitter_reads_spanish(params: str, header: str, expected: str) -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, net):
            ana = house.accounts["ana"]
            await house.store.run(lambda tx: accounts.set_account(tx, ana.id, language="es"))
            talk = Talk(await house.connect(net, "submissions"))
            await talk.begin(tls=True, login="ana@mx.example")
            refused = await talk.say("MAIL FROM:<eva@mx.example>")
            assert refused == (
                "553 5.7.1 <eva@mx.example> no pertenece a la cuenta ana@mx.example"
                " [sender-rejected]"
            )
            await talk.say(f"MAIL FROM:<ana@mx.example>{params}")
            unknown = await talk.say("RCPT TO:<gone@mx.example>")
            there = "aquí no existe ese buzón" if params else "aqui no existe ese buzon"
            assert unknown == f"550 5.1.1 <gone@mx.example>: {there} [unknown-user]"
            await talk.say("RCPT TO:<eva@mx.example>")
            await talk.say("DATA")
            talk.stream.write(f"{header}\r\n\r\nx\r\n".encode())
            answer = await talk.say(".")
            assert answer.startswith(expected)
            assert answer.endswith("]")

    with quiet():
        run(main())
