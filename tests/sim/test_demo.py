"""The demo: as people run it, and whether its evidence can tell a failure."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.peers import postgres

from estafeta.sim.demo import clients, places, run
from estafeta.sim.demo.evidence import Evidence, forged_sender
from estafeta.sim.demo.failures import Failures
from estafeta.sim.demo.internet import settings
from estafeta.sim.demo.letters import LETTERS, Letter, body_of, compose, parse
from estafeta.sim.demo.places import CORREO, PLACES, SUDOMINIO, NoPlace, Ports, free_ports
from estafeta.sim.demo.reception import Receptions
from estafeta.sim.demo.receptions import RECEPTIONS
from estafeta.sim.demo.scene import Row, Scene
from estafeta.sim.demo.tour import Tour
from estafeta.sim.demo.troubles import TROUBLES
from estafeta.sim.dns import Asked
from estafeta.world.clock import SystemClock
from estafeta.world.seams import Endpoint

COMMAND = [sys.executable, "-m", "estafeta", "demo"]
STEPS = ("write", "submission", "queue", "dns", "smtp", "account", "mailbox")
A, B, C, D = LETTERS
TWO_DEMOS_SECONDS_MAX = 240  # with much else to do; half a minute each with nothing


def demo(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--folder", str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=folder.parent,
    )


def until_it_waits(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if "Ctrl-C" in line:
            return


@pytest.mark.timeout(TWO_DEMOS_SECONDS_MAX)
def test_every_step_is_seen_and_the_people_stay_in_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "kept here"
    first = demo(folder, "--once", "--json", "--lang", "en")
    output, errors = first.communicate(timeout=90)
    rows = json.loads(output)
    assert [row for row in rows if not row["ok"]] == []
    assert first.returncode == 0, errors
    assert all(set(row) - {"explanation"} == {"step", "expected", "seen", "ok"} for row in rows)
    assert all(row["expected"] and row["seen"] for row in rows)
    explained = ("failure ", "reception ")
    assert all(row["step"].startswith(explained) == bool(row.get("explanation")) for row in rows)
    assert [row["step"] for row in rows] == [
        *(f"{letter}.{n} {step}" for letter in "ABCD" for n, step in enumerate(STEPS, 1)),
        *(f"failure {trouble.name}" for trouble in TROUBLES),
        *(f"reception {reception.name}" for reception in RECEPTIONS),
        *(f"{letter}.ledger" for letter in "ABCD"),
        "audit sudominio.example",
        "audit correo.example",
        "audit puerto.example",
    ]
    for place in PLACES:
        log = (folder / place.domain / "log").read_text()
        assert not any(f'"level": "{bad}"' in log for bad in ("warning", "error", "critical"))
        assert "stopped" in log

    second = demo(folder, "--lang", "es")
    try:
        text = "".join(until_it_waits(second))
    finally:
        second.send_signal(signal.SIGINT)
        second.communicate(timeout=30)
    assert second.returncode == 0
    assert "Quién puede arreglarlo: usted" in text
    assert "UID FETCH 3 →" in text  # Luis has two letters of the first time
    assert "✗" not in text
    ports = [int(word) for word in text.split() if word.isdigit() and 2000 < int(word) < 40000]
    assert ports
    for place in PLACES:
        for port in ports:
            with socket.socket() as probe:
                assert probe.connect_ex((place.address, port)) != 0, (place.address, port)


@pytest.mark.timeout(TWO_DEMOS_SECONDS_MAX)
def test_the_same_steps_over_postgresql() -> None:
    """On a private server of its own, and then on one that runs already."""
    server = postgres.required_server("fsync=off")
    try:
        programs = str(server.programs)
        for store in ("postgresql", server.url("postgres")):
            command = [*COMMAND, "--json", "--store", store, "--postgres-bin", programs]
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", timeout=90, env=server.environment
            )
            assert [row for row in json.loads(done.stdout) if not row["ok"]] == []
            assert done.returncode == 0, done.stderr
    finally:
        server.stop()


def test_no_postgresql_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--once", "--store", "postgresql", "--postgres-bin", str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"estafeta: {tmp_path} does not have the programs initdb and postgres of PostgreSQL\n"
    )


# -- evidence ------------------------------------------------------------------------------------

PORTS = Ports(2025, 2465, 2587, 2993, 2143, 2995, 2110, 2080, 2053)
NOW = 1_800_000_000.0
OWN_ID, OTHER_ID = "38GFKDMCW4SF4", "38GFKDMEE7AY1"
NOBODY = "550 5.1.1 <{}>: there is no such mailbox here"
DATE = "Fri, 15 Jan 2027 08:00:00 +0000"


def asked(name: str, kind: str, answer: str) -> Asked:
    return Asked(0.0, Endpoint("127.0.0.1", 1), "udp", name, kind, answer)


def evidence(letter: Letter, log: list[Asked]) -> Evidence:
    """Of a letter that was handed over as it should be."""
    transcript = clients.Transcript(SystemClock(), tls="TLSv1.3 X")
    for side, line in (
        ("C", "AUTH PLAIN"),
        ("S", "235 2.7.0 Welcome"),
        ("C", f"MAIL FROM:<{forged_sender(letter.origin)}>"),
        ("S", "553 5.7.1 not yours"),
        ("C", "."),
        ("S", f"250 2.0.0 Message accepted, queue id {OWN_ID}"),
    ):
        transcript.add(side, line)
    raw = compose(letter, "<m@laptop.example>")
    seen = Evidence(letter, "en", PORTS, raw, clients.Transcript(SystemClock()), log)
    assert seen.written(NOW).row.ok
    assert seen.submitted(transcript).row.ok
    return seen


def hop(host: str, by: str, queue_id: str) -> str:
    return (
        f"Received: from {host}\r\n\t(using TLSv1.3 with cipher X)\r\n"
        f"\tby {by} with ESMTPS id {queue_id};\r\n\t{DATE}\r\n"
    )


OWN_HOP = hop("laptop.example ([127.0.0.1])", SUDOMINIO.host, OWN_ID) + f"Date: {DATE}\r\n"
OTHER_HOP = hop(f"{SUDOMINIO.host} ([{SUDOMINIO.address}])", CORREO.host, OTHER_ID)
DNS_OF_A = [
    asked("correo.example", "MX", "NOERROR 10 mx.correo.example."),
    asked("mx.correo.example", "A", "NOERROR 127.0.0.3"),
]


def failed(scenes: Iterable[Scene]) -> list[int]:
    return [scene.number for scene in scenes if not scene.row.ok]


def arrive(
    letter: Letter,
    *,
    log: list[Asked],
    top: str,
    change: tuple[bytes, bytes] = (b"", b""),
    waited: bool = True,
    unknown: str = NOBODY,
) -> list[int]:
    seen = evidence(letter, log)
    raw = f"Return-Path: <x>\r\nDelivered-To: {letter.to}\r\n{top}".encode() + seen.raw
    got = clients.Fetched(1, raw.replace(*change), NOW, waited)
    known = ("250 2.1.5 Recipient OK", unknown.format(letter.stranger))
    return failed(seen.arrived(got, known))


def test_a_letter_that_arrived_as_it_should() -> None:
    assert arrive(A, log=DNS_OF_A, top=OTHER_HOP + OWN_HOP) == []
    assert arrive(C, log=[], top=OWN_HOP, waited=False) == []


@pytest.mark.parametrize(
    ("wrong", "steps"),
    [
        ({"change": (b"abrazo", b"abrazo!")}, [3, 7]),
        ({"change": (b"Subject: ", b"Subject:  ")}, [3]),
        ({"change": (OWN_ID.encode(), OTHER_ID.encode())}, [3]),
        ({"top": OTHER_HOP + OWN_HOP.partition("Date: ")[0]}, [3]),
        ({"log": []}, [4]),
        ({"log": DNS_OF_A[:1]}, [4]),
        ({"log": [asked("correo.example", "MX", "NXDOMAIN no records"), DNS_OF_A[1]]}, [4]),
        ({"top": OWN_HOP}, [5]),
        ({"change": (b"\r\n\t(using TLSv1.3 with cipher X)", b"")}, [5]),
        ({"change": (b"127.0.0.2", b"127.0.0.9")}, [5]),
        ({"unknown": "250 2.1.5 Recipient OK"}, [6]),
        ({"change": (b"Delivered-To: emma", b"Delivered-To: oliver")}, [6]),
        ({"waited": False}, [7]),
    ],
)
def test_what_is_wrong_fails_its_step(wrong: dict[str, Any], steps: list[int]) -> None:
    given: dict[str, Any] = {"log": DNS_OF_A, "top": OTHER_HOP + OWN_HOP} | wrong
    assert arrive(A, **given) == steps


def test_a_letter_within_a_domain_asks_nobody_and_is_there_at_once() -> None:
    assert arrive(C, log=DNS_OF_A, top=OWN_HOP, waited=False) == [4]
    assert arrive(C, log=[], top=OTHER_HOP + OWN_HOP, waited=False) == [5]
    assert arrive(C, log=[], top=OWN_HOP, waited=True) == [7]


def test_a_letter_that_never_came() -> None:
    assert failed(evidence(A, DNS_OF_A).arrived(None, ("250 OK", NOBODY))) == [3, 5, 6, 7]
    assert failed(evidence(D, DNS_OF_A).came_back(None, (NOBODY, NOBODY))) == [3, 5, 6, 7]


REPORT = (
    "Return-Path: <>\r\nSubject: No entregado\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "No se ha podido entregar su mensaje «Se me olvidó decirte». No se ha avisado a nadie más.\r\n"
    "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    "Reporting-MTA: dns; mx.sudominio.example\r\n\r\n"
    "Final-Recipient: rfc822; ema@correo.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <ema@correo.example>:\r\n there is no such mailbox here\r\n"
    "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
)


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        (("", ""), []),
        (("there is no such", "there was no such"), [5]),
        (("Action: failed", "Action: delayed"), [6]),
        (("Return-Path: <>", "Return-Path: <a@b>"), [6]),
        (("No se ha podido", "We could not"), [7]),
        (("ba=C3=B1ador", "gorro"), [3, 7]),
        ((f"id {OWN_ID}", f"id {OTHER_ID}"), [3]),
    ],
)
def test_a_letter_that_came_back(change: tuple[str, str], steps: list[int]) -> None:
    seen = evidence(D, DNS_OF_A)
    raw = REPORT + OWN_HOP + seen.raw.decode() + "\r\n--b--\r\n"
    got = clients.Fetched(1, raw.replace(*change).encode(), NOW, True)
    reply = NOBODY.format("ema@correo.example")
    assert failed(seen.came_back(got, (reply, reply))) == steps


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("AUTH PLAIN", "535 5.7.8 no"),
        (".", "451 4.3.0 later"),
        (".", "250 2.0.0 fine"),
        ("MAIL FROM:<emma@correo.example>", "250 2.0.0 of course"),
    ],
)
def test_a_handing_over_that_went_wrong(command: str, reply: str) -> None:
    seen = evidence(A, DNS_OF_A)
    seen.transcript.add("C", command)
    seen.transcript.add("S", reply)
    second = seen.submitted(seen.transcript)
    top = (OTHER_HOP + OWN_HOP).encode()
    third = next(seen.arrived(clients.Fetched(1, top + seen.raw, NOW, True), ("", "")))
    assert failed([second, third])[:1] == [3 if command.startswith("MAIL") else 2]


@pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: letter.name)
def test_letters_are_mime_that_any_server_takes(letter: Letter) -> None:
    raw = compose(letter, "<m@x>")
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    read = parse(raw)
    assert read["Date"] is None
    text = read.get_body(("plain",))
    assert text is not None
    assert text.get_content().splitlines() == letter.text.splitlines()
    assert body_of(raw)


def test_one_letter_has_a_line_with_a_lone_full_stop() -> None:
    assert b"\r\n.\r\n" in compose(B, "<m@x>")


# -- the run -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_one_failed_row_is_exit_1(
    ok: bool,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Nothing:
        def __init__(self, *_: object) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

    class Told(Tour):
        async def scenes(self) -> Any:
            yield A, Scene(Row("A.1 write", "e", "s", True), 1, "", "", ())

        async def ledger(self) -> list[Row]:
            return [Row("A.ledger", "e", "s", ok)]

    class NoTroubles(Failures):
        async def rows(self) -> Any:
            for none in ():
                yield none

    class NoReceptions(Receptions):
        async def rows(self) -> Any:
            for none in ():
                yield none

    monkeypatch.setattr(run, "Internet", Nothing)
    monkeypatch.setattr(run, "Receptions", NoReceptions)
    monkeypatch.setattr(run, "Failures", NoTroubles)
    monkeypatch.setattr(run, "Tour", Told)
    assert run.main(once=True, json=True, language="en", folder=tmp_path) == code
    assert [row["ok"] for row in json.loads(capsys.readouterr().out)] == [True, ok]


def test_ports_move_together_past_one_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PORTS_FROM", 12000)  # a demo may start beside this test
    first = free_ports()
    with socket.socket() as taken:
        taken.bind((CORREO.address, first.pop3))
        taken.listen()
        second = free_ports()
    assert second.smtp - first.smtp == second.dns - first.dns
    assert second.smtp > first.smtp


def test_an_address_that_is_not_ours_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = places.Place("x.example", "192.0.2.77", "en", CORREO.people)
    monkeypatch.setattr(places, "PLACES", (elsewhere,))
    with pytest.raises(NoPlace, match=r"does not have the loopback address 192\.0\.2\.77.*lo0"):
        free_ports()


def test_a_folder_with_a_quote_in_its_name_is_a_path_all_the_same() -> None:
    folder = Path('/tmp/a "b" \\c')
    text = settings(CORREO, PORTS, folder, "sqlite:///e.db", folder / "c.pem", folder / "k")
    read = tomllib.loads(text)
    assert read["server"]["data_dir"] == str(folder / "data")
    assert read["tls"]["certificates"][0]["certificate"] == str(folder / "c.pem")
