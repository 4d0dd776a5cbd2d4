"""We are the client, the foreign server is the server."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

import pytest
from tests.matrix.conftest import Cell
from tests.matrix.house import ANA, ENYE
from tests.matrix.messages import large, plain, refolded, spelt
from tests.matrix.stand import (
    BARE,
    CROWD,
    EVA,
    IMPLICIT,
    NOBODY,
    OPPORTUNISTIC,
    PENGUIN,
    SLOW,
    SMART,
    STARTTLS,
    Stand,
    with_text,
)
from tests.support.peers.compare import fields
from tests.support.peers.letters import letter
from tests.support.peers.server import Direction, Dsn, Feature, RunningServer, submit_by_smtp

DIRECTION = Direction.RECEIVES


def relayed(
    stand: Stand,
    mark: str,
    message: bytes,
    recipients: Sequence[str] = (EVA,),
    *,
    to: RunningServer | None = None,
    sender: str = ANA,
    dsn: Dsn | None = None,
) -> list[bytes]:
    """One of our people sends it, and each recipient has it whole. What they have is returned."""
    peer = to or stand.base
    stand.house.submit(message, sender, recipients, dsn or Dsn())
    fates = stand.house.wait_fates(mark, recipients)
    assert fates == dict.fromkeys(recipients, "relayed"), stand.house.said(mark)
    found: list[bytes] = []
    for recipient in recipients:
        copies = with_text(peer, recipient, f"<{mark}@letters.example>".encode())
        assert len(copies) == 1, f"{recipient} has {len(copies)}"
        stand.same(message, copies[0])
        paths = [f for f in fields(copies[0]) if f.lower().startswith(b"return-path:")]
        assert paths in ([], [f"Return-Path: <{sender}>".encode()]), paths
        found += copies
    return found


def test_plain(stand: Stand, cell: Cell) -> None:
    with cell(Feature.PLAIN) as remark:
        message = plain(ANA, EVA, "r-plain")
        [got] = relayed(stand, "r-plain", message)
        remark(refolded(message, got))
        assert "TLS" not in stand.house.said("r-plain")


def test_starttls(stand: Stand, cell: Cell) -> None:
    with cell(Feature.STARTTLS):
        eva = f"eva@{STARTTLS}"
        relayed(stand, "r-starttls", plain(ANA, eva, "r-starttls"), [eva])
        assert "TLSv1.3" in stand.house.said("r-starttls")


def test_implicit_tls(stand: Stand, cell: Cell) -> None:
    with cell(Feature.IMPLICIT_TLS):
        assert stand.base.smtps_port
        eva = f"eva@{IMPLICIT}"
        relayed(stand, "r-implicit", plain(ANA, eva, "r-implicit"), [eva])
        assert "TLSv1.3" in stand.house.said("r-implicit")


def test_opportunistic_tls(stand: Stand, cell: Cell) -> None:
    """As we are set up unless told otherwise: a server whose TLS breaks gets its mail too."""
    with cell(Feature.OPPORTUNISTIC_TLS) as remark:
        eva = f"eva@{OPPORTUNISTIC}"
        assert stand.offers("STARTTLS")
        relayed(stand, "r-may", plain(ANA, eva, "r-may"), [eva])
        said = stand.house.said("r-may")
        if stand.why_not(DIRECTION, Feature.STARTTLS):
            remark("TLS broke, so in the clear")
            assert "TLS handshake" in said
        else:
            assert "TLSv1.3" in said


def test_large(stand: Stand, cell: Cell) -> None:
    with cell(Feature.LARGE):
        relayed(stand, "r-large", large(ANA, EVA, "r-large"))


def test_eight_bit(stand: Stand, cell: Cell) -> None:
    with cell(Feature.EIGHT_BIT):
        relayed(stand, "r-eight", letter(ANA, EVA, "r-eight"))
        assert "BODY=8BITMIME" in stand.out.transaction("r-eight").mail


def test_smtputf8(stand: Stand, cell: Cell) -> None:
    with cell(Feature.SMTPUTF8):
        message = letter(ENYE, PENGUIN, "r-utf8")
        if not stand.offers("SMTPUTF8"):
            # RFC 6531 §3.2: then nobody may send it there: it comes back
            stand.house.submit(message, ENYE, [PENGUIN])
            assert stand.house.wait_fates("r-utf8", [PENGUIN]) == {PENGUIN: "returned"}
            raise AssertionError("not offered")
        relayed(stand, "r-utf8", message, [PENGUIN], sender=ENYE)
        assert "SMTPUTF8" in stand.out.transaction("r-utf8").mail


def test_chunking(stand: Stand, cell: Cell) -> None:
    with cell(Feature.CHUNKING) as remark:
        remark("offered; we send DATA all the same (decision 0030)")
        relayed(stand, "r-bdat", letter(ANA, EVA, "r-bdat"))
        assert stand.offers("CHUNKING")
        assert stand.out.transaction("r-bdat").content == "DATA"


def test_no_chunking(stand: Stand, cell: Cell) -> None:
    with cell(Feature.NO_CHUNKING):
        eva = f"eva@{BARE}"
        relayed(stand, "r-data", letter(ANA, eva, "r-data"), [eva], to=stand.bare)
        assert stand.out_bare.offered("8BITMIME")
        assert not stand.out_bare.offered("CHUNKING")


def test_pipelining(stand: Stand, cell: Cell) -> None:
    with cell(Feature.PIPELINING):
        relayed(stand, "r-pipes", letter(ANA, EVA, "r-pipes"))
        assert stand.out.transaction("r-pipes").pipelined


def test_no_pipelining(stand: Stand, cell: Cell) -> None:
    with cell(Feature.NO_PIPELINING):
        eva = f"eva@{BARE}"
        relayed(stand, "r-steps", letter(ANA, eva, "r-steps"), [eva], to=stand.bare)
        assert not stand.out_bare.offered("PIPELINING")
        assert not stand.out_bare.transaction("r-steps").pipelined


def test_many(stand: Stand, cell: Cell) -> None:
    with cell(Feature.MANY):
        relayed(stand, "r-many", letter(ANA, CROWD[0], "r-many"), CROWD)
        assert len(stand.out.transaction("r-many").recipients) == len(CROWD)


ASKED = Dsn(
    notify=("SUCCESS", "FAILURE"),
    orcpt={EVA: "eva+2Bfirst@peer.example"},
    ret="HDRS",
    envid="envelope+2B2",
)


def test_dsn_parameters(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DSN_PARAMETERS):
        relayed(stand, "r-asked", letter(ANA, EVA, "r-asked"), dsn=ASKED)
        said = stand.out.transaction("r-asked")
        mail, rcpt = said.mail, said.recipients[0]
        assert "RET=HDRS" in mail
        assert "ENVID=envelope+2B2" in mail
        assert "ORCPT=rfc822;eva+2Bfirst@peer.example" in rcpt
        assert "NOTIFY=SUCCESS,FAILURE" in rcpt


def test_dsn_success(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DSN_SUCCESS) as remark:
        asked = Dsn(notify=["SUCCESS"], ret="HDRS", envid="success-2")
        relayed(stand, "r-told", letter(ANA, EVA, "r-told"), dsn=asked)
        reports = stand.house.wait_letters_with(ANA, "<r-told@letters.example>")
        reports = [report for report in reports if b"delivery-status" in report]
        assert len(reports) == 1
        [report] = reports
        # RFC 3461 §5.2.2: who hands on to a server that does not know DSN says "relayed"
        offered = stand.offers("DSN")
        told = spelt(report)
        assert f"action: {'delivered' if offered else 'relayed'}".encode() in told
        assert f"final-recipient: rfc822; {EVA}".encode() in told
        named = b"original-envelope-id: success-2" in told
        if not offered:
            remark("it does not offer DSN: we tell that it was relayed")
        elif not named:
            remark("its report leaves ENVID out")
        assert named or offered, "ours has it"
        assert b".one dot" not in report, "RET=HDRS"
        if offered:  # the report is theirs: a claim of our message, whose ENVID was the client's
            ways = [way for each in stand.house.journeys("r-told") for way in each.recipients]
            [way] = [way for way in ways if way.recipient == EVA]
            assert way.fate == "relayed"
            assert " delivered" in way.claims[0] or " entregado" in way.claims[0]


def test_dsn_never(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DSN_NEVER):
        house = stand.house
        house.submit(letter(ANA, NOBODY, "r-silent"), ANA, [NOBODY], Dsn(notify=["NEVER"]))
        house.wait_fates("r-silent", [NOBODY])
        house.submit(letter(ANA, NOBODY, "r-loud"), ANA, [NOBODY])
        house.wait_letters_with(ANA, "<r-loud@letters.example>")
        assert not house.letters_with(ANA, "<r-silent@letters.example>")


def test_refused(stand: Stand, cell: Cell) -> None:
    with cell(Feature.REFUSED):
        house, message = stand.house, letter(ANA, EVA, "r-refused")
        house.submit(message, ANA, [EVA, NOBODY])
        fates = house.wait_fates("r-refused", [EVA, NOBODY])
        assert fates == {EVA: "relayed", NOBODY: "returned"}
        [bounce] = house.wait_letters_with(ANA, "<r-refused@letters.example>")
        assert b"Action: failed" in bounce
        assert f"Final-Recipient: rfc822; {NOBODY}".encode() in bounce
        assert b"Status: 5." in bounce
        [copy] = with_text(stand.base, EVA, b"<r-refused@letters.example>")
        stand.same(message, copy)


def test_deferred(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DEFERRED):
        eva, house = f"eva@{SLOW}", stand.house
        message = letter(ANA, eva, "r-deferred")
        with stand.start("slow", stand.slow_spec(deferring=True)) as peer:
            house.submit(message, ANA, [eva])
            said = house.wait_waiting("r-deferred", eva)
            assert "4." in said, said
            assert eva in house.command("queue", "list")
            assert not peer.received(eva)
        with stand.start("slow", stand.slow_spec(deferring=False)) as peer:
            assert house.wait_fates("r-deferred", [eva]) == {eva: "relayed"}
            [copy] = peer.wait_received(eva)
            stand.same(message, copy)


def test_smarthost(stand: Stand, cell: Cell) -> None:
    with cell(Feature.SMARTHOST):
        eva, peer = f"eva@{SMART}", stand.smarthost
        port = peer.submission_port
        assert port
        message = letter(ANA, eva, "r-smart")
        with pytest.raises(smtplib.SMTPException):
            submit_by_smtp(peer.host, port, message, ANA, [eva])
        relayed(stand, "r-smart", message, [eva], to=peer)
