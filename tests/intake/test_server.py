"""Server and session: limits, stops, peers that do not read, faults of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import CLIENT, TRUSTED, Talk, Whole, whole

from estafeta.intake.limits import SEND_TIMEOUT_SECONDS
from estafeta.sim.faults import Fault
from estafeta.sim.loop import run
from estafeta.sim.net import SimNet
from estafeta.sim.quiet import quiet
from estafeta.store.engine import StoreError, StoreFull

pytestmark = pytest.mark.usefixtures("each_engine")

EVA = "eva@mx.example"
LARGE = b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 400


def with_house(
    work: Callable[[Whole, SimNet], Awaitable[Any]], *, errors: int = 0, **how: Any
) -> None:
    async def main() -> None:
        async with whole(queue=False, **how) as (house, net):
            await work(house, net)
            await house.balanced()

    with quiet() as logged:
        run(main())
    assert len(logged.lines) == errors, logged.lines


async def talk_to(house: Whole, net: SimNet, *source: str) -> Talk:
    return Talk(await house.connect(net, "mx", *source))


def test_one_client_does_not_take_the_places_of_all() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talks = [await talk_to(house, net) for _ in range(3)]
        answers = [await talk.reply() for talk in talks]
        assert [answer[:3] for answer in answers] == ["220", "220", "421"]
        assert await talks[2].reply() == ""
        assert (await (await talk_to(house, net, TRUSTED)).reply()).startswith("220")
        talks[0].stream.abort()
        await asyncio.sleep(1)
        assert (await (await talk_to(house, net)).reply()).startswith("220")

    with_house(work, connections_per_address_max=2)


def test_one_network_does_not_take_the_places_of_all() -> None:
    """However many addresses somebody has in it."""

    async def work(house: Whole, net: SimNet) -> None:
        near = [await talk_to(house, net, source) for source in (CLIENT, TRUSTED, CLIENT)]
        answers = [await talk.reply() for talk in near]
        assert [answer[:9] for answer in answers] == ["220 mx.ex", "220 mx.ex", "421 4.7.0"]
        assert "198.51.100.0/24" in answers[2]
        near[0].stream.abort()
        await asyncio.sleep(1)
        assert (await (await talk_to(house, net, TRUSTED)).reply()).startswith("220")

    with_house(work, connections_per_network_max=2)


def test_a_network_that_is_exempt_may_come_with_all_its_addresses() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talks = [await talk_to(house, net) for _ in range(5)]
        assert [(await talk.reply())[:3] for talk in talks] == ["220"] * 5

    with_house(work, connections_per_network_max=2, exempt_networks=["198.51.100.0/24"])


@pytest.mark.parametrize(
    "said",
    [
        "",
        "NOOP\r\n",
        "NOO",
        "EHLO me\r\nMAIL FROM:<>\r\n",
        f"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<{EVA}>\r\nDATA\r\nSubject: x\r\n",
        f"HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<{EVA}>\r\nBDAT 10\r\nhalf",
    ],
)
def test_who_ends_its_side_was_not_waited_for(said: str) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await talk_to(house, net)
        await talk.reply()
        talk.stream.write(said.encode())
        talk.stream.half_close()
        began = asyncio.get_running_loop().time()
        replies = []
        while reply := await talk.reply():
            replies.append(reply)
        assert asyncio.get_running_loop().time() - began < 5
        assert not [reply for reply in replies if reply.startswith(("4", "5"))]
        assert await house.ledger() == []

    with_house(work)


def test_counts_come_back_to_nothing() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        for how in ("quit", "abort", "close"):
            talk = await talk_to(house, net)
            await talk.reply()
            if how == "quit":
                await talk.say("QUIT")
                await talk.stream.close()
            elif how == "abort":
                talk.stream.abort()
            else:
                await talk.stream.close()
            await asyncio.sleep(10)
        service = house.built.doors._doors[0].sessions
        assert service.empty
        assert service._places.taken == 0  # type: ignore[attr-defined]
        assert not service._places.by_client  # type: ignore[attr-defined]

    with_house(work)


def test_a_peer_that_reads_nothing_is_sent_away() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await talk_to(house, net)
        await talk.reply()
        many = f"RCPT TO:<{EVA}>\r\n".encode() * 1000
        talk.stream.write(b"EHLO me\r\n" + (b"MAIL FROM:<>\r\n" + many + b"RSET\r\n") * 15)
        await asyncio.sleep(60)
        service = house.built.doors._doors[0].sessions
        assert len(service._sessions) == 1  # type: ignore[attr-defined]  # its replies fill all buffers
        await asyncio.sleep(SEND_TIMEOUT_SECONDS + 60)
        assert service.empty

    with_house(work)


def test_a_stop_waits_for_the_open_transaction_and_no_longer() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        idle, busy = await talk_to(house, net), await talk_to(house, net)
        await idle.reply()
        await busy.begin()
        await busy.say("MAIL FROM:<bob@b.example>")
        stopping = asyncio.create_task(house.built.doors.stop())
        assert (await idle.reply()).startswith("421")
        assert (await busy.say(f"RCPT TO:<{EVA}>")).startswith("250")
        assert (await busy.say("DATA")).startswith("354")
        assert not stopping.done()
        assert (await busy.say("\r\n.")).startswith("250")
        assert (await busy.reply()).startswith("421")
        await busy.stream.close()
        await idle.stream.close()
        await stopping

    with_house(work)


def test_a_stop_that_cannot_wait_says_421_to_all() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        busy = await talk_to(house, net)
        await busy.begin()
        await busy.say("MAIL FROM:<bob@b.example>")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await house.built.doors.stop()
        assert (await busy.reply()).startswith("421")
        assert await house.ledger() == []

    with_house(work)


@pytest.mark.parametrize("commands", [5, 500])
def test_a_stop_begins_nothing_that_was_pipelined(commands: int) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await talk_to(house, net)
        await talk.begin()
        await talk.say("MAIL FROM:<bob@b.example>")
        await house.built.doors.drain()
        one = f"RCPT TO:<{EVA}>\r\nBDAT 0 LAST\r\nMAIL FROM:<bob@b.example>\r\n".encode()
        talk.stream.write(one * commands)
        answers = [await talk.reply() for _ in range(3)]
        assert [answer[:3] for answer in answers] == ["250", "250", "421"]
        assert await house.ledger() == [f"smtp <bob@b.example> {EVA} stored"]

    with_house(work)


@pytest.mark.parametrize(
    ("fault", "left"), [(StoreFull("no space"), 0), (StoreError("the answer was lost"), 1)]
)
def test_a_file_stays_only_where_something_may_refer_to_it(fault: StoreError, left: int) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await talk_to(house, net)
        await talk.begin()
        house.store.failing = fault
        assert (await talk.hand("bob@b.example", [EVA], LARGE)).startswith("45")
        assert len(files(house)) == left
        house.store.failing = None
        assert (await talk.hand("bob@b.example", [EVA], LARGE)).startswith("250")
        assert len(files(house)) == left + 1
        assert (await house.inbox("eva"))[0].endswith(LARGE)

    with_house(work)


@pytest.mark.parametrize("end", ["RSET", "abort", "wait"])
def test_no_file_stays_of_a_message_that_was_not_finished(end: str) -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await talk_to(house, net)
        await talk.begin()
        await talk.say("MAIL FROM:<bob@b.example>")
        await talk.say(f"RCPT TO:<{EVA}>")
        talk.stream.write(f"BDAT {len(LARGE)}\r\n".encode() + LARGE)
        assert (await talk.reply()).startswith("250")
        assert len(files(house)) == 1
        if end == "RSET":
            await talk.say("RSET")
        elif end == "abort":
            talk.stream.abort()
        await asyncio.sleep(1 if end != "wait" else 700)
        assert files(house) == []
        assert await house.ledger() == []

    with_house(work)


@pytest.mark.parametrize("end", ["reset", "fin"])
@pytest.mark.parametrize("listener", ["mx", "submissions"])
def test_cut_before_the_last_octet_is_no_message(end: Any, listener: str) -> None:
    """Under TLS an end without close_notify is a cut, whatever came before it."""

    async def work(house: Whole, net: SimNet) -> None:
        cut = Fault("cut", direction="to", match=b"\r\n.\r\n", before=True, end=end)
        net.internet.inject(cut)
        talk = Talk(await house.connect(net, listener))
        login = "ana@mx.example" if listener == "submissions" else ""
        await talk.begin(tls=bool(login), login=login)
        with pytest.raises(ConnectionError):
            await talk.hand("ana@mx.example", [EVA], b"From: ana@mx.example\r\n" + LARGE)
        await asyncio.sleep(1)
        assert cut.hits == 1
        assert await house.ledger() == []
        assert files(house) == []

    with_house(work)


def files(house: Whole) -> list[str]:
    disk = house.world.disk
    try:
        return [
            f"{name}/{each}" for name in disk.list("bodies") for each in disk.list(f"bodies/{name}")
        ]
    except FileNotFoundError:
        return []


def test_a_fault_of_ours_is_answered_and_ends_one_session() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk, other = await talk_to(house, net), await talk_to(house, net)
        await talk.begin()
        await other.begin()
        read = house.store.read

        async def broken(unit: Any) -> Any:
            raise ZeroDivisionError

        await talk.say("MAIL FROM:<bob@b.example>")
        house.store.read = broken  # type: ignore[method-assign]
        assert (await talk.say(f"RCPT TO:<{EVA}>")).startswith("421 4.3.0")
        assert await talk.reply() == ""
        house.store.read = read  # type: ignore[method-assign]
        assert (await other.hand("bob@b.example", [EVA], b"")).startswith("250")

    with_house(work, errors=1)


def test_a_fault_of_ours_at_the_end_of_a_message() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        talk = await talk_to(house, net)
        await talk.begin()

        def broken() -> None:
            raise ZeroDivisionError

        house.store.before = broken
        assert (await talk.hand("bob@b.example", [EVA], b"")).startswith("451 4.3.0")
        house.store.before = None
        assert (await talk.hand("bob@b.example", [EVA], b"")).startswith("250")

    with_house(work, errors=1)


@pytest.mark.parametrize(("piece", "ends"), [(b"x", True), (b"NOOP\r\n", False)])
def test_a_command_that_drips_in_does_not_keep_its_place(piece: bytes, ends: bool) -> None:
    """One octet every four minutes is within the time-out of each read, not of the command."""

    async def work(house: Whole, net: SimNet) -> None:
        talk = await talk_to(house, net)
        await talk.reply()
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            await asyncio.sleep(240)
            talk.stream.write(piece)
        answer = await talk.reply()
        if ends:
            assert answer.startswith("421 4.4.2")
            assert asyncio.get_running_loop().time() - began < 1000
        else:
            assert answer == "250 2.0.0 OK"
            talk.stream.abort()

    with_house(work)


def test_a_reload_gives_nobody_a_second_place() -> None:
    async def work(house: Whole, net: SimNet) -> None:
        first = await talk_to(house, net)
        assert (await first.reply()).startswith("220")
        house.built.reconfigure(house.built.config, house.built.outside)
        assert (await (await talk_to(house, net)).reply()).startswith("421 4.7.0")
        # Who was in goes on, and its place is free when it has gone.
        assert await first.say("NOOP") == "250 2.0.0 OK"
        first.stream.abort()
        await asyncio.sleep(1)
        assert (await (await talk_to(house, net)).reply()).startswith("220")

    with_house(work, connections_per_address_max=1)
