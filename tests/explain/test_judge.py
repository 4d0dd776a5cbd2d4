"""Judge: a refusal of any server comes to the right cause, for ever or not, and quickly."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estafeta.explain.causes import causes
from estafeta.explain.judge import judge, weigh
from estafeta.explain.judge.index import Index
from estafeta.explain.judge.judging import NOTHING_FITS
from estafeta.explain.judge.knowledge import ORDER, facts, pieces
from estafeta.explain.judge.limits import WORDS_CHARACTERS_MAX
from estafeta.explain.judge.phrase import Kind, Phrase, Words
from estafeta.explain.judge.tidy import status_within, tidy
from estafeta.explain.refusal import Refusal

KINDS = {"box": Kind(["mailbox", "mail box"]), "full": Kind(["full", "exceed*"])}


def refusal(line: str, command: str = "", **more: str) -> Refusal:
    """A report that repeats one reply."""
    match = re.match(r"(?:([245]\d\d)[- ])?(?:([245]\.\d+\.\d+) )?(.*)", line, re.DOTALL)
    assert match is not None
    told = {"mailer": "postfix", "action": "failed", "host": "mx.example", **more}
    return Refusal(
        code=int(match[1] or 0), status=match[2] or "", text=match[3], command=command, **told
    )


# How servers speak: many makes and providers, in several languages.
SAID = [
    ("mailbox-full", "RCPT", "452 4.2.2 The account that you tried to reach is over quota"),
    ("mailbox-full", "DATA", "554 5.2.0 STOREDRV.Deliver.Exception:QuotaExceededException"),
    ("mailbox-full", "RCPT", "550 Die Mailbox des Empfängers ist voll. Postfach voll"),
    ("mailbox-full", "RCPT", "552 <u@x.example>: El buzón del usuario está lleno"),
    ("mailbox-full", "RCPT", "450 4.1.1 user overquota"),
    ("mailbox-full", "", "552 5.1.1 <u@x.example>... Mailbox Full"),
    ("unknown-user", "RCPT", "550 5.7.1 No such user!"),
    ("unknown-user", "RCPT", "550 Requested action not taken: mailbox unavailable"),
    ("unknown-user", "RCPT", "550 5.4.1 Recipient address rejected: Access denied. AS(20180628)"),
    ("unknown-user", "RCPT", "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)"),
    ("unknown-user", "RCPT", "550 5.1.1 Benutzer unbekannt"),
    ("unknown-user", "RCPT", "550 Usuario desconocido"),
    ("unknown-user", "RCPT", "550 Utilisateur inconnu"),
    ("unknown-user", "RCPT", "554 RCPT (x@y.example) non-local recipient verification failed"),
    ("unknown-user", "RCPT", "550 5.1.1 our server has rejected this"),
    ("blocked-ip", "RCPT", "550 5.0.0 our server has rejected this"),
    ("unknown-or-filtered", "DATA", "550 Unknown user x@y.example"),
    ("unknown-or-filtered", "", "550 5.2.1 <x@y.example>... User Unknown"),
    ("unknown-user", "RCPT", "550 5.2.1 <x@y.example>... User Unknown"),
    ("mailbox-disabled", "RCPT", "554 30 Sorry, this mailbox is disabled (554.30)."),
    ("mailbox-disabled", "RCPT", "450 4.2.1 <x@y.example>: user account suspended"),
    ("mailbox-disabled", "RCPT", "550 La cuenta está desactivada"),
    ("user-moved", "RCPT", "551 User has moved; please try <b@c.example>"),
    ("blocked-ip", "CONN", "554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org"),
    ("blocked-ip", "CONN", "550 5.7.1 part of their network is on our block list (S3140)."),
    ("blocked-ip", "CONN", "550 Access denied"),
    ("blocked-ip", "CONN", "421 4.7.0 [TSS09] All messages will be permanently deferred"),
    ("rate-limited", "CONN", "421 4.7.0 [TSS04] Messages temporarily deferred due to volume"),
    ("rate-limited", "MAIL", "451 4.7.500 Server busy. Please try again later from [192.0.2.1]"),
    ("rate-limited", "RCPT", "450-4.2.1 The user is receiving mail too quickly."),
    ("too-many-connections", "CONN", "421 4.7.0 Error: too many connections from 192.0.2.1"),
    ("reputation", "CONN", "554 rejected due to the sending MTA's poor reputation"),
    ("reputation", "CONN", "451 4.7.650 temporarily rate limited due to IP reputation (S775)"),
    ("reputation", "DATA", "550 5.7.1 likely suspicious due to the very low reputation of the IP"),
    ("greylisted", "RCPT", "451 Internal resources are temporarily unavailable"),
    ("greylisted", "RCPT", "450 4.2.0 <x@y.example>: Recipient address rejected: Greylisted"),
    ("greylisted", "RCPT", "451 4.7.1 The service is unavailable. Please come back later."),
    ("policy-content", "DATA", "554 5.7.1 Message rejected under suspicion of SPAM"),
    ("policy-content", "DATA", "550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]"),
    ("policy", "DATA", "554 5.7.9 Message not accepted for policy reasons."),
    ("virus-found", "DATA", "554 5.7.1 virus Eicar-Test-Signature detected by ClamAV"),
    ("policy-attachment", "DATA", "550 5.7.1 Message contains a banned attachment: foo.mov"),
    ("no-reverse-dns", "CONN", "550 5.7.1 Client host rejected: cannot find your hostname"),
    ("bad-greeting", "RCPT", "504 5.5.2 <localhost>: Helo command rejected: need a name"),
    ("not-authenticated-mail", "DATA", "550 5.7.1 Email rejected per DMARC policy"),
    ("not-authenticated-mail", "RCPT", "550 5.7.1 See http://www.openspf.org/Why?id=a@b.example"),
    ("sender-domain-missing", "MAIL", "450 4.1.8 <a@b>: Sender address rejected: Domain not found"),
    ("sender-domain-missing", "MAIL", "553 5.1.0 b.example does not exist"),
    ("sender-rejected", "MAIL", "550 5.7.1 <a@b.example>... Access denied"),
    ("relay-denied", "RCPT", "553 that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
    ("login-failed", "MAIL", "530 5.7.57 Client was not authenticated to send anonymous mail"),
    ("tls-required", "MAIL", "530 5.7.0 Must issue a STARTTLS command first"),
    ("message-too-large", "MAIL", "552 message size exceeds maximum permitted"),
    ("recipient-restricted", "RCPT", "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized"),
    ("recipient-filter", "DATA", "550 5.1.1 Refused due to recipient preferences"),
    ("domain-not-found", "", "550 5.1.2 <x@y.example>... Host unknown"),
    ("domain-unresolved", "", "4.0.0 DNS Error: type 'mx' lookup responded with code NXDOMAIN"),
    ("domain-not-found", "", "DNS Error: Domain name not found"),
    ("dns-trouble", "", "4.4.3 Name service error for name=x.example: Host not found, try again"),
    ("null-mx", "", "5.1.0 Domain x.example does not accept mail (nullMX)"),
    ("no-mail-host", "", "Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)"),
    ("unroutable-address", "", "Unrouteable address"),
    ("host-unreachable", "", "4.4.1 connect to mx.example[192.0.2.1]:25: Connection refused"),
    ("connection-lost", "", "4.4.2 lost connection with mx.example while sending RCPT TO"),
    ("expired", "", "550 4.4.7 QUEUE.Expired; message expired"),
    ("loop", "", "5.4.6 mail for x.example loops back to myself"),
    ("server-full", "MAIL", "452 4.3.1 Insufficient system storage"),
    ("server-busy", "RCPT", "451 4.3.2 Please try again later"),
    ("server-trouble", "RCPT", "451 4.3.5 Server configuration problem"),
    ("delivery-program-failed", "", "5.3.0 Command died with status 1: x. Command output: y"),
    ("too-many-recipients", "RCPT", "452 4.5.3 Error: too many recipients"),
    ("malformed-message", "DATA", "550-5.7.1 not RFC 5322 compliant\n550 5.7.1 duplicate headers"),
    ("suppressed", "", "5.1.1 Message rejected: address is on the suppression list"),
    ("command-refused", "RCPT", "503 5.5.1 Error: need MAIL command"),
    ("not-now", "RCPT", "450 4.0.0 Temporary failure"),
    ("other", "", "hmm"),
]


@pytest.mark.parametrize(("cause", "command", "line"), SAID)
def test_how_servers_speak(cause: str, command: str, line: str) -> None:
    verdict = judge(refusal(line, command))
    assert (verdict.cause, verdict.rule) == (cause, verdict.rule)


def test_words_of_addresses_do_not_count() -> None:
    assert judge(refusal("550 5.7.1 <spam@relay.example>: no", "RCPT")).cause == "policy"
    assert judge(refusal("550 5.7.1 virus.found@x.example: no", "RCPT")).cause == "policy"


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        ("Data command rejected", "other"),
        ("End-of-data command rejected", "other"),
        ("Sender address rejected", "sender-rejected"),
        ("Client host rejected", "blocked-ip"),
        ("Helo command rejected", "bad-greeting"),
    ],
)
def test_the_frames_of_postfix_say_whom_it_concerns(frame: str, cause: str) -> None:
    line = f"554 5.0.0 <x>: {frame}: I would prefer not to"
    assert judge(refusal(line)).cause == cause
    line = f"450 4.7.1 <x>: {frame}: Too many connections"
    assert judge(refusal(line)).cause in ("too-many-connections", "bad-greeting")


def test_the_frame_of_postfix_is_no_reason() -> None:
    line = "554 5.0.0 <a@b.example>: Recipient address rejected: I would prefer not to"
    assert judge(refusal(line, "RCPT")).cause == "other"
    line = "550 5.0.0 <a@b>: Recipient address rejected: User unknown in relay recipient table"
    assert judge(refusal(line, "RCPT")).cause == "unknown-user"


def test_a_status_in_the_words_counts_where_the_report_has_none_that_tells() -> None:
    line = "501 validation failed: 5.2.2 no"
    assert judge(refusal(line, "RCPT")).cause == "mailbox-full"
    told = refusal("501 5.1.1 validation failed: 5.2.2 no", "RCPT")
    assert judge(told).cause == "unknown-user"


def test_who_says_it_matters() -> None:
    assert judge(refusal("550 5.7.30 no", host="mx.google.com")).cause == "not-authenticated-mail"
    assert judge(refusal("550 5.7.30 no", host="mx.notgoogle.com")).cause == "tls-required"
    said = "550 : User unknown"
    assert judge(refusal(said, "RCPT", host="lsean.ezweb.ne.jp")).cause == "unknown-or-filtered"


@pytest.mark.parametrize(
    ("line", "action", "permanent", "hard"),
    [
        ("550 5.1.1 User unknown", "failed", True, True),
        ("5.1.2 Host unknown", "failed", True, True),
        ("5.1.10 null MX", "failed", True, True),
        ("551 5.1.6 moved", "failed", True, True),
        ("4.0.0 DNS Error: returned Null MX", "failed", False, False),
        ("450 4.1.1 User unknown", "failed", False, True),  # asked until it was given up
        ("450 4.1.1 User unknown", "delayed", False, False),
        ("450 4.1.1 User unknown", "", False, False),
        ("552 5.2.2 Mailbox full", "failed", True, False),
        ("554 5.7.1 Sender address rejected", "failed", True, False),
        ("550 5.2.1 account disabled", "failed", True, False),
        ("malformed address: x may not follow y", "failed", True, False),
        ("Unrouteable address", "failed", True, True),
        ("Unrouteable address", "delayed", False, False),
        ("4.4.1 Connection timed out", "failed", False, False),
    ],
)
def test_permanent_is_the_class_and_hard_is_for_ever(
    line: str, action: str, permanent: bool, hard: bool
) -> None:
    verdict = judge(refusal(line, action=action))
    assert (verdict.permanent, verdict.hard) == (permanent, hard)


def test_a_reply_to_ourselves_answers_the_recipient() -> None:
    ours = Refusal(code=550, text="User unknown")
    assert judge(ours).cause == "unknown-user"
    assert judge(ours).hard


def test_reports_of_other_kinds_tell_of_no_refusal() -> None:
    said = Refusal(code=550, text="spam", action="failed")
    for kind, cause in (("feedback", "complaint"), ("auto-reply", "auto-reply")):
        verdict = judge(said, kind=kind)
        assert (verdict.cause, verdict.hard) == (cause, False)
    assert judge(said, kind="delivered").cause == "policy-content"  # not of this one
    assert judge(Refusal(status="2.1.5", action="delivered"), kind="delivered").cause == "delivered"
    assert judge(Refusal(status="2.1.5", action="relayed")).cause == "delivered"
    assert judge(Refusal(action="delayed")).cause == "still-trying"


def test_without_its_knowledge_it_says_so() -> None:
    said = refusal("550 5.1.1 User unknown")
    verdict = judge(said, known=Index([]))
    assert (verdict.cause, verdict.rule) == ("other", NOTHING_FITS)
    first = next(weigh(said))
    others = Index(piece for piece in pieces() if piece.fact != first.fact)
    assert next(weigh(said, others)).fact != first.fact


# The knowledge itself.


def test_every_fact_has_a_known_cause_a_condition_and_a_source() -> None:
    assert {file for file, _ in facts()} == set(ORDER)
    for file, fact in facts():
        assert fact.cause in causes(), (file, fact)
        assert fact.source.strip(), (file, fact)
        conditions = (fact.says, fact.status, fact.code, fact.command, fact.mailer, fact.action)
        assert any(conditions), (file, fact)
        for status in fact.status:
            assert re.fullmatch(r"|[*45]\.\d{1,3}\.\d{1,3}", status), (file, status)
        for command in fact.command:
            assert command == command.upper(), (file, command)


def test_no_phrase_is_given_twice_for_different_causes_under_the_same_conditions() -> None:
    seen: dict[tuple[object, ...], str] = {}
    for piece in pieces():
        if piece.phrase is None or not piece.bare:
            continue
        file = piece.rule.partition(":")[0]
        key = (file, piece.phrase.written)
        assert seen.setdefault(key, piece.cause) == piece.cause, key


def test_every_phrase_can_be_found() -> None:
    for piece in pieces():
        if piece.phrase is None:
            continue
        re.compile(piece.phrase.pattern())
        for anchor in piece.phrase.anchors:
            assert Words(anchor).apart == {anchor}


# Phrases.


@pytest.mark.parametrize(
    ("phrase", "words", "fits"),
    [
        ("full", "the mailbox is full", True),
        ("full", "carefully", False),
        ("full", "full: the mailbox", True),
        ("exceed*", "quota exceeded", True),
        ("exceed", "quota exceeded", False),
        ("blocked … ip", "blocked is your ip", True),
        ("blocked … ip", "blocked" + "." * 200 + "ip", False),
        ("blocked … ip", "blocked, zip", False),
        ("ofr*_{n}", "see ofr006_102", True),
        ("ofr*_{n}", "see ofr006_x", False),
        ("{box} … {full}", "the mail box of x is full", True),
        ("{box} … {full}", "mailbox exceeds", True),
        ("{box} … {full}", "full mailbox", False),
        ("{box} … {full}", "mailbox" + "." * 200 + "full", False),
        ("{box} … {full}", "mailbox" + "." * 200 + "mailbox, full", True),
        ("{box} {full}", "mailbox full", True),
        ("{box} {full}", "mailbox, full", False),
        ("{full}", "it exceeds", True),
        ("our {box}", "our mail box", True),
        ("our {box}", "your mail box", False),
        ("^user", "user unknown", True),
        ("^user", "a user", False),
        ("user$", "a user", True),
        ("メール", "このメールは", True),
        ("c=rdns", "ip=1&c=rdns", True),
    ],
)
def test_phrases(phrase: str, words: str, fits: bool) -> None:
    one, said = Phrase(phrase, KINDS), Words(words)
    assert one.fits(said) is fits
    assert (re.search(one.pattern(), words) is not None) is fits
    if fits and one.anchors:
        assert said.apart & one.anchors


@pytest.mark.parametrize("vague", ["", "…", "a … b … c … d", "*"])
def test_vague_phrases_are_refused(vague: str) -> None:
    with pytest.raises(ValueError, match="vague"):
        Phrase(vague, KINDS)
    with pytest.raises(KeyError):
        Phrase("{made}", KINDS)


def test_words_are_tidied() -> None:
    assert tidy("550-5.7.26 One\n550 5.7.26  TWO") == "one two"
    assert tidy("<a@b.example>: No ‘such’ user") == "<>: no 'such' user"
    assert tidy("mail a@b.example, now") == "mail @, now"
    assert tidy("x" * 9000) == "x" * WORDS_CHARACTERS_MAX
    assert status_within("a 5.0.0 b 5.2.2 c") == "5.2.2"
    assert status_within("version 5.2.2.1") == ""


# Any octets, and speed.


@given(
    text=st.text(max_size=300),
    status=st.from_regex(r"([245]\.\d{1,3}\.\d{1,3})?", fullmatch=True),
    code=st.integers(0, 999),
    host=st.text(max_size=20),
    command=st.sampled_from(["", "RCPT", "DATA", "X"]),
)
def test_whatever_is_said_has_a_verdict(
    text: str, status: str, code: int, host: str, command: str
) -> None:
    said = Refusal(code=code, status=status, text=text, host=host, command=command)
    verdict = judge(said)
    assert verdict.cause in causes()
    fitting = list(weigh(said))
    assert [piece.place for piece in fitting] == sorted(piece.place for piece in fitting)
    assert verdict.rule == (fitting[0].rule if fitting else NOTHING_FITS)


HOSTILE = [
    "@" * 5000,
    "a@" * 3000,
    "<" * 5000,
    "mailbox " * 1000,
    "5.7.1 " * 1500,
    "550-" * 2000,
    "\n" * 5000,
    "user unknown relay spam quota policy " * 200,
    "é" * 5000,
    "ip " * 2000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_words_make_it_slow(text: str) -> None:
    judge(refusal("550 5.7.1 " + text))
    started = time.process_time()
    for _ in range(5):
        judge(refusal("550 5.7.1 " + text))
    assert (time.process_time() - started) / 5 < 0.05


def test_a_reply_costs_little() -> None:
    said = refusal("550 5.1.1 <a@b.example>: Recipient address rejected: User unknown in table")
    judge(said)
    best = 1.0
    for _ in range(20):
        started = time.process_time()
        for _ in range(50):
            judge(said)
        best = min(best, (time.process_time() - started) / 50)
    assert best < 0.000_2
