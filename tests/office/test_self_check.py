"""Self-check: mail held for a fault of our own goes on when that is mended, or returns in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from typing import Any

import dns.rdata
import msgspec
import pytest
from tests.support.whole import Attempts, Whole, whole

from estafeta.explain.faults import Checked, faults
from estafeta.explain.words import LANGUAGES
from estafeta.mail.dates import parse_date
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Delivered, Outcome, Refused, Reply
from estafeta.mail.protocols import NoMeter
from estafeta.office import fault_notice
from estafeta.office.config import Relay
from estafeta.office.http import make_app
from estafeta.office.limits import SELF_CHECK_LOOK_SECONDS
from estafeta.office.self_check import SelfCheck, remarks
from estafeta.office.self_checks import check_fault, own_addresses
from estafeta.queue.notices import NoticeSettings
from estafeta.queue.parked import Parking, Untold
from estafeta.resolve import Found, NameNotFound
from estafeta.resolve.answer import Answer
from estafeta.sim.loop import run
from estafeta.sim.quiet import quiet

pytestmark = pytest.mark.usefixtures("each_engine")

BOB, CARL = "bob@remote.example", "carl@remote.example"
HOST = "mx.remote.example [203.0.113.1]:25"
OURS = "8.8.4.4"
PTR = "4.4.8.8.in-addr.arpa"
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), HOST)
NO_PTR = Refused(
    Reply(550, "5.7.25", f"cannot find your reverse hostname, [{OURS}]"), "no-reverse-dns", HOST
)
HOUR = 3600.0
CHECK = 600.0  # the usual setting


class Dns:
    """In place of the resolver. records: (name, type) -> texts."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.asked: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> Answer:
        self.asked.append((name, rdtype))
        texts = self.records.get((name, rdtype))
        if texts is None:
            return NameNotFound(0.0, False, "dns")
        records = tuple(dns.rdata.from_text("IN", rdtype, text) for text in texts)
        return Found(records, 60.0, False, name, (), "dns")

    def mend(self) -> None:
        self.records[PTR, "PTR"] = ["mx.example."]
        self.records["mx.example", "A"] = [OURS]


class Scene:
    def __init__(self, house: Whole) -> None:
        self.house = house
        self.dns = Dns()
        house.built.resolver.query = self.dns.query  # type: ignore[method-assign]
        self.checks = [SelfCheck(house.built, NoMeter())]

    @property
    def tries(self) -> int:
        return len(self.house.attempts.made)

    async def held(self) -> list[str]:
        rows = await self.house.store.read(
            lambda tx: tx.rows("SELECT held FROM queue ORDER BY acceptance, n")
        )
        return [held for (held,) in rows]

    async def told(self) -> list[Any]:
        """What the postmaster got about faults."""
        found = [
            message_from_bytes(m, policy=policy.default) for m in await self.house.inbox("eva")
        ]
        return [each for each in found if "held" in str(each["Subject"])]

    async def restart(self) -> None:
        for each in self.checks:
            await each.stop()
        self.checks = [SelfCheck(self.house.built, NoMeter()) for _ in self.checks]
        for each in self.checks:
            await each.start()


def play(
    work: Callable[[Scene], Awaitable[None]],
    *answers: Outcome,
    workers: int = 1,
    errors: bool = False,
    **how: Any,
) -> None:
    async def main() -> None:
        attempts = Attempts(plan={BOB: list(answers), CARL: list(answers)})
        async with whole(attempts=attempts, **how) as (house, _):
            scene = Scene(house)
            scene.checks *= workers
            await asyncio.sleep(0.1)  # the queue's runner has begun
            await scene.restart()
            try:
                await work(scene)
            finally:
                for each in scene.checks:
                    await each.stop()
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert bool(logged.lines) is errors, logged.lines


def test_held_told_checked_released_and_delivered() -> None:
    async def work(scene: Scene) -> None:
        house = scene.house
        await house.accept(BOB, CARL)
        await asyncio.sleep(SELF_CHECK_LOOK_SECONDS + 1)
        assert await scene.held() == [f"our own fault: reverse-dns {OURS}"] * 2
        assert [line.split()[-1] for line in await house.ledger()][:2] == ["open", "open"]
        [notice] = await scene.told()
        assert notice["To"] == "eva@mx.example"
        assert notice["Auto-Submitted"] == "auto-generated"
        text = " ".join(notice.get_content().split())
        for words in (OURS, "remote.example", "(2 so far)", "no PTR record", NO_PTR.reply.text):
            assert words in text
        said = await remarks(house.store)["own-faults"]()  # type: ignore[arg-type]
        assert said.startswith("2 held: The reverse DNS")
        await asyncio.sleep(2 * CHECK)
        assert scene.tries == 1
        scene.dns.mend()
        await asyncio.sleep(CHECK + SELF_CHECK_LOOK_SECONDS)
        assert await scene.held() == []
        assert [line.split()[-1] for line in await house.ledger()][:2] == ["relayed", "relayed"]
        assert (await house.events())[-2:] == ["unparked", "attempt"]
        assert len(await scene.told()) == 1
        await asyncio.sleep(SELF_CHECK_LOOK_SECONDS)
        assert await remarks(house.store)["own-faults"]() == ""  # type: ignore[arg-type]

    play(work, NO_PTR, TAKEN)


def test_what_is_not_mended_is_returned_in_time_and_without_another_attempt() -> None:
    async def work(scene: Scene) -> None:
        house = scene.house
        await house.accept(BOB)
        await asyncio.sleep(HOUR - 60)
        assert len(await scene.held()) == 1
        await asyncio.sleep(120)
        assert await scene.held() == []
        assert scene.tries == 1
        ledger = await house.ledger()
        assert ledger[0] == f"submission <ana@mx.example> {BOB} returned"
        bounces = [m for m in await house.inbox("ana") if b"Action: failed" in m]
        assert len(bounces) == 1
        assert b"5.7.25" in bounces[0]
        assert (await house.events())[-1] == "unparked"

    play(work, NO_PTR, park_max=HOUR)


def test_refused_again_in_spite_of_a_good_check_it_is_asked_ever_more_rarely() -> None:
    """The other side may remember for a while what it knew; it is not to be pestered."""

    async def work(scene: Scene) -> None:
        scene.dns.mend()
        await scene.house.accept(BOB)
        await asyncio.sleep(HOUR)
        assert scene.tries == 4  # at once, checked, and after 10 and 20 minutes
        await asyncio.sleep(HOUR)
        assert scene.tries == 5  # 40 minutes
        await asyncio.sleep(60)
        assert (await scene.house.ledger())[0].endswith("returned")

    play(work, NO_PTR, park_max=2 * HOUR)


def test_each_fault_is_told_once_also_by_several_workers_and_after_a_restart() -> None:
    async def work(scene: Scene) -> None:
        await scene.house.accept(BOB)
        await asyncio.sleep(CHECK)
        assert len(await scene.told()) == 1
        await scene.restart()
        await scene.house.accept(CARL)
        await asyncio.sleep(CHECK)
        assert len(await scene.held()) == 2
        assert len(await scene.told()) == 1
        asked = len(scene.dns.asked)
        await asyncio.sleep(10 * CHECK)
        assert 9 <= len(scene.dns.asked) - asked <= 11  # one of them checks
        scene.dns.mend()
        await asyncio.sleep(CHECK + SELF_CHECK_LOOK_SECONDS)
        assert await scene.held() == []

    play(work, NO_PTR, TAKEN, workers=3)


def test_the_sender_is_told_that_it_waits_and_for_how_long_at_most() -> None:
    async def work(scene: Scene) -> None:
        house = scene.house
        house.built._notices.settings = NoticeSettings(delay_after=600.0)
        began = house.world.clock.now()
        await house.accept(BOB, Recipient(CARL, frozenset({"FAILURE"})))
        await asyncio.sleep(700)
        [told] = await house.inbox("ana")
        [status] = [
            part.get_payload()
            for part in message_from_bytes(told, policy=policy.default).walk()
            if part.get_content_type() == "message/delivery-status"
        ]
        [about] = [each for each in status if each["Final-Recipient"]]
        assert (about["Final-Recipient"], about["Action"]) == (f"rfc822; {BOB}", "delayed")
        assert about["Status"] == "4.7.25"
        until = parse_date(about["Will-Retry-Until"]) or 0
        assert abs(until - began - 2 * HOUR) < 5

    play(work, NO_PTR, park_max=2 * HOUR)


def test_health_tells_of_it_and_is_well_all_the_same() -> None:
    async def work(scene: Scene) -> None:
        house = scene.house
        app = make_app({}, remarks=remarks(house.store))
        assert "remarks" not in await healthz(app)
        await house.accept(BOB)
        await asyncio.sleep(SELF_CHECK_LOOK_SECONDS + 1)
        body = await healthz(app)
        assert body["ok"] is True
        assert body["remarks"]["own-faults"] == (
            f"1 held: The reverse DNS of our server is not in order ({OURS} has no name (no PTR"
            " record))"
        )

    play(work, NO_PTR)


async def healthz(app: Any) -> dict[str, Any]:
    """The page, asked without a socket; a status other than 200 is an error."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "headers": [],
        "query_string": b"",
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 200
    body: dict[str, Any] = msgspec.json.decode(sent[1]["body"])
    return body


def test_a_check_with_a_bug_keeps_neither_others_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: Any) -> Checked:
        raise ZeroDivisionError

    monkeypatch.setattr("estafeta.office.self_checks.reverse_dns", broken)

    async def work(scene: Scene) -> None:
        await scene.house.accept(BOB)
        await asyncio.sleep(SELF_CHECK_LOOK_SECONDS + 1)
        assert len(await scene.told()) == 1
        await asyncio.sleep(HOUR + 60)
        assert (await scene.house.ledger())[0].endswith("returned")

    play(work, NO_PTR, park_max=HOUR, errors=True)


def test_switched_off_it_is_returned_at_once() -> None:
    async def work(scene: Scene) -> None:
        await scene.house.accept(BOB)
        await asyncio.sleep(1)
        assert (await scene.house.ledger())[0].endswith("returned")
        assert await scene.told() == []

    play(work, NO_PTR, park_max=0.0)


def test_a_reload_switches_it_off_and_what_is_held_stays() -> None:
    async def work(scene: Scene) -> None:
        house = scene.house
        await house.accept(BOB)
        await asyncio.sleep(1)
        queue = msgspec.structs.replace(house.built.config.queue, park_max=0.0)
        fresh = msgspec.structs.replace(house.built.config, queue=queue)
        house.built.reconfigure(fresh, house.built.outside)
        await house.accept(CARL)
        await asyncio.sleep(1)
        first, second, *_ = await house.ledger()
        assert first.endswith("open")
        assert second.endswith("returned")
        scene.dns.mend()
        await asyncio.sleep(SELF_CHECK_LOOK_SECONDS)
        assert scene.tries == 3

    play(work, NO_PTR)


def test_an_operator_may_send_it_on() -> None:
    async def work(scene: Scene) -> None:
        house = scene.house
        await house.accept(BOB)
        await asyncio.sleep(CHECK)

        def release(tx: Any) -> None:
            now = int(house.world.clock.now() * 1000)
            tx.run("UPDATE queue SET held = '', due = ?", (now,))
            tx.run("UPDATE destination SET due = ?", (now,))

        await house.store.run(release)
        await asyncio.sleep(30)
        assert scene.tries == 2
        assert (await house.ledger())[0].endswith("relayed")

    play(work, NO_PTR, TAKEN)


def test_a_null_reverse_path_and_notify_never_wait_likewise() -> None:
    async def work(scene: Scene) -> None:
        never = Recipient(BOB, frozenset({"NEVER"}))
        await scene.house.accept(never)
        await scene.house.accept(CARL, sender="")
        await asyncio.sleep(HOUR - 60)
        assert len(await scene.held()) == 2
        await asyncio.sleep(120)
        first, *_ = await scene.house.ledger()
        assert first.endswith("dropped notify-never")
        assert await scene.held() == []
        assert scene.tries == 2

    play(work, NO_PTR, park_max=HOUR)


# The message to the administrator, the checks ---------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", list(faults()))
@pytest.mark.parametrize("holds", [True, False, None])
def test_the_notice_in_words(language: str, code: str, holds: bool | None) -> None:
    what = Untold(Parking(code, "", "b.example"), 3, 7_200_000, 1, NO_PTR)
    finding = Checked(holds, "no-ptr", {"address": OURS})
    subject, text = fault_notice.in_words(what, finding, language, now=0, interval=600)
    words = faults()[code].in_words(language)
    flat = " ".join(text.split())
    assert words.title in subject
    assert words.remedy in flat
    assert finding.in_words(language) in flat
    assert ("10 minut" in flat) is (holds is not None)
    assert "{" not in text
    assert max(map(len, text.splitlines())) <= 76


def checked(
    code: str, about: str, *, prepare: Callable[[Scene], None] = lambda _: None
) -> tuple[bool | None, str]:
    found: list[Checked] = []

    async def work(scene: Scene) -> None:
        prepare(scene)
        found.append(await check_fault(scene.house.built, faults()[code], about))

    play(work)
    assert "{" not in found[0].in_words("es")
    return found[0].holds, found[0].what


def mended(scene: Scene) -> None:
    scene.dns.mend()
    scene.dns.records["a.example", "MX"] = ["10 mx.example."]
    scene.dns.records["a.example", "TXT"] = [f'"v=spf1 ip4:{OURS} -all"']


@pytest.mark.parametrize(
    ("code", "about", "before", "after"),
    [
        ("reverse-dns", OURS, "no-ptr", "reverse-holds"),
        ("reverse-dns", "", None, "reverse-holds"),  # by the name: behind a translation
        ("greeting", OURS, "greeting-nowhere", "greeting-holds"),
        ("sender-domain", "a.example", "sender-nowhere", "sender-found"),
        ("sender-dns", f"a.example {OURS}", "spf-missing", "spf-passes"),
        ("sender-dns", "a.example", None, "spf-passes"),
        ("sender-dns", "", None, "spf-missing"),  # of a bounce: by the name we greet with
        ("sender-domain", "", "sender-nowhere", "sender-found"),
    ],
)
def test_how_each_fault_is_looked_for(code: str, about: str, before: str, after: str) -> None:
    if before is None:
        assert checked(code, about) == (None, "address-unknown")
    else:
        assert checked(code, about) == (False, before)
    assert checked(code, about, prepare=mended) == (after != "spf-missing", after)


def test_block_lists_are_asked_where_the_reply_names_one() -> None:
    zone = "zen.spamhaus.org"

    def listed(scene: Scene) -> None:
        scene.dns.records[f"4.4.8.8.{zone}", "A"] = ["127.0.0.2"]

    assert checked("block-list", f"{OURS} {zone}", prepare=listed) == (False, "listed")
    assert checked("block-list", f"{OURS} {zone}") == (True, "not-listed")
    assert checked("block-list", OURS) == (None, "list-unknown")


def test_encryption_is_tried_at_our_own_listener() -> None:
    def clear(scene: Scene) -> None:
        built = scene.house.built
        built.config = msgspec.structs.replace(built.config, relay=Relay(tls="none"))

    def shut(scene: Scene) -> None:
        built = scene.house.built
        listeners = [msgspec.structs.replace(each, port=26) for each in built.config.listener]
        built.config = msgspec.structs.replace(built.config, listener=listeners)

    def none(scene: Scene) -> None:
        built = scene.house.built
        built.config = msgspec.structs.replace(built.config, listener=[])

    assert checked("tls", "") == (True, "tls-holds")
    assert checked("tls", "", prepare=clear) == (False, "tls-off")
    assert checked("tls", "", prepare=shut) == (False, "tls-broken")
    assert checked("tls", "", prepare=none) == (True, "tls-unused")


def test_our_addresses() -> None:
    async def work(scene: Scene) -> None:
        built = scene.house.built
        scene.dns.mend()
        assert list(await own_addresses(built)) == [OURS]  # what the DNS says of our name
        built.outside = msgspec.structs.replace(
            built.outside, own_addresses=("127.0.0.1", "10.0.0.1", "192.0.2.1")
        )
        assert list(await own_addresses(built)) == ["192.0.2.1"]
        built.config = msgspec.structs.replace(
            built.config, relay=Relay(source_ipv4="192.0.2.9", source_ipv6="2001:db8::9")
        )
        assert list(await own_addresses(built)) == ["192.0.2.9", "2001:db8::9"]

    play(work)
