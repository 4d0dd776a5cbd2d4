"""Preflight: what is said of addresses before a message is sent, and what nobody learns by it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import BrokenExecutor
from typing import Any

import pytest
from tests.support.whole import HOST, Attempts, Whole, whole

from estafeta.compose import preflight
from estafeta.compose.by_dns import ByDns
from estafeta.compose.limits import (
    CHECK_SECONDS_MAX,
    CHECKS_BURST,
    CHECKS_SECONDS,
    LIKELY_SECONDS_MAX,
    LOOKUPS_AT_ONCE_MAX,
    RECIPIENTS_MAX,
)
from estafeta.compose.preflight import Found, Preflight, TooMany, TooOften
from estafeta.mail.outcome import Deferred, Refused, Reply
from estafeta.resolve import EgressGuard
from estafeta.sim.dns import DnsFault, DnsServer
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.store import accounts
from estafeta.store.engine import StoreFull, Tx
from estafeta.world.seams import Endpoint

pytestmark = pytest.mark.usefixtures("each_engine")

ZONES = {
    "example": '@ TXT "so that what does not exist is remembered"',
    "b.example": "@ MX 10 mx.b.example.\nmx.b.example. A 198.51.100.1",
    "correo.example": "@ A 198.51.100.2",
    "null.example": "@ MX 0 .",
    "web.example": '@ TXT "no mail here"',
    "private.example": "@ MX 10 mx.private.example.\nmx.private.example. A 10.0.0.1",
    "gmial.com": "@ MX 10 mx.gmial.com.\nmx.gmial.com. A 198.51.100.9",
    "gmail.com": "@ MX 10 mx.gmail.com.\nmx.gmail.com. A 198.51.100.10",
    "xn--pea-8ma.example": "@ MX 10 mx.b.example.",
}


class Case:
    """ana asks. dora and busy have accounts here too, at a domain that is not ana's."""

    def __init__(self, house: Whole, dns: DnsServer) -> None:
        self.house = house
        self.dns = dns
        built = house.built
        guard = EgressGuard(["198.51.100.0/24"])
        by_dns = ByDns(house.world, built.resolver, routed=lambda: {".routed.example"}, guard=guard)
        self.preflight = Preflight(
            store=house.store,
            cpu=house.world.cpu,
            failing=by_dns.failing,
            directory=built._directory,
            rates=built.receiving.buckets,
        )

    async def check(self, *recipients: str, who: str = "ana", **given: Any) -> list[Found]:
        return await self.preflight.check(self.house.accounts[who], recipients, **given)

    async def one(self, recipient: str, who: str = "ana") -> tuple[str, str, str]:
        (found,) = await self.check(recipient, who=who)
        assert found.recipient == recipient
        return found.verdict, found.cause, found.suggestion

    async def sent(self, *recipients: str, who: str = "ana") -> None:
        house = self.house
        id = await house.accept(*recipients, sender=f"{who}@{HOST}")
        account = house.accounts[who].id
        await house.store.run(
            lambda tx: tx.run(
                "UPDATE acceptance SET account = ? WHERE id = ? OR parent = ?", (account, id, id)
            )
        )


def with_case(
    work: Callable[[Case], Awaitable[None]], *, attempts: Attempts | None = None, seed: int = 7
) -> None:
    async def main() -> None:
        async with whole(attempts=attempts, seed=seed) as (house, net):

            def unit(tx: Tx) -> None:
                accounts.add_domain(tx, "dorado.example", 0)
                for name in ("dora", "busy"):
                    accounts.add_account(tx, f"{name}@dorado.example", 0)

            await house.store.run(unit)
            dns = DnsServer(ZONES)
            at = Endpoint("203.0.113.53", 53)
            serving = await dns.serve(SimNet(net.internet, [at.host]), at)
            try:
                await work(Case(house, dns))
            finally:
                await serving.close()

    run(main())


def test_what_the_dns_says() -> None:
    async def work(case: Case) -> None:
        assert await case.one("bob@b.example") == ("fine", "", "")
        assert await case.one("bob@correo.example") == ("fine", "", "")
        assert await case.one("bob@Peña.example") == ("fine", "", "")
        assert await case.one("bob@deep.routed.example") == ("fine", "", "")
        assert await case.one("bob@nowhere.example") == ("wrong", "domain-not-found", "")
        assert await case.one("bob@null.example") == ("wrong", "null-mx", "")
        assert await case.one("bob@web.example") == ("wrong", "no-mail-host", "")
        assert await case.one("bob@private.example") == ("wrong", "no-mail-host", "")
        assert await case.one("bob@[198.51.100.7]") == ("fine", "", "")
        case.dns.inject(DnsFault("SERVFAIL", "c.example"))
        assert await case.one("bob@c.example") == ("unknown", "dns-trouble", "")

    with_case(work)


NO_ADDRESSES = [
    "",
    " ",
    "bob",
    "postmaster",
    "bob@",
    "@b.example",
    "bob@b..example",
    "bob@b.example\r\nRCPT TO:<eva@mx.example>",
    "bob@b.example\0",
    "\ud800@b.example",
    "bob@" + "b" * 64 + ".example",
    "b" * 65 + "@b.example",
    "bob@" + ".".join(["b" * 60] * 5),
    "x" * 100_000 + "@b.example",
    "bob@b.example,eva@b.example",
    "Bob <bob@b.example>",
    "bob@xn--.example",
    "bob@[10.0.0.256]",
    "' OR 1=1 --",
]


def test_what_is_no_address() -> None:
    async def work(case: Case) -> None:
        for found in await case.check(*NO_ADDRESSES):
            said = (found.verdict, found.cause, found.address)
            assert said == ("wrong", "bad-address", ""), found.recipient
        assert not case.dns.log

    with_case(work)


HOSTILE = [
    "$(reboot)@b.example",
    "'; DROP TABLE account; --@b.example",
    '"a b"@b.example',
    "%s{address}@b.example",
    "ñ🙂@b.example",
    "bob@a%s.example",
    "bob@{0}.example",
    "bob@" + "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 50,
]


def test_hostile_names_are_names() -> None:
    """Each is answered, one way or another."""

    async def work(case: Case) -> None:
        found = await case.check(*HOSTILE)
        assert [each.recipient for each in found] == HOSTILE
        assert {each.verdict for each in found} == {"fine", "wrong"}

    with_case(work)


def test_likely_slips_are_named() -> None:
    async def work(case: Case) -> None:
        assert await case.one("bob@gmal.com") == (
            "wrong",
            "domain-not-found",
            "bob@gmail.com",
        )
        # It takes mail, and whoever meant the other would never know.
        assert await case.one("bob@gmial.com") == ("doubtful", "", "bob@gmail.com")
        await case.sent("bob@gmial.com", "carla@b.example")
        await case.house.settled()
        assert await case.one("bob@gmial.com") == ("fine", "", "")
        assert await case.one("carla@bb.example") == (
            "wrong",
            "domain-not-found",
            "",
        )  # too short to be told
        assert await case.one("anna@mx.example") == ("wrong", "unknown-user", "")
        await case.sent("eva@mx.example")
        assert await case.one("evaa@mx.example") == ("wrong", "unknown-user", "")

    with_case(work)


@pytest.mark.parametrize("trouble", [None, "slow", "broken"])
def test_a_long_correspondence_is_compared_elsewhere(
    monkeypatch: pytest.MonkeyPatch, trouble: str | None
) -> None:
    monkeypatch.setattr(preflight, "LIKELY_INLINE_MAX", 0)

    class Elsewhere:
        async def apart(self, work: Callable[..., Any], *given: Any) -> Any:
            if trouble == "broken":
                raise BrokenExecutor
            await asyncio.sleep(3600 if trouble else 0.01)
            return work(*given)

    async def work(case: Case) -> None:
        case.preflight._cpu = Elsewhere()  # type: ignore[assignment]
        loop = asyncio.get_running_loop()
        began = loop.time()
        meant = "" if trouble else "bob@gmail.com"
        assert await case.one("bob@gmal.com") == ("wrong", "domain-not-found", meant)
        assert loop.time() - began < LIKELY_SECONDS_MAX + 0.3

    with_case(work)


def test_the_last_outcome_is_told_to_who_wrote_and_to_nobody_else() -> None:
    gone = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.b.example")
    busy = Deferred(Reply(450, "4.2.0", "busy"), "server-busy", "mx.b.example")
    plan = {"gone@b.example": [gone], "busy@b.example": [busy], "Was@b.example": [gone]}

    async def work(case: Case) -> None:
        await case.sent("Was@b.example")
        await case.house.settled()
        await case.sent("bob@b.example", "gone@b.example", "eva@mx.example", "out@mx.example")
        await case.sent("busy@b.example")
        await asyncio.sleep(5)
        case.house.attempts.plan["was@b.example"] = []
        await case.sent("was@b.example")
        await asyncio.sleep(5)

        async def last(recipient: str, who: str = "ana") -> tuple[str, str, str] | None:
            (found,) = await case.check(recipient, who=who)
            return (
                None if found.last is None else (found.verdict, found.last.state, found.last.cause)
            )

        assert await last("bob@b.example") == ("fine", "delivered", "")
        assert await last("BOB@b.example") == ("fine", "delivered", "")
        assert await last("gone@b.example") == ("doubtful", "returned", "unknown-user")
        assert await last("busy@b.example") == ("fine", "waiting", "server-busy")
        assert await last("was@b.example") == ("fine", "delivered", "")
        assert await last("eva@mx.example") == ("fine", "delivered", "")
        assert await last("out@mx.example") == ("fine", "delivered", "")
        # What an alias stands for is nothing that ana wrote to.
        assert await last("Bob@remote.example") is None
        for each in ("bob@b.example", "gone@b.example", "busy@b.example", "eva@mx.example"):
            assert await last(each, who="eva") is None, each

    with_case(work, attempts=Attempts(plan=plan))  # type: ignore[arg-type]


def test_who_is_here_is_told_within_ones_own_domain() -> None:
    async def work(case: Case) -> None:
        assert await case.one("eva@mx.example") == ("fine", "", "")
        assert await case.one("EVA+list@mx.example") == ("fine", "", "")
        assert await case.one("team@mx.example") == ("fine", "", "")
        assert await case.one("nobody@mx.example") == ("wrong", "unknown-user", "")
        assert await case.one("luis@mx.example") == ("wrong", "mailbox-disabled", "")
        # Elsewhere, though here, nothing tells one from the other.
        assert await case.one("dora@dorado.example") == ("fine", "", "")
        assert await case.one("nobody@dorado.example") == ("fine", "", "")
        assert not case.dns.log

    with_case(work)


class _Watched:
    """A transaction that says what it was asked."""

    def __init__(self, tx: Any, seen: list[tuple[str, int]]) -> None:
        self._tx = tx
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._tx, name)

        def asked(sql: str, *rest: Any) -> Any:
            result = work(sql, *rest)
            self._seen.append((sql, len(result) if isinstance(result, list) else 0))
            return result

        return asked


def test_time_tells_nobody_of_other_domains() -> None:
    """For who is there, who is not, whom others have written to: the same work, step by step."""

    async def work(case: Case) -> None:
        await case.sent("dora@dorado.example", "busy@dorado.example", who="eva")
        await case.sent("eva@mx.example")
        inner = case.house.store.inner
        seen: list[tuple[str, int]] = []

        class Watching:
            async def read(self, unit: Any) -> Any:
                return await inner.read(lambda tx: unit(_Watched(tx, seen)))

        case.preflight._store = Watching()  # type: ignore[assignment]
        steps = []
        for local in ("dora", "nobody", "busy", "DORA", "dorá"):
            seen.clear()
            began = asyncio.get_running_loop().time()
            (found,) = await case.check(f"{local}@dorado.example")
            steps.append((list(seen), asyncio.get_running_loop().time() - began, found.verdict))
        assert len(steps[0][0]) > 3
        assert all(each == steps[0] for each in steps)
        assert not case.dns.log

    with_case(work)


def test_no_more_than_an_account_may_ask() -> None:
    async def work(case: Case) -> None:
        hundred = [f"u{n}@mx.example" for n in range(RECIPIENTS_MAX)]
        for _ in range(CHECKS_BURST // RECIPIENTS_MAX):
            assert {each.cause for each in await case.check(*hundred)} == {"unknown-user"}
        with pytest.raises(TooOften) as often:
            await case.check("eva@mx.example")
        assert 0 < often.value.seconds <= CHECKS_SECONDS / CHECKS_BURST
        # It is each account's own; and who is asked by an operator is not counted.
        assert await case.one("eva@mx.example", who="eva") == ("fine", "", "")
        assert len(await case.check("eva@mx.example", limited=False)) == 1
        await asyncio.sleep(often.value.seconds + 0.1)
        assert await case.one("eva@mx.example") == ("fine", "", "")
        with pytest.raises(TooOften):
            await case.check("eva@mx.example")

    with_case(work)


def test_no_more_than_so_many_at_once() -> None:
    async def work(case: Case) -> None:
        with pytest.raises(TooMany):
            await case.check(*[f"u{n}@b.example" for n in range(10_000)])
        assert not case.dns.log
        assert await case.check() == []
        # Nor were they counted.
        for _ in range(CHECKS_BURST // RECIPIENTS_MAX):
            await case.check(*["bob@b.example"] * RECIPIENTS_MAX)
        # The same domain is asked for once.
        assert len([each for each in case.dns.log if each.type == "MX"]) == 1

    with_case(work)


def test_a_dns_that_does_not_answer_has_one_deadline() -> None:
    async def work(case: Case) -> None:
        loop = asyncio.get_running_loop()
        case.dns.inject(DnsFault("timeout", "slow.example"))
        slow = [f"u@d{n}.slow.example" for n in range(RECIPIENTS_MAX - 1)]
        began = loop.time()
        *late, good = await case.check(*slow, "bob@b.example")
        assert loop.time() - began < CHECK_SECONDS_MAX + 0.1
        assert {(each.verdict, each.cause) for each in late} == {("unknown", "dns-trouble")}
        asked = {each.name for each in case.dns.log if each.name.endswith("slow.example")}
        assert len(asked) <= LOOKUPS_AT_ONCE_MAX
        # Who asks meanwhile waits for his turn, and for that alone.
        assert good.verdict in ("fine", "unknown")
        began = loop.time()
        assert await case.one("bob@b.example") == ("fine", "", "")
        assert loop.time() - began < 0.3

    with_case(work)


def test_a_dns_that_answers_takes_no_time() -> None:
    async def work(case: Case) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await case.check(*[f"u@d{n}.example" for n in range(RECIPIENTS_MAX)])
        assert {each.cause for each in found} == {"domain-not-found"}
        assert loop.time() - began < 0.3
        before = len(case.dns.log)
        await case.check(*[f"v@d{n}.example" for n in range(RECIPIENTS_MAX)])
        assert len(case.dns.log) == before

    with_case(work)


def test_no_other_server_is_talked_to() -> None:
    async def work(case: Case) -> None:
        dialled: list[Endpoint] = []
        real = case.house.world.net.connect

        async def connect(at: Endpoint, **given: Any) -> Any:
            dialled.append(at)
            return await real(at, **given)

        case.house.world.net.connect = connect  # type: ignore[method-assign]
        assert await case.one("bob@b.example") == ("fine", "", "")
        assert dialled == []
        assert case.house.attempts.made == []

    with_case(work)


def test_a_store_that_is_away_is_no_answer() -> None:
    async def work(case: Case) -> None:
        case.house.store.failing_reads = StoreFull("away")
        with pytest.raises(StoreFull):
            await case.check("bob@b.example")

    with_case(work)
