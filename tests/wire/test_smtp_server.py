"""wire.smtp_server: what the dialogues cannot show: events, splitting, our own faults, limits."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.wire import limits, replies
from estafeta.wire.smtp_server import (
    ORDER,
    AuthBegin,
    AuthData,
    Chunk,
    Connected,
    Data,
    EarlyTalk,
    EndOfData,
    Event,
    Hello,
    LocalError,
    Lost,
    Mail,
    Profile,
    Rcpt,
    SmtpServer,
    StartTls,
    State,
    Vrfy,
    capabilities,
)
from estafeta.wire.smtp_server.order import VERBS

MX = Profile(role="mx", host_name="mx.example")
LMTP = Profile(role="lmtp", host_name="mx.example")
SUBMISSION = Profile(
    role="submission",
    host_name="mx.example",
    tls_offered=True,
    auth_mechanisms=("PLAIN",),
    auth_without_tls=True,
)
ANSWERS: dict[type, Reply] = {
    Connected: replies.GREETING(host="mx.example", banner=""),
    Hello: replies.HELLO(host="mx.example"),
    AuthBegin: replies.AUTH_FAILED,
    AuthData: replies.AUTH_FAILED,
    Mail: replies.SENDER_OK,
    Rcpt: replies.RECIPIENT_OK,
    Data: replies.GO_AHEAD,
    EndOfData: replies.OK,
    Vrfy: replies.CANNOT_VERIFY,
}


def run(machine: SmtpServer) -> list[Event]:
    """All events there are, each answered with yes."""
    found = []
    while (event := machine.next_event()) is not None:
        found.append(event)
        if type(event) in ANSWERS:
            problem = event.problem if isinstance(event, EndOfData) else None
            machine.reply(problem or ANSWERS[type(event)])
    return found


def ready(profile: Profile = MX, commands: bytes = b"") -> SmtpServer:
    """A machine after HELO and `commands`, its output taken."""
    machine = SmtpServer(profile)
    run(machine)
    machine.receive((b"LHLO c\r\n" if profile.role == "lmtp" else b"HELO c\r\n") + commands)
    run(machine)
    machine.take_output()
    return machine


RCPT = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"


def test_events_carry_what_was_said() -> None:
    machine = ready(SUBMISSION)
    machine.receive(
        b"EHLO  client.example \r\n"
        b"MAIL FROM:<Ana@B.Example> size=12 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=q+2Bid"
        b" AUTH=eva+2Bx@b.example\r\n"
        b"RCPT TO:<Luis@D.Example> NOTIFY=failure,DELAY ORCPT=RFC822;l+2Bx@d.example\r\n"
    )
    assert run(machine) == [
        Hello("client.example", "EHLO", True),
        Mail("Ana@b.example", 12, "8BITMIME", True, "HDRS", "q+id", "eva+x@b.example"),
        Rcpt(Recipient("Luis@d.example", frozenset({"FAILURE", "DELAY"}), "rfc822;l+x@d.example")),
    ]
    assert machine.recipients_accepted == 1


def test_an_original_recipient_in_utf8_has_three_spellings() -> None:
    machine = ready(SUBMISSION)
    machine.receive(
        "MAIL FROM:<a@b.example> SMTPUTF8\r\n"
        "RCPT TO:<ñ@d.example> ORCPT=rfc822;+C3+B1+2Bx@d.example\r\n"  # as Postfix has it
        "RCPT TO:<ñ@d.example> ORCPT=utf-8;\\x{F1}\\x{2B}x@d.example\r\n"
        "RCPT TO:<ñ@d.example> ORCPT=utf-8;ñ\\x{2B}x@d.example\r\n".encode()
    )
    told = [event.recipient.orcpt for event in run(machine) if isinstance(event, Rcpt)]
    assert told == ["rfc822;ñ+x@d.example", "utf-8;ñ+x@d.example", "utf-8;ñ+x@d.example"]


@pytest.mark.parametrize(
    "value",
    [
        "rfc822;+C3@d.example",  # no UTF-8
        "rfc822;+ED+A0+80@d.example",  # a surrogate's half
        "rfc822;+C2+80@d.example",  # a control character
        "utf-8;\\x{110000}@d.example",
        "utf-8;\\x{0A}@d.example",
        "utf-8;\\x{D800}@d.example",
    ],
)
def test_an_original_recipient_that_is_no_text(value: str) -> None:
    machine = ready(SUBMISSION)
    machine.receive(f"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example> ORCPT={value}\r\n".encode())
    assert not [event for event in run(machine) if isinstance(event, Rcpt)]
    assert b"501 5.5.4 Bad value of parameter ORCPT" in machine.take_output()


def test_a_name_cannot_break_a_received_field() -> None:
    machine = ready()
    machine.receive("EHLO pc_1 (x); [IPv6:2001:db8::1]ñ\r\n".encode())
    assert run(machine) == [Hello("pc_1??x???[IPv6:2001:db8::1]?", "EHLO", True)]


def test_the_defaults_of_events() -> None:
    machine = ready(SUBMISSION)
    machine.receive(b"MAIL FROM:<> AUTH=<>\r\nRSET\r\nVRFY  luis smtputf8\r\nAUTH PLAIN =\r\n")
    events = run(machine)
    assert events[0] == Mail("", auth="")
    assert events[2:] == [Vrfy(" luis"), AuthBegin("PLAIN", b"")]


@pytest.mark.parametrize("state", ORDER)
@pytest.mark.parametrize("verb", VERBS)
def test_the_table_is_what_happens(state: State, verb: str) -> None:
    """Every verb in every state: refused with the table's reply, or not with any of its replies."""
    machine = SmtpServer(SUBMISSION)
    run(machine)
    if state is not State.FRESH:
        machine.receive(b"HELO c\r\n")
    if state in (State.MAIL, State.RCPT, State.CHUNKS):
        machine.receive(b"MAIL FROM:<a@b.example>\r\n")
    if state in (State.RCPT, State.CHUNKS):
        machine.receive(b"RCPT TO:<c@d.example>\r\n")
    if state is State.CHUNKS:
        machine.receive(b"BDAT 0\r\n")
    run(machine)
    assert machine.state is state
    machine.take_output()
    arguments = {"BDAT": " 0", "MAIL": " FROM:<>", "RCPT": " TO:<a@b.example>", "AUTH": " PLAIN"}
    machine.receive(f"{verb}{arguments.get(verb, '')}\r\n".encode())
    run(machine)
    refused = ORDER[state][verb]
    if refused is not None:
        assert machine.take_output() == refused.encode()
        assert machine.state is state
    else:
        order_replies = {reply for row in ORDER.values() for reply in row.values() if reply}
        assert machine.take_output() not in {reply.encode() for reply in order_replies}


def test_an_answer_that_is_not_owed_is_our_bug() -> None:
    machine = SmtpServer(MX)
    with pytest.raises(LocalError):
        machine.reply(replies.OK)
    machine = ready(MX, RCPT)
    for call in (
        lambda: machine.reply(replies.OK),
        lambda: machine.reply_each([replies.OK]),
        lambda: machine.challenge(b""),
        machine.tls_started,
    ):
        with pytest.raises(LocalError):
            call()
    assert machine.next_event() is None


def test_events_wait_for_their_answer() -> None:
    machine = ready()
    machine.receive(RCPT)
    assert isinstance(machine.next_event(), Mail)
    assert machine.answer_owed
    assert machine.next_event() is None
    assert machine.take_output() == b""
    machine.reply(replies.SENDER_OK)
    assert isinstance(machine.next_event(), Rcpt)


@pytest.mark.parametrize("profile", [MX, LMTP])
def test_a_message_with_a_problem_cannot_be_accepted(profile: Profile) -> None:
    machine = ready(profile, RCPT + b"DATA\r\n")
    machine.receive(b"a\nb\r\n.\r\n")
    assert machine.next_event() == EndOfData(replies.BARE_LINE_END)
    if profile is LMTP:
        with pytest.raises(LocalError):
            machine.reply_each([replies.OK])
    with pytest.raises(LocalError):
        machine.reply(replies.OK)
    assert machine.take_output() == b""


def test_lmtp_wants_a_reply_for_each() -> None:
    machine = ready(LMTP, RCPT + b"RCPT TO:<e@d.example>\r\nDATA\r\n")
    machine.receive(b".\r\n")
    assert machine.next_event() == EndOfData()
    with pytest.raises(LocalError):
        machine.reply_each([replies.OK])
    machine.reply_each([replies.OK, replies.LOCAL_ERROR])
    assert machine.take_output() == replies.OK.encode() + replies.LOCAL_ERROR.encode()
    assert machine.state is State.IDLE


def test_early_talk_that_comes_while_the_driver_thinks() -> None:
    machine = SmtpServer(MX)
    assert machine.next_event() == Connected()
    machine.receive(b"EHLO")
    machine.reply(ANSWERS[Connected])
    assert machine.take_output() == b""
    assert machine.next_event() == EarlyTalk()
    assert machine.take_output() == replies.EARLY_TALK.encode()
    assert machine.closing
    assert machine.next_event() is None
    machine.receive(b"MAIL")
    machine.receive(b"")
    assert machine.next_event() is None


def test_gone_before_the_greeting() -> None:
    machine = SmtpServer(MX)
    assert machine.next_event() == Connected()
    machine.receive(b"")
    assert machine.next_event() == Lost("START")
    assert machine.closing
    assert machine.take_output() == b""


def test_bytes_behind_starttls_that_come_later() -> None:
    machine = ready(SUBMISSION)
    machine.receive(b"STARTTLS\r\n")
    assert machine.next_event() == StartTls()
    # Found in the stream's buffer before the 220 was sent: it is not sent.
    machine.receive(b"MAIL FROM:<a@b.example>\r\n")
    assert machine.take_output() == replies.TLS_PIPELINED.encode()
    assert machine.closing

    machine = ready(SUBMISSION)
    machine.receive(b"STARTTLS\r\n")
    machine.next_event()
    assert machine.take_output() == replies.READY_FOR_TLS.encode()
    machine.receive(b"MAIL FROM:<a@b.example>\r\n")
    assert machine.take_output() == replies.TLS_PIPELINED.encode()
    assert machine.closing


def test_tls_forgets_everything() -> None:
    machine = ready(SUBMISSION)
    machine.receive(b"AUTH PLAIN =\r\n")
    assert isinstance(machine.next_event(), AuthBegin)
    machine.reply(replies.AUTHENTICATED)
    assert machine.authenticated
    machine.receive(b"STARTTLS\r\n")
    assert machine.next_event() == StartTls()
    assert machine.next_event() is None
    machine.tls_started()
    assert machine.tls
    assert not machine.authenticated
    assert machine.state is State.FRESH
    machine.receive(b"")
    assert machine.next_event() == Lost("FRESH")


def test_gone_during_the_handshake() -> None:
    machine = ready(SUBMISSION)
    machine.receive(b"STARTTLS\r\n")
    machine.next_event()
    machine.receive(b"")
    assert machine.next_event() == Lost("STARTTLS")
    assert machine.closing


def test_a_long_challenge_is_not_shortened() -> None:
    machine = ready(SUBMISSION)
    machine.receive(b"AUTH PLAIN\r\n")
    machine.next_event()
    machine.challenge(bytes(600))
    assert machine.take_output() == b"334 " + b"A" * 800 + b"\r\n"


def test_values_cannot_break_a_reply() -> None:
    reply = replies.UNKNOWN_USER(address="a\r\n250 2.0.0 OK\r\n" + "x" * 1000)
    data = reply.encode()
    assert data.count(b"\r") == data.count(b"\n") == 1
    assert len(data) < 512
    with pytest.raises(KeyError):
        replies.UNKNOWN_USER()


def test_every_enhanced_code_fits_its_reply() -> None:
    """RFC 3463 §2: the class of both is the same; RFC 2034 §4: 2, 4 and 5 have one."""
    for name, entry in replies.CATALOGUE.items():
        if entry.status:
            assert entry.status[0] == str(entry.code)[0], name
        else:
            assert str(entry.code)[0] == "3" or name in {"GREETING", "GREETING_LMTP", "HELLO"}


def test_capabilities_follow_the_session() -> None:
    assert "STARTTLS" in capabilities(SUBMISSION, tls=False, authenticated=False)
    assert "STARTTLS" not in capabilities(SUBMISSION, tls=True, authenticated=False)
    assert "AUTH PLAIN" in capabilities(SUBMISSION, tls=True, authenticated=False)
    assert "AUTH PLAIN" not in capabilities(SUBMISSION, tls=True, authenticated=True)


# --- Any splitting gives the same -----------------------------------------------------------------

_COMMANDS = [
    b"EHLO c.example\r\n",
    b"MAIL FROM:<a@b.example> SIZE=10\r\n",
    b"RCPT TO:<c@d.example>\r\n",
    b"DATA\r\n",
    b"BDAT 7\r\n",
    b"BDAT 4 LAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"AUTH PLAIN\r\n",
    b"AHVzZXIAcGVuY2ls\r\n",
    b"*\r\n",
    b"VRFY x\r\n",
    b"hello\r\n",
    b"..\r\n",
    b".\r\n",
    b"\r\n",
    b"\n.\r\n",
    b"\r",
    b"\n",
    b".",
    b"\0",
    b"\xff",
    b"QUIT\r\n",
    b"x" * 5000,
]


def told(machine: SmtpServer, pieces: list[bytes]) -> tuple[list[object], bytes]:
    """Events with the octets of a message joined, and all the output."""
    found: list[object] = []
    for piece in pieces:
        machine.receive(piece)
        for event in run(machine):
            if isinstance(event, Chunk) and found and isinstance(found[-1], bytes):
                found[-1] += event.data
            else:
                found.append(event.data if isinstance(event, Chunk) else event)
            failed = isinstance(event, Lost) or (isinstance(event, EndOfData) and event.problem)
            if failed and len(found) > 1 and isinstance(found[-2], bytes):
                # How much was given out before the fault was found may differ.
                del found[-2]
    return found, machine.take_output()


@settings(deadline=None)
@given(
    st.sampled_from([MX, LMTP, SUBMISSION]),
    st.sampled_from([b"", RCPT, RCPT + b"DATA\r\n", RCPT + b"BDAT 40\r\n"]),
    st.lists(st.sampled_from(_COMMANDS) | st.binary(max_size=6), max_size=20),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_splitting_changes_nothing(
    profile: Profile, before: bytes, parts: list[bytes], cuts: list[int]
) -> None:
    whole = b"".join(parts)
    marks = [0, *sorted(min(at, len(whole)) for at in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(marks) if a != b]
    once = told(ready(profile, before), [whole, b""] if whole else [b""])
    assert told(ready(profile, before), [*pieces, b""]) == once
    octets = [whole[at : at + 1] for at in range(len(whole))]
    assert told(ready(profile, before), [*octets, b""]) == once


# --- Nothing grows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"", b"x" * 65536),
        (RCPT, b"x" * 65536),
        (RCPT + b"DATA\r\n", b"x" * 65536),
        (RCPT + b"DATA\r\n", b"\n" * 65536),
        (RCPT + b"DATA\r\n", b".\r\r" * 20000),
        (RCPT + b"BDAT 99999999\r\n", b"\r" * 65536),
        (b"BDAT 99999999\r\n", b"x" * 65536),
        (RCPT, b"RCPT TO:<c@d.example>\r\n" * 2000),
        (b"", b"NOOP\r\n" * 10000),
        (b"", b"\r\n" * 30000),
    ],
)
def test_memory_is_bounded(before: bytes, piece: bytes) -> None:
    machine = ready(MX, before)
    tracemalloc.start()
    try:
        for _ in range(64):
            machine.receive(piece)
            while (event := machine.next_event()) is not None:
                if type(event) in ANSWERS:
                    machine.reply(ANSWERS[type(event)])
            machine.take_output()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_an_endless_message_ends_the_session() -> None:
    machine = ready(Profile(role="mx", host_name="mx.example", size_max=1000), RCPT + b"DATA\r\n")
    piece = bytes(4_000_000)
    for _ in range(limits.DISCARDED_OCTETS_MAX // len(piece) + 2):
        if machine.closing:
            break
        machine.receive(piece)
        assert all(isinstance(event, Chunk) for event in run(machine))
    assert machine.closing
    assert machine.take_output() == replies.SIZE_TOO_BIG(size_max=1000).encode()


def test_the_end_of_the_stream_waits_for_the_answer_owed() -> None:
    machine = ready(MX)
    machine.receive(RCPT)
    machine.receive(b"")
    assert isinstance(machine.next_event(), Mail)
    assert machine.next_event() is None
    machine.reply(replies.SENDER_OK)
    assert isinstance(machine.next_event(), Rcpt)
