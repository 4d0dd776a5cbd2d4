"""estafeta policy: said, shown, unset, and tried on stored mail before it is said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.office.conftest import Run

from estafeta.mail.message import summary
from estafeta.store import accounts, bodies, mailboxes, messages
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids
from estafeta.store.open import open_store
from estafeta.world.real import real_world

DAY_MS = 86_400_000


def ok(done: Any) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out) if done.out.startswith(("{", "[")) else done.out


@pytest.fixture
def people(estafeta: Run) -> Run:
    ok(estafeta("domain", "add", "x.example"))
    ok(estafeta("account", "add", "a@x.example", "--generate"))
    ok(estafeta("account", "add", "b@x.example", "--generate"))
    return estafeta


def test_what_is_said_is_shown_with_who_says_it(people: Run) -> None:
    ok(people("policy", "set", "blocked_types=.mov, executable", "size_max=10MiB", "tls=yes"))
    ok(people("policy", "set", "size_max=1MiB", "--domain", "X.example"))
    ok(people("policy", "set", "greylist=on", "let_in=rate,size", "--account", "A@x.example"))
    shown = ok(people("policy", "show", "--account", "a@x.example", "--json"))
    assert shown["scope"] == "a@x.example"
    assert shown["said"] == {"greylist": True, "let_in": ["rate", "size"]}
    assert shown["effective"]["blocked_types"] == [".mov", "executable"]
    assert shown["effective"]["size_max"] == 1024 * 1024
    assert shown["effective"]["tls"] is True
    assert shown["said_by"]["size_max"] == "x.example"
    assert shown["said_by"]["tls"] == "the installation"
    assert shown["said_by"]["greylist"] == "a@x.example"
    assert shown["said_by"]["lists"] == ""
    table = people("policy", "show", "--account", "a@x.example").out
    assert "1 MiB" in table or "1MiB" in table
    assert "the program" in table
    listed = ok(people("policy", "list", "--json"))
    assert [each["scope"] for each in listed] == ["", "a@x.example", "x.example"]
    assert listed[0]["by"] == "administrator"
    assert "blocked_types=.mov, executable" in people("policy", "list").out


def test_unset_gives_way_to_the_wider_scope(people: Run) -> None:
    ok(people("policy", "set", "size_max=10MiB", "tls=yes"))
    ok(people("policy", "unset", "tls"))
    assert ok(people("policy", "show", "--json"))["said"] == {"size_max": 10 * 1024 * 1024}
    ok(people("policy", "unset", "--all"))
    assert ok(people("policy", "list", "--json")) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("set", "size=1"), 'there is no field "size"'),
        (("set", "tls"), "KEY=VALUE was expected"),
        (("set", "tls=perhaps"), "tls: yes or no was expected"),
        (("set", "size_max=huge"), "size_max: a size such as"),
        (("set", "depth_max=-1"), "depth_max: a number was expected"),
        (("set", "depth_max=101"), "depth_max: a number from 0 to 100"),
        (("set", "quota_full=no"), "quota_full: Invalid enum value"),
        (("set", "let_in=everything"), "let_in"),
        (("set", "locked=sizes"), 'locked: there is no field "sizes"'),
        (("set", "tls=yes", "tls=no"), "tls is said twice"),
        (("set", "blocked_types=mov"), 'blocked_types: "mov" is none: an ending'),
        (("set", "blocked_types=text/plain"), "would refuse nearly all mail"),
        (("set", "help=call us"), "help: a link or an address"),
        (("set", "headers=Subject (a)"), '"Subject: pattern"'),
        (("set", "headers=Subject: (?=a)b"), "cannot be read: invalid perl operator"),
        (("set", "headers=Subject: " + "a" * 1001), "too long: 1000 characters"),
        (("set", "headers=Subject: (a{100}){100}"), "cannot be read"),
        (("set", r"headers=Subject: \pL{500}"), "too large"),
        (("set", 'headers=[{"field": "Subject"}]'), "missing required field `matches`"),
        (("set", 'headers=[{"field": "Sub ject", "matches": "a"}]'), "is no name of a header"),
        (("set", "headers=[1"), "headers: "),
        (("set", "tls=yes", "--domain", "x.example", "--account", "a@x.example"), "not both"),
        (("unset",), "fields, or --all"),
        (("unset", "tls", "--all"), "fields, or --all"),
        (("unset", "size"), 'there is no field "size"'),
        (("test",), "nothing to try"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(
    people: Run, words: tuple[str, ...], sentence: str
) -> None:
    done = people("policy", *words)
    assert done.code == 2
    assert sentence in done.err, done.err
    assert len(done.err.strip().splitlines()) == 1


def test_who_is_not_there(people: Run) -> None:
    assert people("policy", "set", "tls=yes", "--domain", "y.example").code == 1
    assert people("policy", "show", "--account", "c@x.example").code == 1


def test_what_is_locked_can_only_be_made_stricter(people: Run) -> None:
    ok(people("policy", "set", "size_max=10MiB", "locked=size_max"))
    done = people("policy", "set", "size_max=20MiB", "--domain", "x.example")
    assert done.code == 2
    assert "size_max: the installation has locked it" in done.err
    ok(people("policy", "set", "size_max=5MiB", "--account", "a@x.example"))
    ok(people("policy", "set", "size_max=1MiB"))
    shown = ok(people("policy", "show", "--account", "a@x.example", "--json"))
    assert shown["effective"]["size_max"] == 1024 * 1024


def test_a_policy_goes_with_its_account_and_its_domain(people: Run) -> None:
    ok(people("policy", "set", "tls=yes", "--account", "a@x.example"))
    ok(people("policy", "set", "tls=yes", "--domain", "x.example"))
    ok(people("account", "remove", "a@x.example", "--yes"))
    ok(people("account", "remove", "b@x.example", "--yes"))
    assert [p["scope"] for p in ok(people("policy", "list", "--json"))] == ["x.example"]
    ok(people("domain", "remove", "x.example"))
    assert ok(people("policy", "list", "--json")) == []


MOV = (
    b"Subject: a film\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nhere\r\n--b\r\nContent-Type: video/quicktime; name=a.mov\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAAFGZ0eXBxdCAg\r\n--b--\r\n"
)
PLAIN = b"Subject: a text\r\n\r\nhello\r\n"


async def fill(folder: Path, mails: list[tuple[str, str, bytes, int]]) -> None:
    """(account, mailbox, octets, age in days), each."""
    world = real_world(folder, None)
    store = await open_store(f"sqlite://{folder}/estafeta.db", world)
    house = Bodies(world.disk, Ids(world.clock, world.dice))
    try:
        for address, mailbox, data, age in mails:
            body = await house.from_bytes(data)
            made = summary(data)
            text = messages.Text(
                made.envelope,
                made.bodystructure,
                made.body,
                made.index,
                made.message_id,
                made.subject,
                made.preview,
            )

            def unit(
                tx: Tx,
                address: str = address,
                mailbox: str = mailbox,
                body: bodies.Body = body,
                age: int = age,
                text: messages.Text = text,
            ) -> None:
                bodies.put(tx, body)
                account = accounts.account(tx, address)
                assert account is not None
                assert mailboxes.mailbox_by_name(tx, account.id, mailbox) is not None
                messages.append(
                    tx,
                    account.id,
                    mailbox,
                    body=body,
                    size=body.size,
                    prefix=b"",
                    text=text,
                    received=int(world.clock.now() * 1000) - age * DAY_MS,
                )

            await store.run(unit)
    finally:
        await store.close()


@pytest.fixture
def stored(people: Run, tmp_path: Path) -> Run:
    asyncio.run(
        fill(
            tmp_path / "data",
            [
                ("a@x.example", "INBOX", MOV, 1),
                ("a@x.example", "INBOX", PLAIN, 2),
                ("a@x.example", "Archive", MOV, 30),
                ("a@x.example", "Sent", MOV, 1),
                ("b@x.example", "INBOX", MOV, 3),
            ],
        )
    )
    return people


def test_a_rule_is_tried_on_stored_mail_and_not_kept(stored: Run) -> None:
    done = stored("policy", "test", "blocked_types=.mov", "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert (found["looked"], found["refused"], found["let_in"]) == (3, 2, 0)
    assert [case["account"] for case in found["cases"]] == ["a@x.example", "b@x.example"]
    assert found["cases"][0]["subject"] == "a film"
    assert found["cases"][0]["before"] is None
    assert found["cases"][0]["after"]["type"] == ".mov"
    assert "trying" in done.err
    table = stored("policy", "test", "blocked_types=.mov", "--days", "60").out
    assert "type .mov: a.mov" in table
    assert table.count("a.mov") == 3
    assert ok(stored("policy", "list", "--json")) == []


def test_only_the_mail_of_the_scope_is_tried(stored: Run) -> None:
    done = stored("policy", "test", "blocked_types=.mov", "--account", "b@x.example", "--json")
    assert json.loads(done.out)["looked"] == 1
    ok(stored("domain", "add", "y.example"))
    assert ok(
        stored("policy", "test", "blocked_types=.mov", "--domain", "y.example", "--json")
    ) == {
        "looked": 0, "refused": 0, "let_in": 0, "late": 0, "missing": 0, "cases": [], "left_out": 0,
    }  # fmt: skip


def test_what_would_come_in_again_is_told_too(stored: Run) -> None:
    ok(stored("policy", "set", "blocked_types=.mov"))
    found = ok(stored("policy", "test", "--without", "blocked_types", "--json"))
    assert (found["refused"], found["let_in"]) == (0, 2)
    assert found["cases"][0]["after"] is None
    # What a narrower scope says itself is not touched by it.
    ok(stored("policy", "set", "blocked_types=.mov", "--account", "a@x.example"))
    found = ok(stored("policy", "test", "--without", "blocked_types", "--json"))
    assert [case["account"] for case in found["cases"]] == ["b@x.example"]


def test_what_cannot_be_set_is_not_tried_either(stored: Run) -> None:
    ok(stored("policy", "set", "size_max=10MiB", "locked=size_max"))
    done = stored("policy", "test", "size_max=0", "--domain", "x.example")
    assert done.code == 2
    assert "has locked it" in done.err
