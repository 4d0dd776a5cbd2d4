"""The checkers and the observer by themselves: each sees what it is there for, and nothing else."""

from __future__ import annotations

import asyncio
import random

from estafeta.sim.checkers import Evidence, check_all, places
from estafeta.sim.letters import Letter, failed_recipients, write_letter
from estafeta.sim.loop import run
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.observer import Asked, Handover, Observer
from estafeta.sim.peers import Manner, Peer, Taken
from estafeta.world.seams import Endpoint

ANA, CORREO, SUDOMINIO = "ana@sudominio.example", "198.51.100.2", "198.51.100.1"
PEER = "r1.0@accept.example"
CLIENT = "203.0.113.10"


def letter(*recipients: str, sender: str = ANA) -> Letter:
    made = write_letter(1, sender, recipients, "sudominio", 587, random.Random(1))
    made.acknowledged = set(recipients)
    made.acknowledged_at = 10.0
    return made


def stored(made: Letter) -> bytes:
    return b"Return-Path: <x@y>\r\nDelivered-To: z\r\nReceived: from a\r\n" + made.octets


def judge(
    made: Letter,
    *,
    ana: list[bytes] | None = None,
    taken: list[bytes] | None = None,
    handovers: list[Handover] | None = None,
    asked: list[Asked] | None = None,
    deaths: tuple[float, ...] = (),
    pauses: tuple[tuple[float, float], ...] = (),
) -> list[str]:
    peer = Peer("accept.example", SimNet(Internet(random.Random(1)), ["192.0.2.10"]), Manner(), _D)
    for octets in taken or []:
        peer.taken.append(Taken(20.0, SUDOMINIO, ANA, (PEER,), octets, 1, True))
    observer = Observer()
    observer.handovers = handovers or []
    observer.asked = asked or []
    boxes = {ANA: ana or []}
    died = {"sudominio": list(deaths), "correo": []}
    return check_all(Evidence([made], observer, [peer], boxes, died, pauses={"sudominio": pauses}))


_D = random.Random(1)


def relayed(**how: object) -> Handover:
    given: dict[str, object] = {"code": 250, "replied_at": 20.1, **how}
    return Handover(20.0, SUDOMINIO, "192.0.2.10", 25, ANA, 1, (PEER,), **given)  # type: ignore[arg-type]


def test_a_message_that_arrived_or_vanished() -> None:
    made = letter(ANA)
    assert judge(made, ana=[stored(made)]) == []
    assert "vanished" in judge(made)[0]
    made.acknowledged.clear()
    assert judge(made) == []


def test_a_second_copy_and_its_excuses() -> None:
    made = letter(PEER)
    twice = [b"Received: from a\r\n" + made.octets] * 2
    assert "2 times" in judge(made, taken=twice, handovers=[relayed(), relayed()])[0]
    lost = relayed(code=0, replied_at=None)
    assert judge(made, taken=twice, handovers=[lost, relayed()]) == []
    both = [relayed(), relayed()]
    assert judge(made, taken=twice, handovers=both, deaths=(20.5,)) == []
    # Stopped when the answer came, and dead before it went on: it may not have noted it.
    assert "2 times" in judge(made, taken=twice, handovers=both, deaths=(90.0,))[0]
    stopped = ((20.05, 110.0),)
    assert judge(made, taken=twice, handovers=both, deaths=(90.0,), pauses=stopped) == []
    assert judge(made, taken=twice, handovers=[relayed(), relayed()], deaths=(90.0,))


def test_octets_that_changed() -> None:
    made = letter(ANA)
    assert "arrived changed" in judge(made, ana=[stored(made)[:-3] + b"\r\n"])[0]
    split = stored(made).replace(b"Delivered-To", b"\r\nDelivered-To")
    assert judge(made, ana=[split])
    assert "has b''" in judge(made, ana=[made.octets])[0]


def test_somebody_elses_letter() -> None:
    made = letter(PEER)
    found = judge(made, ana=[stored(made)], taken=[b"Received: from a\r\n" + made.octets])
    assert found == [f"letter 1 came to {ANA}, for whom it was not"]


def report(to: str, age: int) -> bytes:
    return (
        "Return-Path: <>\r\nContent-Type: multipart/report\r\n\r\n--b\r\n"
        "\r\nReporting-MTA: dns; mx\r\nArrival-Date: Sun, 15 Jun 2025 15:00:00 +0000\r\n\r\n"
        f"Final-Recipient: rfc822; {to}\r\nAction: failed\r\n"
        f"Last-Attempt-Date: Sun, 15 Jun 2025 15:{age // 60:02}:00 +0000\r\n\r\n--b\r\n"
        "X-Letter: 1\r\n\r\n"
    ).encode()


def test_a_bounce_needs_a_reason_and_the_truth() -> None:
    made = letter(PEER)
    old, young = report(PEER, 2400), report(PEER, 120)
    assert failed_recipients(old) == [(PEER, 2400.0)]
    assert judge(made, ana=[old]) == []
    assert "nobody had refused it" in judge(made, ana=[young])[0]
    refused = Asked(20.0, SUDOMINIO, "192.0.2.10", PEER, 550, 20.1)
    assert judge(made, ana=[young], asked=[refused]) == []
    arrived = [b"Received: from a\r\n" + made.octets]
    assert "arrived" in judge(made, ana=[old], taken=arrived, handovers=[relayed()])[0]


def test_the_plan() -> None:
    made = letter(PEER)
    taken = [b"Received: from a\r\n" + made.octets]

    def tries(code: int, gap: float) -> list[str]:
        first = Asked(20.0, SUDOMINIO, "192.0.2.10", PEER, code, 20.1)
        second = Asked(20.1 + gap, SUDOMINIO, "192.0.2.10", PEER, 250, 30.1 + gap)
        return judge(made, taken=taken, asked=[first, second])

    assert tries(451, 60.0) == []
    assert "was deferred" in tries(451, 30.0)[0]
    assert "was refused" in tries(550, 600.0)[0]
    assert "accepted at 10" in tries(451, 4000.0)[0]


def test_aliases_lead_to_their_targets() -> None:
    assert places("team+3@correo.example") == (
        "emma@correo.example",
        "oliver@correo.example",
        ANA,
    )
    assert places("nobody@sudominio.example") == ()
    assert places(PEER) == (PEER,)


def test_the_observer_understands_a_conversation_in_pieces() -> None:
    client, server = Endpoint(CLIENT, 4000), Endpoint(CORREO, 25)
    said = [
        (server, b"220-mx\r\n220 mx\r\n"),
        (client, b"EHLO x\r\n"),
        (server, b"250-mx\r\n250 STARTTLS\r\n"),
        (client, b"STARTTLS\r\n"),
        (server, b"220 go\r\n"),
        (client, b"\x16sim-tls client mx\nEHLO x\r\n"),
        (server, b"\x16sim-tls server mx sim\n250 mx\r\n"),
        (client, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n"),
        (server, b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"),
        (client, b"X-Letter: 7\r\n\r\n..\r\n.\r\nQUIT\r\n"),
        (server, b"250 taken\r\n221 bye\r\n"),
    ]

    async def main() -> Observer:
        observer = Observer()
        refused = asyncio.ensure_future(observer.next("refused", [CLIENT]))
        await asyncio.sleep(0)
        for source, octets in said:
            to = server if source is client else client
            for n in range(len(octets)):
                observer.tap(source, to, octets[n : n + 1])
        await refused
        return observer

    observer = run(main())
    (handover,) = observer.handovers
    assert (handover.sender, handover.letter, handover.recipients) == ("a@b", 7, ("c@d",))
    assert (handover.code, handover.port) == (250, 25)
    assert [(asked.address, asked.code) for asked in observer.asked] == [("c@d", 250), ("e@f", 550)]
