"""The journey of a message: seven steps, from rows to words."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Delivered, Outcome, Refused, Reply
from estafeta.office.commands.trace import show_journey
from estafeta.office.journey import Story, tell
from estafeta.office.story import read_story, with_children
from estafeta.store import accounts, ledger, mailboxes
from estafeta.store.bodies import Bodies, put
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.journey import Event, Journey, QueueRow, find
from estafeta.store.ledger import ALL_RECIPIENTS, Entry
from estafeta.store.open import open_store
from estafeta.store.rows import (
    Acceptance,
    Cancelled,
    Dropped,
    Duplicate,
    Expanded,
    Fate,
    Relayed,
    Returned,
    Stored,
)
from estafeta.world.real import real_world

AT = 1_700_000_000_000


def acceptance(**changes: Any) -> Acceptance:
    plain = Acceptance(
        id=Ids(_Clock(), random.Random(1)).next(),
        at=AT,
        origin="submission",
        reverse_path="ana@correo.example",
        body=1,
        size=4096,
        recipients=1,
        message_id="<1@correo.example>",
        peer="laptop [127.0.0.1]:5000",
        tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
    )
    return msgspec.structs.replace(plain, **changes)


class _Clock:
    def now(self) -> float:
        return AT / 1000


def entry(fate: Fate | None, n: int = 0) -> Entry:
    return Entry(n, Recipient(f"b{n}@sudominio.example"), fate, None if fate is None else AT + 900)


def story(
    entry: Entry,
    events: Sequence[Event] = (),
    queue: Sequence[QueueRow] = (),
    parent: int | None = None,
    **more: Any,
) -> Story:
    row = acceptance(parent=parent)
    known = Journey(queue_id(row.id), row, [entry], list(events), list(queue), None, [])
    return Story(known, **more)


def waits(due: int) -> QueueRow:
    return QueueRow(0, "sudominio.example", due, 1, False, "", None)


def attempt(
    outcome: Outcome, notes: Sequence[tuple[str, str]], at: int = AT + 500, **more: Any
) -> Event:
    detail = {
        "destination": "sudominio.example",
        "recipients": [0],
        "outcomes": [msgspec.to_builtins(outcome)],
        "next": [None],
        "notes": [
            {"at": 0.1 * n, "kind": k, "text": t, "data": {}} for n, (k, t) in enumerate(notes)
        ],
        **more,
    }
    return Event(1, at, ALL_RECIPIENTS, "attempt", detail)


MX = ("dns", "MX of sudominio.example: mx.sudominio.example (10)")
SENT = [MX, ("connect", "connected to mx"), ("tls", "TLSv1.3"), ("reply", "250 2.0.0 Accepted")]
TAKEN = attempt(Delivered(Reply(250, "2.0.0", "Accepted"), "mx"), SENT)
LATER = attempt(
    Deferred(Reply(451, "4.7.1", "Greylisted"), "greylisted", "mx"),
    [MX, ("connect", "connected to mx"), ("reply", "451 4.7.1 Greylisted")],
)
GONE = "550 5.1.1 no such user"
LOST = attempt(Deferred(Reply(451, "4.4.3", "SERVFAIL"), "dns-trouble"), [])


def test_a_relayed_message_shows_every_step() -> None:
    told = story(
        entry(Relayed("mx.sudominio.example", "250 2.0.0 Accepted")),
        [TAKEN],
        author="Ana <ana@correo.example>",
        written=AT - 5000,
        login="ana@correo.example",
    )
    journey = tell(told, "es")
    assert [s.number for s in journey.steps] == [1, 2, 3]
    assert journey.steps[0].at == AT - 5000
    assert journey.steps[0].lines == (
        "de Ana <ana@correo.example>",
        "Message-ID <1@correo.example>",
    )
    assert any("laptop [127.0.0.1]:5000" in line for line in journey.steps[1].lines)
    assert any("TLSv1.3" in line for line in journey.steps[1].lines)
    assert any(queue_id(told.known.acceptance.id) in line for line in journey.steps[2].lines)
    way = journey.recipients[0]
    assert [s.number for s in way.steps] == [4, 5, 6, 7]
    assert [s.state for s in way.steps] == ["done", "done", "done", "skipped"]
    assert way.steps[0].lines == (MX[1],)
    assert way.steps[1].lines[-1] == "250 2.0.0 Accepted"
    assert (way.steps[0].at, way.steps[1].at) == (AT + 500, AT + 800)
    assert "mx.sudominio.example" in way.steps[3].lines[0]
    assert way.fate == "relayed"


def test_notes_of_ours_are_told_in_the_language_asked_for() -> None:
    event = attempt(Delivered(Reply(250, "2.0.0", "Accepted"), "mx"), SENT)
    notes = event.detail["notes"]
    notes[0]["data"] = {"what": "mx", "domain": "sudominio.example", "hosts": "mx (10)"}
    notes[1]["data"] = {"what": "connected", "host": "mx", "address": "192.0.2.1:25"}
    told = story(entry(Relayed("mx", "250 2.0.0 Accepted")), [event])
    dns, smtp, *_ = tell(told, "es").recipients[0].steps
    assert dns.lines == ("MX de sudominio.example: mx (10)",)
    assert smtp.lines == ("conectado a mx 192.0.2.1:25", "TLSv1.3", "250 2.0.0 Accepted")


def test_a_waiting_message_says_why_and_when() -> None:
    way = tell(story(entry(None), [LATER], [waits(AT + 300_000)]), "en").recipients[0]
    assert (way.fate, way.cause) == ("open", "greylisted")
    assert [s.state for s in way.steps] == ["done", "waiting", "waiting", "waiting"]
    assert way.steps[1].lines[-1] == "next try 2023-11-14 22:18:20Z"
    assert way.steps[2].lines[0].startswith("sudominio.example asks us to come again")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "the sender has been told that it waits"),
        ("es", "se ha avisado al remitente de que espera"),
    ],
)
def test_that_its_sender_knows_that_it_waits(language: str, words: str) -> None:
    told = Event(2, AT + 14_400_000, ALL_RECIPIENTS, "delay", {"recipients": [0], "notice": "X"})
    way = tell(story(entry(None), [LATER, told], [waits(AT + 300_000)]), language).recipients[0]
    assert f"2023-11-15 02:13:20Z {words}" in way.steps[1].lines
    other = msgspec.structs.replace(told, detail={"recipients": [1]})
    way = tell(story(entry(None), [LATER, other], [waits(AT + 300_000)]), language).recipients[0]
    assert not any(words in line for line in way.steps[1].lines)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "returned at 2023-11-14 22:14:20Z at the latest, together with others"),
        ("es", "se devuelve a más tardar el 2023-11-14 22:14:20Z, junto con otros"),
    ],
)
def test_one_that_waits_to_be_returned_with_others(language: str, words: str) -> None:
    refused = attempt(Refused(Reply(550, "5.1.1", "no"), "unknown-user", "mx"), SENT)
    waiting = QueueRow(0, "(returning)", AT + 60_000, 0, False, "", None)
    way = tell(story(entry(None), [refused], [waiting]), language).recipients[0]
    assert way.steps[1].lines[-1].startswith(words)


def test_a_dns_that_does_not_answer_is_step_four() -> None:
    steps = tell(story(entry(None), [LOST], [waits(AT)]), "en").recipients[0].steps
    assert steps[0].state == "waiting"
    assert steps[0].lines == ("451 4.4.3 SERVFAIL",)


def test_a_returned_message_says_why_in_plain_words() -> None:
    refused = Refused(Reply(550, "5.1.2", "does not exist"), "domain-not-found")
    way = tell(story(entry(Returned(5)), [attempt(refused, [])]), "es").recipients[0]
    assert [s.state for s in way.steps] == ["failed", "skipped", "failed", "failed"]
    assert way.steps[0].lines == ("550 5.1.2 does not exist",)
    assert way.steps[1].at is None
    assert way.steps[2].lines[0].startswith("devuelto al remitente como 0000")
    assert way.steps[2].lines[1].startswith("El dominio sudominio.example no existe. Revise")


def test_what_we_found_out_ourselves_is_told_too() -> None:
    refused = Refused(Reply(552, "5.3.4", "they take 1000 octets"), "message-too-large", "mx")
    found = [MX, ("connect", "connected to mx")]
    way = tell(story(entry(Returned(5)), [attempt(refused, found)]), "en").recipients[0]
    assert way.steps[1].lines == ("connected to mx", "552 5.3.4 they take 1000 octets")


def test_the_reply_to_another_recipient_is_not_shown() -> None:
    event = attempt(
        Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx"),
        [MX, ("connect", "connected to mx"), ("reply", "250 2.0.0 ok"), ("reply", GONE)],
    )
    event.detail["recipients"].append(1)
    taken = Delivered(Reply(250, "2.0.0", "ok"), "mx")
    event.detail["outcomes"].append(msgspec.to_builtins(taken))
    relayed = Relayed("mx", "250 2.0.0 ok")
    for n, fate, reply in ((0, Returned(5), GONE), (1, relayed, "250 2.0.0 ok")):
        way = tell(story(entry(fate, n), [event]), "en").recipients[0]
        assert way.steps[1].lines == ("connected to mx", reply)


def test_several_attempts_are_numbered() -> None:
    lines = (
        tell(story(entry(Relayed("mx", "250")), [LATER, TAKEN]), "en").recipients[0].steps[1].lines
    )
    assert lines == ("attempt 1: 451 4.7.1 Greylisted", "attempt 2: 250 2.0.0 Accepted")


def test_a_local_message_needs_neither_dns_nor_smtp() -> None:
    places = {(1, 2): "b@sudominio.example INBOX"}
    way = tell(story(entry(Stored(1, 2, 7)), places=places), "en").recipients[0]
    assert [s.state for s in way.steps] == ["skipped", "skipped", "done", "done"]
    assert way.steps[3].lines == ("mailbox b@sudominio.example INBOX, uid 7",)
    gone = tell(story(entry(Stored(1, 2, 7))), "en").recipients[0]
    assert "no longer there" in gone.steps[3].lines[0]


@pytest.mark.parametrize(
    "fate",
    [
        None,
        Stored(1, 2, 3),
        Relayed("h", "250 ok"),
        Returned(5),
        Expanded(5),
        Dropped("double-bounce"),
        Cancelled("admin"),
        Duplicate(5),
    ],
)
@pytest.mark.parametrize("events", [[], [LATER], [TAKEN], [LOST]])
@pytest.mark.parametrize("language", ["en", "es"])
def test_every_fate_can_be_told_and_shown(
    fate: Fate | None, events: list[Event], language: str
) -> None:
    journey = tell(story(entry(fate), events, parent=9), language)
    assert msgspec.json.decode(msgspec.json.encode(journey))["recipients"][0]["ending"]
    out = io.StringIO()
    show_journey(journey, language, Console(file=out, width=200))
    assert "7" in out.getvalue()


def test_a_rule_that_dropped_it_is_explained() -> None:
    lines = tell(story(entry(Dropped("double-bounce"))), "en").recipients[0].steps[2].lines
    assert lines == (
        "dropped by the rule double-bounce",
        "a report that itself cannot be delivered is not reported",
    )


def test_what_others_wrote_does_not_steer_the_terminal() -> None:
    hostile = attempt(Delivered(Reply(250, "", "x")), [("reply", "250 \x1b]0;owned\x07[bold]x")])
    journey = tell(story(entry(Relayed("h", "r")), [hostile]), "en")
    out = io.StringIO()
    show_journey(journey, "en", Console(file=out, width=200))
    assert "\x1b" not in out.getvalue()
    assert "\\x1b]0;owned\\x07[bold]x" in out.getvalue()


def test_a_story_is_read_from_the_store(tmp_path: Path) -> None:
    data = b"From: Ana <ana@x.example>\r\nDate: Tue, 14 Nov 2023 22:13:19 +0000\r\n\r\nhi\r\n"

    async def main() -> None:
        world = real_world(tmp_path)
        store = await open_store(f"sqlite://{tmp_path}/e.db", world, inline=True)
        bodies = Bodies(world.disk, Ids(world.clock, world.dice))
        body = await bodies.from_bytes(data)
        first = acceptance(body=body.id, recipients=2)
        child = acceptance(id=first.id + 1, parent=first.id, reverse_path="", body=body.id)

        def write(tx: Tx) -> tuple[int, int]:
            accounts.add_domain(tx, "x.example", AT)
            account = accounts.add_account(tx, "ana@x.example", AT)
            inbox = mailboxes.mailbox_by_name(tx, account.id, "INBOX")
            assert inbox is not None
            put(tx, body)
            stored = Stored(account.id, inbox.id, 1)
            mine = msgspec.structs.replace(first, account=account.id)
            to = [Recipient("ana@x.example"), Recipient("c@other.example")]
            ledger.open_acceptance(tx, mine, to, [stored, None])
            ledger.open_acceptance(tx, child, [Recipient("ana@correo.example")], [None])
            return account.id, inbox.id

        place = await store.run(write)
        story = await store.read(lambda tx: read_story(tx, bodies, first.id))
        assert story.author == "Ana <ana@x.example>"
        assert story.written == AT - 1000
        assert story.login == "ana@x.example"
        assert story.places == {place: "ana@x.example INBOX"}
        journey = tell(story, "en")
        assert [way.fate for way in journey.recipients] == ["stored", "open"]
        assert journey.children == (queue_id(child.id),)
        assert await store.read(lambda tx: find(tx, queue_id(first.id))) == [first.id]
        family = await store.read(lambda tx: with_children(tx, bodies, [child.id, first.id]))
        assert [s.known.acceptance.id for s in family] == [first.id, child.id]
        with pytest.raises(KeyError):
            await store.read(lambda tx: read_story(tx, bodies, 1))

        def lose(tx: Tx) -> None:
            tx.run("DELETE FROM body_data")

        await store.run(lose)
        lost = await store.read(lambda tx: read_story(tx, bodies, first.id))
        assert (lost.author, lost.written) == ("", None)
        await store.close()

    asyncio.run(main())


def test_what_is_held_for_a_fault_of_ours_and_what_became_of_it() -> None:
    no = Refused(Reply(550, "5.7.25", "no reverse DNS"), "no-reverse-dns", "mx.b.example")
    park = {"why": {"fault": "reverse-dns", "about": "8.8.4.4"}, "until": AT + 172_800_000}
    tried = attempt(no, SENT, parked={"0": park})
    held = "our own fault: reverse-dns 8.8.4.4"
    waits = QueueRow(0, "sudominio.example", 1 << 62, 1, False, held, None)
    [way] = tell(story(entry(None), [tried], [waits]), "en").recipients
    assert way.steps[1].lines[-1] == (
        "held for a fault of our own set-up until it is repaired, 2023-11-16 22:13:20Z at the "
        "latest: The reverse DNS of our server is not in order (8.8.4.4)"
    )
    finding = {"holds": True, "what": "not-listed", "data": {"address": "8.8.4.4", "zone": "x"}}
    mended = Event(7, AT + 2000, -1, "unparked", {"recipients": [0], "finding": finding})
    taken = attempt(Delivered(Reply(250, "2.0.0", "ok"), "mx.b.example"), SENT)
    fate = Relayed("mx.b.example", "250 ok")
    [way] = tell(story(entry(fate), [tried, mended, taken]), "es").recipients
    assert "de nuevo en orden: 8.8.4.4 no figura en la lista x" in way.steps[1].lines[-1]
    ended = Event(7, AT + 2000, -1, "unparked", {"recipients": [0]})
    [way] = tell(story(entry(Returned(9)), [tried, ended]), "en").recipients
    assert way.steps[1].lines[-1].endswith("returned: not repaired in time")


@pytest.mark.parametrize(("language", "words"), [("en", "Did you mean"), ("es", "¿Quiso decir")])
def test_the_address_that_was_meant(language: str, words: str) -> None:
    no = Refused(Reply(550, "5.1.2", "no such domain"), "domain-not-found")
    tried = attempt(no, [MX], meant=["b0@sudominio.es"])
    [way] = tell(story(entry(Returned(9)), [tried]), language).recipients
    assert way.suggestion == "b0@sudominio.es"
    assert f"{words} b0@sudominio.es?" in way.steps[2].lines[-1]
    [way] = tell(story(entry(Returned(9)), [attempt(no, [MX])]), language).recipients
    assert way.suggestion == ""
