"""API: each route over a whole installation, who may do what, and what a stranger may send."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.support.whole import Attempts, Whole, whole

from estafeta.mail.outcome import Deferred, Outcome, Refused, Reply
from estafeta.office.api.errors import STATUS
from estafeta.office.api.limits import (
    BODY_OCTETS_MAX,
    BODY_SECONDS_MAX,
    FAILURES_BURST,
    REQUESTS_BURST,
)
from estafeta.office.api.route import EVERYWHERE, PATH, PREFIX, WITH_BODY
from estafeta.office.api.serve import Api
from estafeta.office.api.table import ROUTES
from estafeta.office.receiving import networks
from estafeta.sim.loop import run
from estafeta.store import accounts, bearers
from estafeta.store.engine import StoreFull, Tx
from estafeta.store.ids import queue_id

pytestmark = pytest.mark.usefixtures("each_engine")

BOB, CARL, DORA = "bob@remote.example", "carl@remote.example", "dora@other.example"
BUSY = Deferred(Reply(450, "4.2.0", "busy"), "server-busy", "mx.remote.example")
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.remote.example")
HERE, THERE = ("127.0.0.1", 4711), ("198.51.100.9", 4711)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    json: Any

    @property
    def error(self) -> str:
        """Its code; what is refused has this form and no other."""
        assert set(self.json) == {"error", "detail"}, self.json
        assert self.status == STATUS[self.json["error"]]
        assert self.json["detail"]
        return str(self.json["error"])


class Client:
    """A program with a token, without a network between."""

    def __init__(self, app: Any, token: str = "", peer: tuple[str, int] = HERE) -> None:
        self._app = app
        self._token = token
        self._peer = peer

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        scheme: str = "http",
        pause: float = 0.0,
        **headers: str,
    ) -> Answer:
        if self._token:
            headers.setdefault("authorization", f"Bearer {self._token}")
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": scheme,
            "path": target,
            "raw_path": target.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
            "client": self._peer,
            "server": ("127.0.0.1", 8080),
        }
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, *rest = sent
        found = b"".join(each.get("body", b"") for each in rest)
        told = {k.decode(): v.decode() for k, v in start["headers"]}
        return Answer(start["status"], told, json.loads(found) if found else None)


class Case:
    """ana has a message that waits for bob and dora; eva one for carl."""

    def __init__(self, house: Whole) -> None:
        self.house = house
        self.api = Api(house.built)
        self.app = Starlette(routes=[Mount(PREFIX, self.api.app)])
        self.root = Client(self.app)
        self.ana = self.eva = self.root
        self.of_ana = self.of_eva = 0

    async def begin(self) -> None:
        self.root = await self.with_token("root", None)
        self.ana = await self.with_token("ana", self.house.accounts["ana"].id)
        self.eva = await self.with_token("eva", self.house.accounts["eva"].id)
        self.of_ana = await self.house.accept(BOB, DORA)
        self.of_eva = await self.house.accept(CARL, sender="eva@mx.example")
        whose = ((self.of_ana, "ana"), (self.of_eva, "eva"))

        def unit(tx: Tx) -> None:
            for id, name in whose:
                tx.run(
                    "UPDATE acceptance SET account = ? WHERE id = ?",
                    (self.house.accounts[name].id, id),
                )

        await self.house.store.run(unit)
        await asyncio.sleep(2)

    async def with_token(self, name: str, account: int | None, expires: int = 0) -> Client:
        token = bearers.new_token(self.house.world.dice)
        await self.house.store.run(
            lambda tx: bearers.add(tx, name, token, account=account, now=1, expires=expires)
        )
        return Client(self.app, token)

    def path(self, id: int, act: str = "") -> str:
        return f"{PREFIX}/queue/{queue_id(id)}{'/' if act else ''}{act}"


def with_case(
    work: Callable[[Case], Awaitable[None]], plan: dict[str, list[Outcome]] | None = None
) -> None:
    plan = plan if plan is not None else {BOB: [BUSY], CARL: [BUSY], DORA: [BUSY]}

    async def main() -> None:
        async with whole(attempts=Attempts(plan=plan)) as (house, _):
            await asyncio.sleep(0.1)
            case = Case(house)
            await case.begin()
            await work(case)

    run(main())


def recipients(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [row["recipient"] for row in answer.json["rows"]]


def test_everybody_sees_what_is_theirs() -> None:
    async def work(case: Case) -> None:
        listed = f"{PREFIX}/queue"
        assert recipients(await case.root("GET", listed)) == [BOB, DORA, CARL]
        assert recipients(await case.ana("GET", listed)) == [BOB, DORA]
        assert recipients(await case.eva("GET", listed)) == [CARL]
        assert recipients(await case.root("GET", f"{listed}?sender=eva@mx.example")) == [CARL]
        assert recipients(await case.ana("GET", f"{listed}?sender=eva@mx.example")) == []
        assert recipients(await case.root("GET", f"{listed}?cause=server-busy&state=waiting")) == [
            *(BOB, DORA, CARL)
        ]
        assert recipients(await case.root("GET", f"{listed}?older_than=3600")) == []
        assert recipients(await case.ana("GET", case.path(case.of_ana))) == [BOB, DORA]

    with_case(work)


def test_what_stands_behind_an_alias_is_not_its_senders_to_see() -> None:
    behind = "Bob@remote.example"

    async def work(case: Case) -> None:
        house = case.house
        id = await house.accept("out@mx.example", "team@mx.example", sender="eva@mx.example")

        def unit(tx: Tx) -> list[int]:
            tx.run(
                "UPDATE acceptance SET account = ? WHERE id = ? OR parent = ?",
                (house.accounts["eva"].id, id, id),
            )
            found = tx.rows(
                "SELECT r.acceptance FROM recipient r JOIN acceptance a ON a.id = r.acceptance"
                " WHERE a.parent = ? AND r.address = ?",
                (id, behind),
            )
            return [child for (child,) in found]

        (child,) = await house.store.run(unit)
        await asyncio.sleep(2)
        listed, journey = f"{PREFIX}/queue", f"{PREFIX}/messages/{queue_id(id)}"
        assert recipients(await case.root("GET", listed)) == [BOB, DORA, CARL, behind]
        assert recipients(await case.eva("GET", listed)) == [CARL]
        told = await case.eva("GET", journey)
        assert [each["queue_id"] for each in told.json] == [queue_id(id)]
        whole = await case.root("GET", journey)
        assert queue_id(child) in [each["queue_id"] for each in whole.json]
        for act in ("retry", "hold", "cancel", "resend"):
            known = await case.eva("POST", case.path(child, act), {})
            assert known.error == "not-found", act
        assert (await case.eva("GET", case.path(child))).error == "not-found"
        gone = await case.eva("GET", f"{PREFIX}/messages/{queue_id(child)}")
        assert gone.error == "not-found"
        done = await case.eva("POST", f"{PREFIX}/queue/cancel", {"all": True})
        assert [r["recipient"] for r in done.json["recipients"]] == [CARL]
        # What administration sends elsewhere instead is as much behind it.
        correction = {"corrections": [{"was": behind, "to": DORA}]}
        assert (await case.root("POST", case.path(child, "correct"), correction)).status == 200
        assert recipients(await case.root("GET", f"{listed}?sender=eva@mx.example")) == [DORA]
        assert recipients(await case.eva("GET", listed)) == []
        assert len((await case.eva("GET", journey)).json) == 1

    with_case(work, {BOB: [BUSY], CARL: [BUSY], DORA: [BUSY, BUSY], behind: [BUSY]})


def test_in_which_mailbox_of_another_it_lies_is_not_its_senders_to_see() -> None:
    async def work(case: Case) -> None:
        house = case.house
        id = await house.accept("ana@mx.example", "eva@mx.example", sender="eva@mx.example")
        await house.store.run(
            lambda tx: tx.run(
                "UPDATE acceptance SET account = ? WHERE id = ?", (house.accounts["eva"].id, id)
            )
        )

        async def last_steps(client: Client) -> list[tuple[str, list[str]]]:
            (journey,) = (await client("GET", f"{PREFIX}/messages/{queue_id(id)}")).json
            return [
                (w["steps"][-1]["state"], w["steps"][-1]["lines"]) for w in journey["recipients"]
            ]

        ana, eva = await last_steps(case.root)
        assert ana == ("done", ["mailbox ana@mx.example INBOX, uid 1"])
        assert await last_steps(case.eva) == [("done", []), eva]

    with_case(work)


def test_pages_follow_their_cursor() -> None:
    async def work(case: Case) -> None:
        seen, cursor = [], ""
        for _ in range(3):
            answer = await case.root("GET", f"{PREFIX}/queue?limit=1&cursor={cursor}")
            seen += recipients(answer)
            cursor = answer.json["next"]
        assert (seen, cursor) == ([BOB, DORA, CARL], "")

    with_case(work)


def test_what_belongs_to_others_does_not_exist() -> None:
    async def work(case: Case) -> None:
        before = await case.house.ledger()
        correction = {"corrections": [{"was": CARL, "to": BOB}]}
        for act, body in (
            ("", None),
            ("retry", {}),
            ("hold", {}),
            ("release", {}),
            ("cancel", {}),
            ("correct", correction),
            ("resend", {}),
        ):
            method = "POST" if act else "GET"
            known = await case.ana(method, case.path(case.of_eva, act), body)
            none = await case.ana(method, case.path(case.of_eva + 4096, act), body)
            assert known.error == none.error == "not-found", act
            # Nothing tells a message of somebody else from one that is not there.
            detail = known.json["detail"].replace(queue_id(case.of_eva), "")
            assert detail == none.json["detail"].replace(queue_id(case.of_eva + 4096), "")
        gone = await case.ana("GET", f"{PREFIX}/messages/{queue_id(case.of_eva)}")
        assert gone.error == "not-found"
        done = await case.ana("POST", f"{PREFIX}/queue/cancel", {"destination": "remote.example"})
        assert [r["recipient"] for r in done.json["recipients"]] == [BOB]
        assert [line for line in await case.house.ledger() if CARL in line] == [
            line for line in before if CARL in line
        ]

    with_case(work)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/suspended", None),
        ("PUT", "/suspended/remote.example", {}),
        ("DELETE", "/suspended/remote.example", None),
        ("PUT", "/drained/remote.example", {"host": "192.0.2.1"}),
        ("DELETE", "/drained/remote.example", None),
    ],
)
def test_destinations_are_for_administration(method: str, path: str, body: Any) -> None:
    async def work(case: Case) -> None:
        assert (await case.ana(method, f"{PREFIX}{path}", body)).error == "forbidden"
        standing = await case.house.built.hand.standing()
        assert not standing.suspensions
        assert not standing.drains

    with_case(work)


def test_every_operation() -> None:
    async def work(case: Case) -> None:
        ana, id = case.ana, case.of_ana
        held = await ana("POST", case.path(id, "hold"), {"recipients": [BOB], "reason": "a\0b"})
        assert (held.status, held.json["counts"]) == (200, {"held": 1})
        (row,) = (await ana("GET", f"{PREFIX}/queue?state=held")).json["rows"]
        assert (row["recipient"], row["reason"], row["due"]) == (BOB, "a b", 0)
        assert (await ana("POST", case.path(id, "release"))).json["counts"] == {
            "released": 1,
            "unchanged": 1,
        }
        assert (await ana("POST", f"{PREFIX}/queue/hold", {"all": True})).json["counts"] == {
            "held": 2
        }
        everything = {"all": True}
        assert (await ana("POST", f"{PREFIX}/queue/release", everything)).status == 200
        assert (await ana("POST", f"{PREFIX}/queue/retry", everything)).status == 200
        await asyncio.sleep(1)
        case.house.attempts.plan.clear()
        body = {"corrections": [{"was": BOB, "to": "bill@remote.example"}]}
        corrected = await ana("POST", case.path(id, "correct"), body)
        assert corrected.status == 200, corrected
        await asyncio.sleep(1)
        assert case.house.attempts.addresses[-1] == ["bill@remote.example"]
        # The child is its sender's too.
        child = await ana("GET", f"{PREFIX}/messages/{corrected.json['child']}")
        assert child.json[0]["recipients"][0]["fate"] == "relayed"
        cancelled = await ana("POST", case.path(id, "cancel"), {"reason": "no more"})
        assert cancelled.json["counts"] == {"cancelled": 1}
        again = await ana("POST", case.path(id, "resend"), {"recipients": [DORA]})
        assert again.status == 200, again
        assert (await ana("POST", case.path(id, "cancel"))).error == "conflict"
        twice = await ana("POST", case.path(id, "resend"), {"recipients": [DORA]})
        assert twice.error == "conflict"
        await case.house.balanced()

    with_case(work)


def test_what_administration_holds_no_sender_sends() -> None:
    async def work(case: Case) -> None:
        path = case.path
        await case.root("POST", path(case.of_ana, "hold"), {"recipients": [BOB]})
        for act in ("release", "retry", "hold"):
            done = await case.ana("POST", path(case.of_ana, act), {"recipients": [BOB]})
            assert done.json["counts"] == {"unchanged": 1}, act
        body = {"corrections": [{"was": BOB, "to": "bill@remote.example"}]}
        assert (await case.ana("POST", path(case.of_ana, "correct"), body)).error == "conflict"
        done = await case.root("POST", path(case.of_ana, "release"), {"recipients": [BOB]})
        assert done.json["counts"] == {"released": 1}
        await case.root("POST", path(case.of_ana, "hold"), {"recipients": [DORA]})
        done = await case.ana("POST", path(case.of_ana, "cancel"), {"recipients": [DORA]})
        assert done.json["counts"] == {"cancelled": 1}

    with_case(work)


def test_destinations() -> None:
    async def work(case: Case) -> None:
        root = case.root
        for method, path, body in (
            ("PUT", "/suspended/Remote.example", {"reason": "they move"}),
            ("PUT", "/suspended/*", {}),
            ("PUT", "/drained/other.example", {"host": "2001:db8::1", "port": 2525}),
        ):
            answer = await root(method, f"{PREFIX}{path}", body)
            assert (answer.status, answer.json) == (204, None)
        found = (await root("GET", f"{PREFIX}/suspended")).json
        assert [(s["destination"], s["reason"], s["who"]) for s in found["suspended"]] == [
            ("*", "", "token root"),
            ("remote.example", "they move", "token root"),
        ]
        assert [(d["destination"], d["host"], d["port"]) for d in found["drained"]] == [
            ("other.example", "2001:db8::1", 2525)
        ]
        for path in ("/suspended/remote.example", "/suspended/*", "/drained/other.example"):
            assert (await root("DELETE", f"{PREFIX}{path}")).status == 204
            assert (await root("DELETE", f"{PREFIX}{path}")).error == "not-found"

    with_case(work)


def test_the_journey_is_in_the_language_that_is_asked_for() -> None:
    async def work(case: Case) -> None:
        await case.ana("POST", case.path(case.of_ana, "hold"), {"reason": "primero mirarlo"})
        path = f"{PREFIX}/messages/{queue_id(case.of_ana)}"

        async def told(language: str) -> str:
            answer = await case.ana("GET", path, accept_language=language)
            (journey,) = answer.json
            assert journey["queue_id"] == queue_id(case.of_ana)
            return "\n".join(journey["recipients"][0]["steps"][1]["lines"])

        spanish = await told("fr, de;q=0.9, es-AR;q=0.8, en;q=0.5")
        assert "retenido por ana@mx.example (token ana): primero mirarlo" in spanish
        assert "put on hold by ana@mx.example (token ana)" in await told("en;q=0.7, es;q=0.2")
        assert "on hold: primero mirarlo" in await told("")
        assert "put on hold" in await told("x;q=y, ,;q=1")

    with_case(work)


def test_who_is_not_let_in() -> None:
    async def work(case: Case) -> None:
        path = f"{PREFIX}/queue"
        nobody = Client(case.app)
        answer = await nobody("GET", path)
        assert answer.error == "unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        for shown in ("Basic eDp5", "Bearer", "Bearer ", "Bearer x y", "Bearer " + "x" * 5000):
            assert (await nobody("GET", path, authorization=shown)).error == "unauthorized"
        wrong = Client(case.app, bearers.new_token(case.house.world.dice))
        answer = await wrong("GET", path)
        assert answer.error == "unauthorized"
        assert "invalid_token" in answer.headers["www-authenticate"]
        old = await case.with_token("old", None, expires=int(case.house.world.clock.now() * 1000))
        assert (await old("GET", path)).error == "unauthorized"
        await case.house.store.run(
            lambda tx: accounts.set_account(tx, case.house.accounts["ana"].id, disabled=True)
        )
        assert (await case.ana("GET", path)).error == "unauthorized"
        await case.house.store.run(lambda tx: bearers.remove(tx, "root"))
        assert (await case.root("GET", path)).error == "unauthorized"

    with_case(work)


def test_a_token_does_not_travel_in_the_clear() -> None:
    async def work(case: Case) -> None:
        path, token = f"{PREFIX}/queue", case.root._token
        for peer, scheme, status in (
            (HERE, "http", 200),
            (("::1", 1), "http", 200),
            (("::ffff:127.0.0.1", 1), "http", 200),
            (THERE, "http", 403),
            (THERE, "https", 200),
            (("", 0), "http", 403),
        ):
            answer = await Client(case.app, token, peer)("GET", path, scheme=scheme)
            assert answer.status == status, (peer, scheme)
            if status == 403:
                assert answer.error == "tls-required"
        case.api._guard._plaintext_networks = networks(["198.51.100.0/24"])
        assert (await Client(case.app, token, THERE)("GET", path)).status == 200

    with_case(work)


def test_the_day_of_the_last_use_is_noted() -> None:
    async def work(case: Case) -> None:
        async def used() -> int:
            found = await case.house.store.read(bearers.bearers)
            return next(each.used for each in found if each.name == "eva")

        assert await used() == 0
        await case.eva("GET", f"{PREFIX}/queue")
        assert await used() == int(case.house.world.clock.now()) // 86_400

    with_case(work)


def test_who_guesses_and_who_asks_without_end_is_slowed_down() -> None:
    async def work(case: Case) -> None:
        path = f"{PREFIX}/queue"
        wrong = Client(case.app, "estafeta_guess", THERE)
        for _ in range(FAILURES_BURST):
            assert (await wrong("GET", path, scheme="https")).error == "unauthorized"
        answer = await wrong("GET", path, scheme="https")
        assert answer.error == "too-many-requests"
        # Another address is not its matter.
        assert (await case.root("GET", path)).status == 200
        await asyncio.sleep(int(answer.headers["retry-after"]))
        assert (await wrong("GET", path, scheme="https")).error == "unauthorized"
        for _ in range(REQUESTS_BURST):
            last = await case.eva("GET", path)
        assert last.status == 200
        assert (await case.eva("GET", path)).error == "too-many-requests"
        assert (await case.ana("GET", path)).status == 200

    with_case(work)


@pytest.mark.parametrize("id", ["x", "ZZZZZZZZZZZZZ", "0" * 5000, "٠" * 13, "%00", "0123456789AB."])
def test_ids_that_are_none(id: str) -> None:
    async def work(case: Case) -> None:
        for path in (f"/queue/{id}", f"/messages/{id}"):
            assert (await case.root("GET", f"{PREFIX}{path}")).error == "not-found"
        assert (await case.root("POST", f"{PREFIX}/queue/{id}/retry")).error == "not-found"

    with_case(work)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1e3",
        "limit=%D9%A1",
        "limit=" + "9" * 400,
        "limit=1&limit=2",
        "older_than=x",
        "older_than=99999999999999",
        "state=tired",
        "cause=%25",
        "cause=no_such",
        "sender=x",
        "sender=",
        "recipient=a%00b@x.example",
        "destination=a..b",
        "destination=" + "a" * 3000,
        "cursor=x",
        "cursor=ZZZZZZZZZZZZZ.0",
        "cursor=0000000000000.99999999999999999999",
        "unknown=1",
    ],
)
def test_queries_of_a_wrong_form(query: str) -> None:
    async def work(case: Case) -> None:
        assert (await case.root("GET", f"{PREFIX}/queue?{query}")).error == "invalid"

    with_case(work)


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("hold", b"{"),
        ("hold", b"\xff\xfe"),
        ("hold", b"[]"),
        ("hold", b"null"),
        ("hold", b'"x"'),
        ("hold", b'{"reason": 5}'),
        ("hold", b'{"reason": "' + b"x" * 501 + b'"}'),
        ("hold", b'{"recipients": "bob@remote.example"}'),
        ("hold", b'{"recipients": [5]}'),
        ("hold", b'{"recipients": ["no address"]}'),
        ("hold", b'{"recipients": ["\\ud800@x.example"]}'),
        ("hold", b'{"recipient": []}'),
        ("hold", b"[" * 20_000),
        ("correct", b""),
        ("correct", b'{"corrections": []}'),
        ("correct", b'{"corrections": [{"was": "bob@remote.example"}]}'),
        ("correct", b'{"corrections": [{"was": "bob@remote.example", "to": "x"}]}'),
        ("correct", b'{"corrections": [{"was": "x@y.example", "to": "z@y.example"}]}'),
        ("correct", b'{"corrections": [{"was": "bob@remote.example", "to": "no@mx.example"}]}'),
    ],
)
def test_bodies_of_a_wrong_form(act: str, body: bytes) -> None:
    async def work(case: Case) -> None:
        answer = await case.ana("POST", case.path(case.of_ana, act), raw=body)
        assert answer.error == "invalid", answer
        assert [line.split()[-1] for line in await case.house.ledger()] == ["open"] * 3

    with_case(work)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/queue/retry", {}),
        ("POST", "/queue/retry", {"all": True, "destination": "x.example"}),
        ("POST", "/queue/retry", {"destination": "a..b"}),
        ("PUT", "/suspended/a..b", {}),
        ("PUT", "/drained/x.example", {}),
        ("PUT", "/drained/x.example", {"host": "a b"}),
        ("PUT", "/drained/x.example", {"host": "mx.x.example", "port": 0}),
        ("PUT", "/drained/x.example", {"host": "mx.x.example", "port": 10**30}),
        ("PUT", "/drained/x.example", {"host": "mx.x.example", "port": 25.5}),
        ("PUT", "/drained/x.example", {"host": "mx.x.example", "port": True}),
    ],
)
def test_requests_that_cannot_be_meant(method: str, path: str, body: Any) -> None:
    async def work(case: Case) -> None:
        assert (await case.root(method, f"{PREFIX}{path}", body)).error == "invalid"

    with_case(work)


def test_bodies_have_a_size_and_a_time() -> None:
    async def work(case: Case) -> None:
        large = b" " * BODY_OCTETS_MAX
        path = case.path(case.of_ana, "hold")
        assert (await case.ana("POST", path, raw=large + b"{}")).error == "too-large"
        slow = await case.ana("POST", path, {}, pause=BODY_SECONDS_MAX + 1)
        assert slow.error == "timeout"
        # Nobody without a token is waited for.
        nobody = Client(case.app)
        assert (await nobody("POST", path, {}, pause=1e9)).error == "unauthorized"

    with_case(work)


def test_paths_and_methods_that_are_none() -> None:
    async def work(case: Case) -> None:
        assert (await case.root("GET", f"{PREFIX}/nothing")).error == "not-found"
        answer = await case.root("DELETE", f"{PREFIX}/queue")
        assert answer.error == "not-allowed"
        assert "GET" in answer.headers["allow"]
        assert (await case.root("GET", f"{PREFIX}/queue/retry")).error == "not-found"

    with_case(work)


def test_a_store_that_cannot_be_written_is_said_so() -> None:
    async def work(case: Case) -> None:
        await case.ana("GET", f"{PREFIX}/queue")
        case.house.store.failing = StoreFull("no space")
        assert (await case.ana("POST", case.path(case.of_ana, "retry"))).error == "unavailable"
        assert (await case.ana("GET", f"{PREFIX}/queue")).status == 200
        case.house.store.failing_reads = StoreFull("no store")
        assert (await case.ana("GET", f"{PREFIX}/queue")).error == "unavailable"
        case.house.store.failing = case.house.store.failing_reads = None

    with_case(work)


def test_the_table_is_whole() -> None:
    """What a path holds in braces is read, each route stands once, errors are not said twice."""
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        named = set(re.findall(r"{(\w+)}", route.path))
        assert named <= set(PATH)
        assert not named or "not-found" in route.errors, route.path
        assert (route.body is not None) == (set(WITH_BODY) <= set(route.errors)), route.path
        assert (route.returns is None) == (route.status == 204), route.path
        assert not set(route.errors) & set(EVERYWHERE)
        assert route.scope != "admin" or "forbidden" in route.errors, route.path
        assert (route.body is not None) == (route.method in ("POST", "PUT"))
