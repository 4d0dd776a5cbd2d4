"""Commands: what a person types, over a real store, and how each mistake is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from estafeta.mail.outcome import Deferred, Reply
from estafeta.store import stopped
from estafeta.store.ids import queue_id

Run = Callable[..., Any]


def ok(done: Any) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out) if done.out.startswith(("[", "{")) else done.out


def test_domains(estafeta: Run) -> None:
    ok(estafeta("domain", "add", "Sudominio.Example", "--language", "es"))
    ok(estafeta("domain", "add", "peña.example"))
    found = ok(estafeta("domain", "list", "--json"))
    assert [d["name"] for d in found] == ["sudominio.example", "xn--pea-8ma.example"]
    ok(estafeta("domain", "set", "sudominio.example", "--catch-all", "A@sudominio.example"))
    shown = ok(estafeta("domain", "show", "sudominio.example", "--json"))
    assert shown["catch_all"] == "a@sudominio.example"
    assert shown["language"] == "es"
    assert shown["separator"] == "+"
    ok(estafeta("domain", "remove", "sudominio.example"))
    assert estafeta("domain", "show", "sudominio.example").code == 1
    assert "sudominio" not in estafeta("domain", "list").out


@pytest.mark.parametrize("separator", ["ab", "++", "a", "@", " ", ".", "é"])
def test_a_separator_that_cannot_be(estafeta: Run, separator: str) -> None:
    done = estafeta("domain", "add", "x.example", "--separator", separator)
    assert done.code == 2
    assert "one of + - _ = ~ # was expected, or nothing" in done.err
    assert "x.example" not in estafeta("domain", "list").out


def test_separators(estafeta: Run) -> None:
    ok(estafeta("domain", "add", "x.example", "--separator", "-"))
    ok(estafeta("domain", "set", "x.example", "--separator", ""))
    assert ok(estafeta("domain", "show", "x.example", "--json"))["separator"] == ""
    assert estafeta("domain", "set", "x.example", "--separator", "+-").code == 2


def test_accounts(estafeta: Run) -> None:
    ok(estafeta("domain", "add", "x.example"))
    done = estafeta(
        "account", "add", "Ana@X.example", "--password-stdin", "--quota", "1GiB", given="s3cret\n"
    )
    assert done.code == 0
    assert "s3cret" not in done.out + done.err
    made = ok(estafeta("account", "add", "b@x.example", "--generate")).strip()
    assert len(made) == 20
    assert ok(estafeta("account", "password", "b@x.example", "--generate")).strip() != made
    assert [a["address"] for a in ok(estafeta("account", "list", "--json"))] == [
        "ana@x.example",
        "b@x.example",
    ]
    ok(estafeta("account", "set", "ana@x.example", "--disable", "--name", "Ana [red]P[/red]"))
    ok(estafeta("identity", "add", "ana@x.example", "info@x.example"))
    shown = ok(estafeta("account", "show", "ana@x.example", "--json"))
    assert shown["disabled"] is True
    assert shown["quota"] == 1024**3
    assert shown["identities"] == ["info@x.example"]
    assert {m["name"] for m in shown["mailboxes"]} >= {"INBOX", "Sent", "Trash"}
    assert "password" not in shown
    text = ok(estafeta("account", "show", "ana@x.example"))
    assert "Ana [red]P[/red]" in text
    assert shown["save_sent"] is False
    ok(estafeta("account", "set", "ana@x.example", "--save-sent", "on"))
    assert ok(estafeta("account", "show", "ana@x.example", "--json"))["save_sent"] is True
    assert "save sent" in ok(estafeta("account", "show", "ana@x.example"))
    ok(estafeta("account", "set", "ana@x.example", "--save-sent", "off"))
    assert ok(estafeta("account", "show", "ana@x.example", "--json"))["save_sent"] is False
    assert estafeta("account", "set", "ana@x.example", "--save-sent", "perhaps").code == 2
    ok(estafeta("account", "set", "ana@x.example", "--enable", "--quota", "none"))
    assert ok(estafeta("account", "list", "--json"))[0]["quota"] == 0
    ok(estafeta("account", "remove", "ana@x.example", "--yes"))
    assert len(ok(estafeta("account", "list", "--json"))) == 1


def test_aliases_and_identities(estafeta: Run) -> None:
    ok(estafeta("domain", "add", "x.example"))
    ok(estafeta("account", "add", "a@x.example", "--generate"))
    ok(estafeta("alias", "add", "sales@x.example", "a@x.example", "c@y.example"))
    shown = ok(estafeta("alias", "show", "sales@x.example", "--json"))
    assert shown["targets"] == ["a@x.example", "c@y.example"]
    ok(estafeta("alias", "set", "sales@x.example", "a@x.example", "d@y.example"))
    assert ok(estafeta("alias", "list", "--json")) == [
        {"address": "sales@x.example", "target": "a@x.example"},
        {"address": "sales@x.example", "target": "d@y.example"},
    ]
    ok(estafeta("alias", "remove", "sales@x.example", "d@y.example"))
    ok(estafeta("alias", "remove", "sales@x.example"))
    assert estafeta("alias", "show", "sales@x.example").code == 1
    ok(estafeta("identity", "add", "a@x.example", "i@x.example"))
    assert ok(estafeta("identity", "list", "a@x.example", "--json"))["identities"] == [
        "i@x.example"
    ]
    ok(estafeta("identity", "remove", "a@x.example", "i@x.example"))
    assert estafeta("identity", "remove", "a@x.example", "i@x.example").code == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("account", "add", "a@nowhere.example", "--generate"), "nowhere.example is not one of"),
        (("account", "add", "a@x.example", "--password-stdin"), "a password was expected"),
        (("account", "list", "--domain", "x.example"), "no domain x.example"),
        (("alias", "list", "--domain", "x.example"), "no domain x.example"),
        (("domain", "remove", "x.example"), "no domain x.example"),
        (("alias", "add", "a@x.example", "b@x.example"), "not one of ours"),
        (("queue", "show", "0123456789ABC"), "is not in the queue"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_1(
    estafeta: Run, words: tuple[str, ...], sentence: str
) -> None:
    done = estafeta(*words)
    assert done.code == 1
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("account", "add", "a b@x", "--generate"), "is not an address"),
        (("account", "add", "postmaster", "--generate"), "a domain after @"),
        (("account", "set", "a@x.example", "--quota", "much"), "is not a quota"),
        (("account", "set", "a@x.example"), "nothing to change"),
        (("account", "set", "a@x.example", "--language", "fr"), "en or es was expected"),
        (("account", "password", "a@x.example", "--password-stdin", "--generate"), "not both"),
        (("alias", "add", "a@x.example", "b@x.example", "A@x.example"), "cannot lead to itself"),
        (("domain", "add", "a..b"), "is not a domain"),
        (("domain", "set", "x.example"), "nothing to change"),
        (("queue", "show", "xyz"), "not a queue id"),
        (("queue", "show", "ZZZZZZZZZZZZZ"), "larger than any"),
        (("trace", "a@x.example", "--lang", "fr"), "en or es was expected"),
    ],
)
def test_words_of_a_wrong_form_are_one_sentence_and_exit_2(
    estafeta: Run, words: tuple[str, ...], sentence: str
) -> None:
    done = estafeta(*words)
    assert done.code == 2
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


@pytest.mark.parametrize("password", ["a\udcff\n", "tab\there\n", "nul\x00\n"])
def test_a_password_that_no_client_could_send_is_refused(estafeta: Run, password: str) -> None:
    ok(estafeta("domain", "add", "x.example"))
    done = estafeta("account", "add", "a@x.example", "--password-stdin", given=password)
    assert done.code == 1
    assert "a password in UTF-8" in done.err
    assert ok(estafeta("account", "list", "--json")) == []


def test_the_accounts_of_a_domain_in_other_letters(estafeta: Run) -> None:
    ok(estafeta("domain", "add", "peña.example"))
    ok(estafeta("account", "add", "a@peña.example", "--generate"))
    ok(estafeta("alias", "add", "b@peña.example", "a@peña.example"))
    for what in ("account", "alias"):
        assert len(ok(estafeta(what, "list", "--domain", "Peña.example", "--json"))) == 1


def test_targets_that_are_nobody_are_named(estafeta: Run) -> None:
    ok(estafeta("domain", "add", "x.example"))
    ok(estafeta("account", "add", "a@x.example", "--generate"))
    done = estafeta(
        "alias", "add", "s@x.example", "a+list@x.example", "no@x.example", "b@y.example"
    )
    assert done.code == 0
    assert done.err.count("note: ") == 1
    assert "note: no@x.example is no account or alias yet" in done.err
    done = estafeta("domain", "set", "x.example", "--catch-all", "gone@x.example")
    assert "note: gone@x.example" in done.err
    assert "note" not in estafeta("domain", "set", "x.example", "--catch-all", "s@x.example").err
    assert "note" not in estafeta("alias", "add", "t@x.example", "anybody@x.example").err


def test_twice_is_told(estafeta: Run) -> None:
    ok(estafeta("domain", "add", "x.example"))
    assert "here already" in estafeta("domain", "add", "x.example").err
    ok(estafeta("account", "add", "a@x.example", "--generate"))
    assert "here already" in estafeta("account", "add", "a@x.example", "--generate").err
    assert "still has accounts" in estafeta("domain", "remove", "x.example").err


def test_a_wrong_command_line_or_configuration_is_exit_2(
    estafeta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert estafeta("nonsense").code == 2
    assert estafeta("account", "list", "--nonsense").code == 2
    assert estafeta("account", "list", "-c", str(tmp_path / "none.toml")).code == 2
    (tmp_path / "bad.toml").write_text("[server]\nhostnam = 'x'\n")
    done = estafeta("domain", "list", "-c", str(tmp_path / "bad.toml"))
    assert done.code == 2
    assert 'bad.toml:2: server.hostnam: no such setting; did you mean "hostname"?' in done.err
    monkeypatch.delenv("ESTAFETA_CONFIG")
    monkeypatch.chdir(tmp_path / "..")
    done = estafeta("domain", "list")
    assert done.code == 2
    assert "no configuration" in done.err


def test_an_empty_queue_and_an_unknown_message(estafeta: Run) -> None:
    assert ok(estafeta("queue", "list", "--json")) == []
    done = estafeta("trace", "nobody@x.example", "--lang", "es")
    assert (done.code, done.err) == (1, "No se sabe nada de nobody@x.example.\n")
    done = estafeta("trace", "<id@x>", "--json")
    assert (done.code, json.loads(done.out)) == (1, [])


def test_the_queue_says_what_waits_and_why(estafeta: Run, tmp_path: Path) -> None:
    ok(estafeta("domain", "add", "x.example"))
    number = 7 << 41
    last = msgspec.json.encode(
        Deferred(Reply(451, "4.7.1", "Come [back] later"), "greylisted", "mx.y.example")
    )
    with contextlib.closing(apsw.Connection(str(tmp_path / "data" / "estafeta.db"))) as store:
        store.execute(
            "INSERT INTO acceptance (id, at, origin, reverse_path, body, size, recipients) "
            "VALUES (?, 0, 'smtp', '', 1, 9, 2)",
            (number,),
        )
        for n, held in enumerate(("", "by hand")):
            store.execute(
                "INSERT INTO recipient (acceptance, n, address) VALUES (?, ?, 'b@y.example')",
                (number, n),
            )
            store.execute(
                "INSERT INTO queue (acceptance, n, destination, due, attempts, held, last) "
                "VALUES (?, ?, 'y.example', 1700000000000, 2, ?, ?)",
                (number, n, held, last.decode()),
            )
    rows = ok(estafeta("queue", "list", "--json"))
    assert [(row["state"], row["reason"]) for row in rows] == [("waiting", ""), ("held", "by hand")]
    assert rows[0]["cause"] == "greylisted"
    assert rows[0]["reply"] == "451 4.7.1 Come [back] later"
    assert ok(estafeta("queue", "list", "--destination", "z.example", "--json")) == []
    text = ok(estafeta("queue", "show", queue_id(number)))
    assert "2023-11-14 22:13:20Z" in text
    assert "y.example asks us to come again (451 4.7.1 Come [back] later)" in text
    told = estafeta("trace", queue_id(number), "--lang", "es")
    assert told.code == 0
    assert "del propio sistema de correo" in told.out


def test_audit_names_what_is_wrong(estafeta: Run, tmp_path: Path) -> None:
    ok(estafeta("domain", "add", "x.example"))
    ok(estafeta("account", "add", "a@x.example", "--generate"))
    assert "balances" in estafeta("audit").err
    assert ok(estafeta("audit", "--full", "--json")) == {"ok": True, "full": True, "findings": []}
    with contextlib.closing(apsw.Connection(str(tmp_path / "data" / "estafeta.db"))) as store:
        store.execute("UPDATE mailbox SET messages = 3 WHERE name = 'INBOX'")
        store.execute(
            "INSERT INTO queue (acceptance, n, destination, due) VALUES (77, 0, 'y.example', 0)"
        )
    done = estafeta("audit", "--json")
    assert done.code == 1
    assert json.loads(done.out)["findings"][0]["acceptance"] == 77
    done = estafeta("audit", "--full")
    assert done.code == 1
    assert queue_id(77) in done.out
    assert "INBOX" in done.out


def test_version(estafeta: Run) -> None:
    assert estafeta("version").out.startswith("estafeta ")
    assert "version" in ok(estafeta("version", "--json"))


def test_an_account_that_was_stopped_is_shown_and_released(estafeta: Run, tmp_path: Path) -> None:
    ok(estafeta("domain", "add", "x.example"))
    ok(estafeta("account", "add", "ana@x.example", "--generate"))
    show = ("account", "show", "ana@x.example")
    assert ok(estafeta(*show, "--json"))["stopped"] is None
    assert "allowed" in ok(estafeta(*show))
    with contextlib.closing(apsw.Connection(str(tmp_path / "data" / "estafeta.db"))) as db:
        db.execute(
            "INSERT INTO stopped_sender (account, at, why)"
            " SELECT id, 1795000000000, '1000/1h' FROM account"
        )
    assert ok(estafeta(*show, "--json"))["stopped"] == {
        "at": 1795000000000,
        "limit": "1000/1h",
        "held": 0,
    }
    assert "stopped since 2026-11-18 11:06:40Z: over 1000/1h, 0 recipients held" in ok(
        estafeta(*show)
    )
    done = estafeta("account", "release", "ana@x.example")
    assert (done.code, done.err.strip()) == (
        0,
        "account ana@x.example may send again; 0 recipients released",
    )
    assert ok(estafeta(*show, "--json"))["stopped"] is None
    assert ok(estafeta("account", "release", "ana@x.example", "--json")) == {
        "was_stopped": False,
        "released": 0,
    }
    assert "was not stopped" in estafeta("account", "release", "ana@x.example").err
    gone = estafeta("account", "release", "nobody@x.example")
    assert gone.code == 1
    assert "there is no account" in gone.err


def test_who_has_mail_held_for_sending_too_much_is_not_removed(
    estafeta: Run, tmp_path: Path
) -> None:
    ok(estafeta("domain", "add", "x.example"))
    ok(estafeta("account", "add", "ana@x.example", "--password-stdin", given="secreto largo\n"))
    store = apsw.Connection(str(tmp_path / "data" / "estafeta.db"))
    [(account,)] = store.execute("SELECT id FROM account").fetchall()
    store.execute(
        "INSERT INTO acceptance (id, at, origin, account, reverse_path, body, size, recipients)"
        " VALUES (7, 0, 'submission', ?, 'ana@x.example', 7, 1, 1)",
        (account,),
    )
    store.execute(
        "INSERT INTO queue (acceptance, n, destination, due, held)"
        " VALUES (7, 0, 'b.example', 0, ?)",
        (stopped.HELD,),
    )
    done = estafeta("account", "remove", "ana@x.example", "--yes")
    assert done.code == 1
    assert "estafeta queue cancel --all --mine ana@x.example" in done.err
    assert "estafeta account release ana@x.example" in done.err
    store.execute("DELETE FROM queue")
    store.close()
    ok(estafeta("account", "remove", "ana@x.example", "--yes"))
