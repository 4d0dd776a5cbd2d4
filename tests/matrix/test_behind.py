"""Dovecot behind us: a static route by which whole domains are handed on by LMTP (RFC 2033)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.matrix import page
from tests.matrix.conftest import Remark, fill
from tests.matrix.house import ANA, MANY, House, Way
from tests.matrix.messages import large, plain, spelt
from tests.matrix.tap import Tap
from tests.support.peers.authority import Authority
from tests.support.peers.compare import assert_same, fields
from tests.support.peers.dovecot import Dovecot
from tests.support.peers.letters import letter
from tests.support.peers.packages import Unavailable, fetch
from tests.support.peers.process import free_port, wait_for
from tests.support.peers.server import Direction, Dsn, Feature
from tests.support.require import require

pytestmark = pytest.mark.xdist_group("dovecot")

DOMAIN = "behind.example"
FULL = "full.example"
EVA = f"eva@{DOMAIN}"
NOBODY = f"nadie@{DOMAIN}"
CROWD = tuple(f"w{n:02}@{DOMAIN}" for n in range(MANY))
PEOPLE = tuple(address.partition("@")[0] for address in (EVA, *CROWD))

# A mailbox that is full, which it calls a matter of time.
QUOTA = """\
mail_plugins = quota
quota_full_tempfail = yes
plugin {
  quota = maildir:Quota
  quota_rule = *:bytes=1
}
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """What the page calls it and what it cannot; see `ForeignServer`."""

    name: str = page.BEHIND
    cannot: Mapping[tuple[Direction, Feature], str] = field(
        default_factory=lambda: {
            (
                Direction.RECEIVES,
                Feature.SMTPUTF8,
            ): "not offered: the message returns",
        }
    )

    def version(self) -> str:
        return fetch().versions["dovecot-core"].partition(":")[2]


BEHIND = Behind()


def cell(feature: Feature) -> AbstractContextManager[Remark]:
    return fill(BEHIND, Direction.RECEIVES, feature)


@dataclass(frozen=True, slots=True)
class Pair:
    """A house with a Dovecot behind it. full: port of one that is started where a test needs it."""

    house: House
    dovecot: Dovecot
    tap: Tap
    folder: Path
    full: int


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Skipped or failed (ESTAFETA_REQUIRE) without Dovecot."""
    folder = Path(tempfile.mkdtemp(prefix="mtx-"))
    folder.chmod(0o755)
    try:
        dovecot = Dovecot(folder / "dovecot", users=PEOPLE)
    except Unavailable as error:
        require("peers", f"Dovecot: {error}")
    full, tap = free_port(), Tap(dovecot.lmtp_port)
    lmtp = ('protocol = "lmtp"',)
    ways = [Way(DOMAIN, tap.port, more=lmtp), Way(FULL, full, more=lmtp)]
    with tap, dovecot, House(folder / "house", Authority(folder / "ca"), ways) as house:
        yield Pair(house, dovecot, tap, folder, full)
        house.command("audit", "--full")
    shutil.rmtree(folder, ignore_errors=True)


def handed_on(
    pair: Pair,
    mark: str,
    message: bytes,
    recipients: Sequence[str] = (EVA,),
    *,
    sender: str = ANA,
    dsn: Dsn | None = None,
) -> None:
    """Ana sends it, and each recipient has it whole."""
    pair.house.submit(message, sender, recipients, dsn or Dsn())
    fates = pair.house.wait_fates(mark, recipients)
    assert fates == dict.fromkeys(recipients, "relayed"), pair.house.said(mark)
    for recipient in recipients:
        [copy] = mailbox(pair.dovecot, recipient, mark)
        assert_same(message, copy)
        assert fields(copy)[0] == f"Return-Path: <{sender}>".encode()


def mailbox(dovecot: Dovecot, recipient: str, mark: str) -> list[bytes]:
    """What of a `letter` lies in a mailbox, once something does."""
    user, text = recipient.partition("@")[0], f"<{mark}@letters.example>".encode()

    def look() -> list[bytes]:
        return [each for each in dovecot.mailbox_messages(user) if text in each]

    return wait_for(f"{mark} for {recipient}", look)


def test_plain(pair: Pair) -> None:
    with cell(Feature.PLAIN):
        handed_on(pair, "plain", plain(ANA, EVA, "plain"))


def test_large(pair: Pair) -> None:
    with cell(Feature.LARGE):
        handed_on(pair, "large", large(ANA, EVA, "large"))


def test_eight_bit(pair: Pair) -> None:
    with cell(Feature.EIGHT_BIT):
        handed_on(pair, "eight", letter(ANA, EVA, "eight"))
        assert "BODY=8BITMIME" in pair.tap.transaction("eight").mail


def test_smtputf8(pair: Pair) -> None:
    with cell(Feature.SMTPUTF8):
        message = letter(ANA, f"pingüino@{DOMAIN}", "utf8")
        handed_on(pair, "utf8", message, [f"pingüino@{DOMAIN}"])


def test_pipelining(pair: Pair) -> None:
    with cell(Feature.PIPELINING):
        handed_on(pair, "pipes", letter(ANA, EVA, "pipes"))
        assert pair.tap.transaction("pipes").pipelined


def test_many(pair: Pair) -> None:
    with cell(Feature.MANY):
        handed_on(pair, "many", letter(ANA, CROWD[0], "many"), CROWD)
        assert len(pair.tap.transaction("many").recipients) == len(CROWD)


def test_dsn_success(pair: Pair) -> None:
    with cell(Feature.DSN_SUCCESS) as remark:
        asked = Dsn(notify=["SUCCESS"], ret="HDRS", envid="success-3")
        handed_on(pair, "told", letter(ANA, EVA, "told"), dsn=asked)
        remark("it does not offer DSN: we tell that it was relayed")
        assert "NOTIFY" not in pair.tap.transaction("told").recipients[0]
        reports = pair.house.wait_letters_with(ANA, "<told@letters.example>")
        told = spelt(reports[0])
        assert b"action: relayed" in told
        assert f"final-recipient: rfc822; {EVA}".encode() in told
        assert b"original-envelope-id: success-3" in told


def test_refused(pair: Pair) -> None:
    with cell(Feature.REFUSED):
        message = letter(ANA, EVA, "refused")
        pair.house.submit(message, ANA, [EVA, NOBODY])
        fates = pair.house.wait_fates("refused", [EVA, NOBODY])
        assert fates == {EVA: "relayed", NOBODY: "returned"}
        [bounce] = pair.house.wait_letters_with(ANA, "<refused@letters.example>")
        assert f"final-recipient: rfc822; {NOBODY}".encode() in spelt(bounce)
        [copy] = mailbox(pair.dovecot, EVA, "refused")
        assert_same(message, copy)


def test_deferred(pair: Pair) -> None:
    with cell(Feature.DEFERRED):
        eva = f"eva@{FULL}"
        message = letter(ANA, eva, "deferred")

        def start(more: str) -> Dovecot:
            folder = pair.folder / "full"
            return Dovecot(folder, users=PEOPLE, lmtp_port=pair.full, more=more)

        with start(QUOTA):
            pair.house.submit(message, ANA, [eva])
            said = pair.house.wait_waiting("deferred", eva)
            assert "4.2.2" in said, said
            assert eva in pair.house.command("queue", "list")
        with start("") as dovecot:
            assert pair.house.wait_fates("deferred", [eva]) == {eva: "relayed"}
            [copy] = mailbox(dovecot, eva, "deferred")
            assert_same(message, copy)
