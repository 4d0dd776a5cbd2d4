"""The foreign server is the client, we are the server."""

from __future__ import annotations

from collections.abc import Sequence

from tests.matrix.conftest import Cell
from tests.matrix.house import ANA, CROWD, ENYE, FULL, NOBODY
from tests.matrix.messages import large, plain, refolded, spelt
from tests.matrix.stand import BARE, EVA, Stand, with_text
from tests.support.peers.compare import fields
from tests.support.peers.letters import letter
from tests.support.peers.process import wait_for
from tests.support.peers.server import Direction, Dsn, Feature, RunningServer

from estafeta.explain.reading import read_report
from estafeta.explain.verdicts import verdicts

DIRECTION = Direction.SENDS


def sent(
    stand: Stand,
    mark: str,
    message: bytes,
    *,
    by: RunningServer | None = None,
    sender: str = EVA,
    recipients: Sequence[str] = (ANA,),
    dsn: Dsn | None = None,
) -> list[bytes]:
    """Has the server send it, and sees that it is stored whole for each recipient. What the first
    recipient has is returned."""
    peer = by or stand.base
    peer.submit(message, sender, recipients, dsn or Dsn())
    fates = stand.house.wait_fates(mark, recipients)
    assert fates == dict.fromkeys(recipients, "stored"), peer.log()[-4000:]
    for recipient in recipients:
        copies = stand.house.marked(recipient, mark)
        assert len(copies) == 1, f"{recipient} has {len(copies)}"
        stand.same(message, copies[0])
        assert fields(copies[0])[0] == f"Return-Path: <{sender}>".encode()
    wait_for("its queue empty", lambda: not peer.queue())
    return copies


def test_plain(stand: Stand, cell: Cell) -> None:
    with cell(Feature.PLAIN) as remark:
        message = plain(EVA, ANA, "plain")
        [got] = sent(stand, "plain", message)
        remark(refolded(message, got))
        assert "TLS" not in stand.house.said("plain")


def test_starttls(stand: Stand, cell: Cell) -> None:
    with cell(Feature.STARTTLS):
        [got] = sent(stand, "starttls", plain(EVA, ANA, "starttls"), by=stand.starttls)
        assert any(b"with ESMTPS id" in field for field in fields(got)[:3]), got[:1000]


def test_implicit_tls(stand: Stand, cell: Cell) -> None:
    with cell(Feature.IMPLICIT_TLS):
        [got] = sent(stand, "implicit", plain(EVA, ANA, "implicit"), by=stand.implicit)
        assert any(b"with ESMTPS id" in field for field in fields(got)[:3]), got[:1000]


def test_large(stand: Stand, cell: Cell) -> None:
    with cell(Feature.LARGE):
        sent(stand, "large", large(EVA, ANA, "large"))


def test_eight_bit(stand: Stand, cell: Cell) -> None:
    with cell(Feature.EIGHT_BIT) as remark:
        sent(stand, "eight", letter(EVA, ANA, "eight"))
        said = "BODY=8BITMIME" in stand.back.transaction("eight").mail.upper()
        remark("" if said else "sent as it is, without BODY=8BITMIME")


def test_smtputf8(stand: Stand, cell: Cell) -> None:
    with cell(Feature.SMTPUTF8):
        sent(stand, "utf8", letter(EVA, ENYE, "utf8"), recipients=[ENYE])
        assert "SMTPUTF8" in stand.back.transaction("utf8").mail.upper()


def test_chunking(stand: Stand, cell: Cell) -> None:
    with cell(Feature.CHUNKING):
        sent(stand, "bdat", letter(EVA, ANA, "bdat", size=200_000))
        assert stand.back.transaction("bdat").content == "BDAT"


def test_no_chunking(stand: Stand, cell: Cell) -> None:
    with cell(Feature.NO_CHUNKING):
        eva = f"eva@{BARE}"
        sent(stand, "data", letter(eva, ANA, "data"), by=stand.bare, sender=eva)
        assert stand.back_bare.transaction("data").content == "DATA"


def test_pipelining(stand: Stand, cell: Cell) -> None:
    with cell(Feature.PIPELINING):
        sent(stand, "pipes", letter(EVA, ANA, "pipes"))
        assert stand.back.transaction("pipes").pipelined


def test_no_pipelining(stand: Stand, cell: Cell) -> None:
    with cell(Feature.NO_PIPELINING):
        eva = f"eva@{BARE}"
        sent(stand, "steps", letter(eva, ANA, "steps"), by=stand.bare, sender=eva)
        assert not stand.back_bare.transaction("steps").pipelined


def test_many(stand: Stand, cell: Cell) -> None:
    with cell(Feature.MANY):
        sent(stand, "many", letter(EVA, CROWD[0], "many"), recipients=CROWD)
        assert len(stand.back.transaction("many").recipients) == len(CROWD)


ASKED = Dsn(
    notify=("SUCCESS", "FAILURE"),
    orcpt={ANA: "ana+2Bfirst@estafeta.example"},
    ret="HDRS",
    envid="envelope+2B1",
)


def test_dsn_parameters(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DSN_PARAMETERS):
        sent(stand, "asked", letter(EVA, ANA, "asked"), dsn=ASKED)
        said = stand.back.transaction("asked")
        mail, rcpt = said.mail.upper(), said.recipients[0].upper()
        assert "RET=HDRS" in mail
        assert "ENVID=ENVELOPE+2B1" in mail
        assert "ORCPT=RFC822;ANA+2BFIRST@ESTAFETA.EXAMPLE" in rcpt
        assert "NOTIFY=SUCCESS,FAILURE" in rcpt


def test_dsn_success(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DSN_SUCCESS):
        asked = Dsn(notify=["SUCCESS"], ret="HDRS", envid="success-1")
        sent(stand, "told", letter(EVA, ANA, "told"), dsn=asked)
        [report] = with_text(stand.base, EVA, b"<told@letters.example>")
        told = spelt(report)
        assert b"action: delivered" in told
        assert f"final-recipient: rfc822; {ANA}".encode() in told
        assert b"original-envelope-id: success-1" in told
        assert b".one dot" not in report, "RET=HDRS"


def test_dsn_never(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DSN_NEVER):
        silent = letter(EVA, NOBODY, "silent")
        stand.base.submit(silent, EVA, [NOBODY], Dsn(notify=["NEVER"]))
        wait_for("the queue empty", lambda: not stand.base.queue())
        stand.base.submit(letter(EVA, NOBODY, "loud"), EVA, [NOBODY])
        with_text(stand.base, EVA, b"<loud@letters.example>")
        assert not [m for m in stand.base.received(EVA) if b"<silent@letters.example>" in m]


def understood(bounce: bytes, told: bool) -> None:
    """What `estafeta explain` makes of the report that this server wrote. told: it says why."""
    reading = read_report(bounce)
    ((recipient, verdict),) = verdicts(reading)
    assert (reading.kind, recipient.address) == ("bounce", NOBODY)
    if told:
        assert (recipient.status, verdict.cause, verdict.hard) == ("5.1.1", "unknown-user", True)
    assert reading.returned.message_id == "<refused@letters.example>"


def test_refused(stand: Stand, cell: Cell) -> None:
    with cell(Feature.REFUSED) as remark:
        message = letter(EVA, ANA, "refused")
        stand.base.submit(message, EVA, [ANA, NOBODY])
        [bounce] = with_text(stand.base, EVA, b"<refused@letters.example>")
        assert NOBODY.encode() in bounce
        told = b"action: failed" in spelt(bounce) and b"5.1.1" in bounce
        remark("" if told else "its report lacks Action and Status")
        understood(bounce, told)
        assert stand.house.wait_fates("refused", [ANA]) == {ANA: "stored"}
        [copy] = stand.house.marked(ANA, "refused")
        stand.same(message, copy)
        wait_for("its queue empty", lambda: not stand.base.queue())


def test_deferred(stand: Stand, cell: Cell) -> None:
    with cell(Feature.DEFERRED):
        peer, house = stand.base, stand.house
        # a quota may be overrun once, by a message whose size nobody announced
        house.submit(letter(ANA, FULL, "filling"), ANA, [FULL])
        assert house.wait_fates("filling", [FULL]) == {FULL: "stored"}
        message = letter(EVA, FULL, "deferred")
        peer.submit(message, EVA, [FULL])
        wait_for("our 4xx in its log", lambda: "4.2.2" in peer.log())
        assert FULL in peer.queue()
        assert house.fates("deferred") == {}
        house.command("account", "set", FULL, "--quota", "none")

        def flushed() -> bool:
            peer.flush()
            return bool(house.fates("deferred"))

        wait_for("delivered later", flushed)
        assert house.wait_fates("deferred", [FULL]) == {FULL: "stored"}
        [copy] = house.marked(FULL, "deferred")
        stand.same(message, copy)
        wait_for("its queue empty", lambda: not peer.queue())
