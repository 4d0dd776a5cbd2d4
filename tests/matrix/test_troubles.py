"""We are the client, and the foreign server does not take the message, or not yet.

What it refuses, and with which words, is its own configuration; what came of it is read from our
ledger, from the report that came back, and from its mailbox.
"""

from __future__ import annotations

import json
import time
from email import message_from_bytes
from email.policy import default
from typing import Any

from tests.matrix.conftest import Cell
from tests.matrix.house import ANA
from tests.matrix.messages import film
from tests.matrix.stand import BUSY, CLOSED, FULL, GREY, RATE, REFUSAL, Stand, with_text
from tests.support.peers.letters import letter
from tests.support.peers.server import Direction, Feature

from estafeta.explain.causes import cause

DIRECTION = Direction.RECEIVES

GREYLIST_S = 2


def returned(stand: Stand, mark: str, recipient: str) -> dict[str, Any]:
    """What the report that came back says of the recipient; its text says it in words too, and the
    part of RFC 3464 that it is over."""
    assert stand.house.wait_fates(mark, [recipient]) == {recipient: "returned"}
    raw = stand.house.wait_letters_with(ANA, f"<{mark}@letters.example>")[-1]
    report = message_from_bytes(raw, policy=default)
    assert report.get_content_type() == "multipart/report"
    parts = {part.get_content_type(): part for part in report.walk()}
    [told] = json.loads(parts["application/json"].get_content())["recipients"]
    about_it = parts["message/delivery-status"].get_payload()[-1]
    assert about_it["Action"] == "failed"
    assert about_it["Status"] == f"5{told['status'][1:]}"
    assert about_it["X-Estafeta-Cause"] == told["cause"]
    words = cause(told["cause"]).in_words("en", address=recipient)
    texts = [part for part in report.walk() if part.get_content_type() == "text/plain"]
    text = " ".join(texts[0].get_content().split())
    assert words.title in text
    assert words.remedy in text or words.returned in text
    assert " ".join(told["remote_text"].split()) in text
    found: dict[str, Any] = told
    return found


def arrives_later(stand: Stand, name: str, reply: str, cause_code: str) -> float:
    """It waits while the server answers with that, and arrives once it does not. Returns seconds
    from the refusal to the arrival."""
    recipient = f"eva@{name}"
    mark = f"t-{name.partition('.')[0]}"
    message = letter(ANA, recipient, mark)
    with stand.start(name, stand.troubled(name, reply)):
        stand.house.submit(message, ANA, [recipient])
        said = stand.house.wait_waiting(mark, recipient)
        refused = time.monotonic()
        assert reply[:3] in said, said
        [way] = [way for one in stand.house.journeys(mark) for way in one.recipients]
        assert way.cause == cause_code, way.cause
    with stand.start(name, stand.troubled(name)) as peer:
        assert stand.house.wait_fates(mark, [recipient]) == {recipient: "relayed"}
        [copy] = peer.wait_received(recipient)
        stand.same(message, copy)
    return time.monotonic() - refused


def test_busy(stand: Stand, cell: Cell) -> None:
    with cell(Feature.BUSY):
        reply = "421 4.3.2 Too busy, come back later"
        arrives_later(stand, BUSY, reply, "server-busy")


def test_greylisted(stand: Stand, cell: Cell) -> None:
    with cell(Feature.GREYLISTED):
        reply = f"451 4.7.1 Greylisted, please try again in {GREYLIST_S} seconds"
        took = arrives_later(stand, GREY, reply, "greylisted")
        assert took >= GREYLIST_S - 1  # it was seen to wait a moment after the refusal


def test_rate(stand: Stand, cell: Cell) -> None:
    with cell(Feature.RATE):
        reply = "450 4.7.28 Too many messages from your network, slow down"
        arrives_later(stand, RATE, reply, "rate-limited")


def test_full(stand: Stand, cell: Cell) -> None:
    with cell(Feature.FULL):
        recipient = f"eva@{FULL}"
        with stand.start(FULL, stand.troubled(FULL, "452 4.2.2 Mailbox full")):
            stand.house.submit(letter(ANA, recipient, "t-full"), ANA, [recipient])
            told = returned(stand, "t-full", recipient)
        assert (told["cause"], told["hard"]) == ("mailbox-full", False)
        assert (told["status"], told["permanent"]) == ("4.2.2", False)  # as the server said
        assert told["reply_code"] == 452
        attempts = stand.house.said("t-full").count("452 4.2.2")
        assert attempts >= stand.house.retries(FULL) + 1, stand.house.said("t-full")


def test_forbidden(stand: Stand, cell: Cell) -> None:
    with cell(Feature.FORBIDDEN):
        recipient = f"eva@{CLOSED}"
        plain = letter(ANA, recipient, "t-plain")
        with stand.start(CLOSED, stand.troubled(CLOSED, forbidden=".mov")) as peer:
            stand.house.submit(film(ANA, recipient, "t-film"), ANA, [recipient])
            stand.house.submit(plain, ANA, [recipient])
            told = returned(stand, "t-film", recipient)
            [copy] = with_text(peer, recipient, b"<t-plain@letters.example>")
            stand.same(plain, copy)
            assert len(peer.received(recipient)) == 1
        assert (told["cause"], told["hard"]) == ("policy-attachment", False)


def test_refused_otherwise(stand: Stand, cell: Cell) -> None:
    with cell(Feature.REFUSED_OTHERWISE):
        recipient = f"eva@{REFUSAL}"
        reply = "554 5.0.0 I would prefer not to"
        with stand.start(REFUSAL, stand.troubled(REFUSAL, reply)):
            stand.house.submit(letter(ANA, recipient, "t-other"), ANA, [recipient])
            told = returned(stand, "t-other", recipient)
        assert told["cause"] == "other"
        assert told["remote_text"].endswith("I would prefer not to")
