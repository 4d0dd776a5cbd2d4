"""The API against its own description: schemathesis asks a running server what openapi.json allows,
and what it does not. Each status must be in it, each body as it says, and no fault of ours.
"""

from __future__ import annotations

import random
import smtplib
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from tests.support.live import Estafeta
from tests.support.peers.process import LOOPBACK, free_port

from estafeta.office.api.openapi import description
from estafeta.office.commands.common import in_store
from estafeta.office.config import Config
from estafeta.sim.installation import PASSWORD, cheap_password
from estafeta.store import accounts, bearers, knocks
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.knocks import NAMED, Detail, Noted
from estafeta.world.seams import World

ANA, EVA = "ana@a.example", "eva@a.example"
BOB, CARL = "bob@b.example", "carl@c.example"
EXAMPLES = 3
"""Of each route, kind of token, kind of request, and of paths that exist and that do not."""

TOKENS = 40
"""Each may ask so often; nobody is to be told to come again."""

SHOWN = 2000
"""Characters of a failure."""

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.allow_header_conformance,
]


class People(NamedTuple):
    """tokens: by kind. rows: of ana's journal."""

    tokens: dict[str, list[str]]
    rows: list[str]


class House:
    """A server with messages that wait, and programs with tokens."""

    def __init__(self, server: Estafeta, people: People) -> None:
        self.url = f"http://{LOOPBACK}:{server.ports['http']}/api/v1"
        self.log = server.log
        self._left = {who: cycle(each) for who, each in people.tokens.items()}
        self.rows = people.rows
        self.asked = 0
        self.answers: dict[int, int] = {}
        self.ids = {
            ANA: [_submit(server, ANA, BOB, CARL) for _ in range(3)],
            EVA: [_submit(server, EVA, BOB) for _ in range(3)],
        }

    def ask(self, who: str, case: schemathesis.Case) -> None:
        """Raises what is not as described."""
        headers = {"Authorization": f"Bearer {next(self._left[who])}"}
        answer = case.call(base_url=self.url, headers=headers)
        self.asked += 1
        self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
        assert answer.status_code != 429, "more than a token may ask"
        # What is refused for its size alone was not looked at.
        left = [checks.negative_data_rejection] if answer.status_code == 413 else []
        try:
            case.validate_response(answer, checks=CHECKS, excluded_checks=left, headers=headers)
        except FailureGroup as wrong:
            raise AssertionError(f"{case.method} {case.path}: {_said(wrong)[:SHOWN]}") from None


def _said(wrong: FailureGroup) -> str:
    return "\n".join(str(each) for each in wrong.exceptions)


def _people(config: Path) -> People:
    dice = random.Random(5)

    async def work(store: Store, world: World, _: Config) -> People:
        def unit(tx: Tx) -> People:
            accounts.add_domain(tx, "a.example", 1)
            now = int(world.clock.now() * 1000)
            ana, _ = (
                accounts.add_account(tx, each, 1, password=cheap_password()) for each in (ANA, EVA)
            )
            found: dict[str, list[str]] = {"admin": [], "account": []}
            for who, account in (("admin", None), ("account", ana.id)):
                for n in range(TOKENS):
                    token = bearers.new_token(dice)
                    bearers.add(tx, f"{who}-{n}", token, account=account, now=1)
                    found[who].append(token)
            rows = [Ids(world.clock, dice).next() for _ in range(3)]
            knocks.write(
                tx,
                [
                    Noted(
                        *(ana.id, id, "c.example", CARL, cause, ANA, NAMED, now, now, 1),
                        Detail(organisation="c.example", sender=CARL, aligned=True),
                    )
                    for id, cause in zip(rows, ("greylisted", "blocked-ip", "policy"), strict=True)
                ],
            )
            return People(found, [queue_id(id) for id in rows])

        return await store.run(unit)

    return in_store(config, work)


def _submit(server: Estafeta, sender: str, *recipients: str) -> str:
    with smtplib.SMTP(LOOPBACK, server.ports["submission"]) as client:
        client.login(sender, PASSWORD)
        client.mail(sender)
        for each in recipients:
            assert client.rcpt(each)[0] == 250
        _, said = client.data(f"From: {sender}\r\nSubject: x\r\n\r\nhello\r\n")
    return said.decode().split()[-1]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    server = Estafeta(
        tmp_path_factory.mktemp("described") / "e",
        routes=dict.fromkeys(("b.example", "c.example"), (LOOPBACK, free_port())),
        settings={"smtp": ['plaintext_auth_networks = ["127.0.0.0/8"]']},
    )
    people = _people(server.config)
    with server:
        yield (made := House(server, people))
        server.command("audit", "--full")
        assert "Traceback" not in server.log()
        print(f"{made.asked} requests: {sorted(made.answers.items())}")


schemathesis.openapi.format("idn-email", st.sampled_from([ANA, EVA, BOB, CARL, "ñu@ñandú.example"]))

# Whose token is shown is no part of what is tried: nobody's would be all that is.
DESCRIBED = {name: said for name, said in description().items() if name != "security"}
OPERATIONS = {
    result.ok().definition.raw["operationId"]: result.ok()
    for result in schemathesis.openapi.from_dict(DESCRIBED).get_all_operations()
    if isinstance(result, Ok)
}


@pytest.mark.parametrize("who", ["admin", "account"])
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_route_is_as_described(house: House, name: str, who: str) -> None:
    operation = OPERATIONS[name]
    real = {
        "id": [*house.ids[ANA], *house.ids[EVA]],
        "domain": ["b.example", "c.example", "*"],
        "account": [ANA, EVA],
        "row": house.rows,
        "scope": ["installation", "a.example", ANA, EVA],
    }
    there = {p: st.sampled_from(real[p]) for p in real if f"{{{p}}}" in operation.path}
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        for path in (there, {}) if there else ({},):
            if mode == GenerationMode.NEGATIVE and path == there and not _takes(operation):
                continue  # there is nothing to be wrong
            _try(house, who, operation, mode, st.fixed_dictionaries(path))


def _takes(operation: schemathesis.APIOperation) -> bool:
    """A body or a query."""
    return bool(operation.body) or bool(list(operation.query))


def _try(
    house: House,
    who: str,
    operation: schemathesis.APIOperation,
    mode: GenerationMode,
    path: st.SearchStrategy[dict[str, str]],
) -> None:
    @given(data=st.data())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(data: st.DataObject) -> None:
        named = data.draw(path)
        case = data.draw(operation.as_strategy(mode, path_parameters=named or None))
        house.ask(who, case)

    ask()
