"""Commands for the queue and for tokens: over a real store, each mistake told in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from estafeta.mail.outcome import Deferred, Reply
from estafeta.store.ids import queue_id

Run = Callable[..., Any]

ID = 7 << 41
OTHER = 8 << 41
BODY = b"Subject: x\r\n\r\nhello\r\n"
LAST = msgspec.json.encode(Deferred(Reply(451, "4.7.1", "later"), "greylisted", "mx.y.example"))


def ok(done: Any) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out) if done.out.startswith(("[", "{")) else done.out


@pytest.fixture
def filled(estafeta: Run, tmp_path: Path) -> Run:
    """Ana has a message for bob and carl, who wait; somebody else one for dora."""
    ok(estafeta("domain", "add", "x.example"))
    ok(estafeta("account", "add", "ana@x.example", "--generate"))
    store = apsw.Connection(str(tmp_path / "data" / "estafeta.db"))
    account = store.execute("SELECT id FROM account").fetchall()[0][0]
    people = (("b@y.example", "y.example"), ("c@z.example", "z.example"))
    for id, owner, waiting in ((ID, account, people), (OTHER, None, (people[0],))):
        store.execute("INSERT INTO body (id, size) VALUES (?, ?)", (id, len(BODY)))
        store.execute("INSERT INTO body_data (id, data) VALUES (?, ?)", (id, BODY))
        store.execute(
            "INSERT INTO acceptance (id, at, origin, account, reverse_path, body, size, recipients)"
            " VALUES (?, 0, 'correction', ?, 'ana@x.example', ?, 9, ?)",
            (id, owner, id, len(waiting)),
        )
        for n, (address, destination) in enumerate(waiting):
            store.execute(
                "INSERT INTO recipient (acceptance, n, address) VALUES (?, ?, ?)", (id, n, address)
            )
            store.execute(
                "INSERT INTO queue (acceptance, n, destination, due, attempts, last)"
                " VALUES (?, ?, ?, 9000000000000, 1, ?)",
                (id, n, destination, LAST.decode()),
            )
            store.execute(
                "INSERT INTO destination (name, due) VALUES (?, 0) ON CONFLICT DO NOTHING",
                (destination,),
            )
    store.close()
    return estafeta


def rows(estafeta: Run, *words: str) -> list[Any]:
    return list(ok(estafeta("queue", "list", "--json", *words)))


def test_the_list_can_be_narrowed(filled: Run) -> None:
    assert len(rows(filled)) == 3
    assert len(rows(filled, "--mine", "ana@x.example")) == 2
    assert len(rows(filled, "--domain", "Y.example")) == 2
    assert len(rows(filled, "--recipient", "c@z.example")) == 1
    assert rows(filled, "--sender", "nobody@x.example") == []
    assert rows(filled, "--state", "held") == []
    assert len(rows(filled, "--cause", "greylisted")) == 3
    assert rows(filled, "--cause", "mailbox-full") == []
    assert len(rows(filled, "--older-than", "1h")) == 3
    first = filled("queue", "list", "--limit", "1", "--json")
    (row,) = json.loads(first.out)
    assert f"--after {row['cursor']}" in first.err
    assert len(rows(filled, "--after", row["cursor"])) == 2


def test_hold_and_release(filled: Run) -> None:
    done = ok(
        filled(
            *("queue", "hold", queue_id(ID), "--recipient", "B@y.example"),
            *("--reason", "look [first]", "--json"),
        )
    )
    assert done["counts"] == {"held": 1}
    (held,) = rows(filled, "--state", "held")
    assert (held["recipient"], held["reason"]) == ("b@y.example", "look [first]")
    assert "held: look [first]" in ok(filled("queue", "list"))
    assert "look [first]" in ok(filled("trace", queue_id(ID), "--lang", "en"))
    assert "unchanged: it is on hold: release it" in ok(filled("queue", "retry", "--all"))
    assert ok(filled("queue", "release", "--all", "--json"))["counts"] == {
        "released": 1,
        "unchanged": 2,
    }


def test_retry(filled: Run) -> None:
    ok(filled("queue", "retry", queue_id(ID)))
    dues = {row["recipient"]: row["due"] for row in rows(filled, "--mine", "ana@x.example")}
    assert all(due < 9000000000000 for due in dues.values())
    assert rows(filled)[2]["due"] == 9000000000000


def test_a_message_of_which_nothing_waits_is_named(filled: Run) -> None:
    ok(filled("queue", "cancel", queue_id(ID)))
    done = filled("queue", "retry", queue_id(ID))
    assert done.code == 1
    assert f"{queue_id(ID)} is not in the queue" in done.err


def test_cancel_asks_before_it_cancels_much(filled: Run) -> None:
    done = filled("queue", "cancel", "--all", given="n\n")
    assert done.code == 1
    assert "nothing was cancelled" in done.err
    assert len(rows(filled)) == 3
    ok(filled("queue", "cancel", "--all", "--mine", "ana@x.example", "--yes"))
    assert [row["queue_id"] for row in rows(filled)] == [queue_id(OTHER)]
    told = ok(filled("trace", queue_id(ID), "--json"))
    assert {way["fate"] for way in told[0]["recipients"]} == {"cancelled"}
    assert "(command line)" in told[0]["recipients"][0]["ending"]
    assert filled("audit").code == 0


def test_correct_and_resend(filled: Run) -> None:
    done = ok(filled("queue", "correct", queue_id(ID), "b@y.example", "bill@y.example", "--json"))
    assert [t["result"] for t in done["recipients"]] == ["cancelled"]
    assert [row["recipient"] for row in rows(filled, "--mine", "ana@x.example")] == [
        "c@z.example",
        "bill@y.example",
    ]
    assert filled("audit", "--full").code == 0
    told = ok(filled("trace", queue_id(ID), "--lang", "es"))
    assert f"a bill@y.example en su lugar, como {done['child']}" in told
    again = ok(filled("queue", "resend", queue_id(ID), "--json"))
    assert [t["recipient"] for t in again["recipients"]] == ["b@y.example"]
    done = filled("queue", "resend", queue_id(ID))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "already" in done.err
    told = ok(filled("trace", queue_id(ID), "--lang", "en"))
    assert "sent once more by" in told


def test_suspend_and_drain(filled: Run) -> None:
    ok(filled("queue", "suspend", "y.example", "--reason", "they move"))
    ok(filled("queue", "drain", "Z.example", "--to", "[2001:db8::1]:2525"))
    found = ok(filled("queue", "suspended", "--json"))
    assert [(f["destination"], f["state"]) for f in found] == [
        ("y.example", "suspended"),
        ("z.example", "drained"),
    ]
    assert (found[0]["reason"], found[1]["host"], found[1]["port"]) == (
        "they move",
        "2001:db8::1",
        2525,
    )
    assert {row["state"] for row in rows(filled, "--domain", "y.example")} == {"suspended"}
    text = ok(filled("queue", "suspended"))
    assert "they move" in text
    assert "drained to 2001:db8::1:2525" in text
    told = ok(filled("trace", queue_id(OTHER), "--lang", "es"))
    assert "todo lo destinado a y.example espera desde" in told
    assert "they move" in told
    ok(filled("queue", "resume", "y.example"))
    ok(filled("queue", "undrain", "z.example"))
    assert ok(filled("queue", "suspended", "--json")) == []


def test_tokens(filled: Run, tmp_path: Path) -> None:
    made = filled("token", "add", "monitoring", "--admin", "--expires", "90d")
    token = made.out.strip()
    assert token.startswith("estafeta_")
    assert len(token) == len("estafeta_") + 43
    assert token not in made.err
    mine = ok(filled("token", "add", "mine", "--account", "Ana@x.example", "--json"))
    assert mine["scope"] == "ana@x.example"
    listed = ok(filled("token", "list", "--json"))
    assert [(t["name"], t["scope"], t["last_used"]) for t in listed] == [
        ("mine", "ana@x.example", ""),
        ("monitoring", "admin", ""),
    ]
    assert listed[1]["expires"] - listed[1]["created"] == 90 * 86_400_000
    assert "never" in ok(filled("token", "list"))
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file
    ok(filled("token", "remove", "monitoring"))
    assert len(ok(filled("token", "list", "--json"))) == 1
    # With its account a token goes.
    ok(filled("account", "remove", "ana@x.example", "--yes"))
    assert ok(filled("token", "list", "--json")) == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            ("queue", "list", "--state", "tired"),
            2,
            "waiting, sending, held, suspended, returning was",
        ),
        (("queue", "list", "--cause", "bad luck"), 2, "is not a cause"),
        (("queue", "list", "--older-than", "old"), 2, "is not an age"),
        (("queue", "list", "--after", "x"), 2, "is not a cursor"),
        (("queue", "list", "--sender", "x"), 2, "is not an address"),
        (("queue", "list", "--mine", "no@x.example"), 1, "there is no account no@x.example"),
        (("queue", "show", "0123456789ABC", "--mine", "ana@x.example"), 1, "not in the queue"),
        (("queue", "retry"), 2, "a queue id, --destination or --all was expected"),
        (("queue", "retry", queue_id(ID), "--all"), 2, "one of them"),
        (("queue", "retry", "--destination", "a..b"), 2, "is not a domain"),
        (
            ("queue", "retry", "--destination", "q.example"),
            1,
            "there is nothing in the queue that fits (everything for q.example)",
        ),
        (
            ("queue", "retry", "--all", "--recipient", "q@z.example", "--mine", "ana@x.example"),
            1,
            "that fits (q@z.example in the whole queue of ana@x.example)",
        ),
        (("queue", "retry", "0123456789ABC"), 1, "there is no message 0123456789ABC"),
        (("queue", "hold", queue_id(ID), "--recipient", "q@y.example"), 1, "is not in the queue"),
        (("queue", "hold", "--all", "--reason", "x" * 501), 2, "at most 500 characters"),
        (("queue", "retry", queue_id(OTHER), "--mine", "ana@x.example"), 1, "there is no message"),
        (("queue", "correct", queue_id(ID), "b@y.example"), 2, "pairs of addresses"),
        (("queue", "correct", queue_id(ID), "q@y.example", "r@y.example"), 1, "is no recipient of"),
        (("queue", "correct", queue_id(ID), "b@y.example", "r"), 2, "is not an address"),
        (("queue", "correct", queue_id(ID), "b@y.example", "q@x.example"), 1, "550 5.1.1"),
        (("queue", "resend", queue_id(ID)), 1, "has failed"),
        (("queue", "resend", queue_id(ID), "--recipient", "b@y.example"), 1, "it waits"),
        (("queue", "resume", "y.example"), 1, "is not suspended"),
        (("queue", "undrain", "y.example"), 1, "is not drained"),
        (("queue", "drain", "y.example", "--to", "mx.y.example:99999"), 2, "a port from 1"),
        (("queue", "drain", "y.example", "--to", "a b"), 2, "a name or an address"),
        (("token", "add", "a b", "--admin"), 2, "is not a name"),
        (("token", "add", "t"), 2, "--account or --admin was expected"),
        (("token", "add", "t", "--admin", "--account", "ana@x.example"), 2, "one of them"),
        (("token", "add", "t", "--account", "no@x.example"), 1, "there is no account"),
        (("token", "add", "t", "--admin", "--expires", "soon"), 2, "is not a time"),
        (("token", "add", "t", "--admin", "--expires", "0s"), 2, "is not a time"),
        (("token", "remove", "t"), 1, "there is no token t"),
    ],
)
def test_a_mistake_is_one_sentence(
    filled: Run, words: tuple[str, ...], code: int, sentence: str
) -> None:
    done = filled(*words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_a_name_is_given_to_one_token(filled: Run) -> None:
    ok(filled("token", "add", "t", "--admin"))
    done = filled("token", "add", "t", "--admin")
    assert (done.code, done.out) == (1, "")
    assert "there is a token t already" in done.err
