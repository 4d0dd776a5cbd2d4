"""The client machine against what servers say: sessions, transactions, ends."""

from __future__ import annotations

import base64
import random

import pytest

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Reply
from estafeta.wire.sasl import client_mechanism
from estafeta.wire.smtp_client import (
    Authenticated,
    AuthenticationFailed,
    Broken,
    Bye,
    Closing,
    ContentWanted,
    Declined,
    Event,
    Finished,
    Ready,
    SmtpClient,
    State,
    TlsDeclined,
    TlsProceed,
    xtext,
)

EHLO = b"250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 1000000\r\n"
OK = Reply(250, "2.0.0", "ok")
ONE = Envelope("a@a.example", (Recipient("b@b.example"),))
TWO = Envelope("a@a.example", (Recipient("b@b.example"), Recipient("c@b.example")))


def talk(client: SmtpClient, data: bytes) -> tuple[bytes, list[Event]]:
    """Feeds `data`; what the client says to it, and its events."""
    client.receive(data)
    events = []
    while (event := client.next_event()) is not None:
        events.append(event)
    return client.take_output(), events


def ready(ehlo: bytes = EHLO + b"250 DSN\r\n", *, lmtp: bool = False) -> SmtpClient:
    client = SmtpClient("us.example", lmtp=lmtp)
    talk(client, b"220 mx.example ESMTP\r\n")
    _, events = talk(client, ehlo)
    assert isinstance(events[0], Ready)
    return client


def send_content(client: SmtpClient, content: bytes = b"x\r\n") -> bytes:
    return client.content(content) + client.end_content()


def test_greeting_and_ehlo() -> None:
    client = SmtpClient("us.example")
    assert client.take_output() == b""  # never before the greeting
    assert talk(client, b"220-mx.example\r\n") == (b"", [])
    assert talk(client, b"220 ESMTP\r\n") == (b"EHLO us.example\r\n", [])
    out, events = talk(client, EHLO + b"250 STARTTLS\r\n")
    assert out == b""
    assert isinstance(events[0], Ready)
    assert events[0].offer.starttls


def test_helo_where_ehlo_is_not_known() -> None:
    client = SmtpClient("us.example")
    talk(client, b"220 old\r\n")
    assert talk(client, b"502 what?\r\n") == (b"HELO us.example\r\n", [])
    _, events = talk(client, b"250 old PIPELINING\r\n")
    assert isinstance(events[0], Ready)
    assert not events[0].offer.extended
    client.begin(ONE, size=5, eight_bit=True)
    assert client.take_output() == b"MAIL FROM:<a@a.example>\r\n"


@pytest.mark.parametrize(
    ("said", "stage", "code"),
    [
        ([b"554 no service\r\n"], "greeting", 554),
        ([b"421 too busy\r\n"], "greeting", 421),
        ([b"220 x\r\n", b"451 later\r\n"], "hello", 451),
        ([b"220 x\r\n", b"550 no\r\n", b"550 never\r\n"], "hello", 550),
    ],
)
def test_declined(said: list[bytes], stage: str, code: int) -> None:
    client = SmtpClient("us.example")
    events: list[Event] = []
    for data in said:
        events += talk(client, data)[1]
    assert [(event.stage, event.reply.code) for event in events] == [(stage, code)]  # type: ignore[union-attr]
    assert client.state is State.DECLINED
    client.quit()
    assert client.take_output().endswith(b"QUIT\r\n")


def test_421_to_ehlo_closes() -> None:
    client = SmtpClient("us.example")
    talk(client, b"220 x\r\n")
    _, events = talk(client, b"421 4.3.2 going down\r\n")
    assert events == [Closing(Reply(421, "4.3.2", "going down"))]


def test_pipelined_transaction_is_one_write() -> None:
    client = ready()
    client.begin(TWO, size=3, eight_bit=True)
    assert client.take_output() == (
        b"MAIL FROM:<a@a.example> SIZE=3 BODY=8BITMIME\r\n"
        b"RCPT TO:<b@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n"
    )
    _, events = talk(client, b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
    assert events == [ContentWanted()]
    assert send_content(client, b".x\r\n") == b"..x\r\n.\r\n"
    _, events = talk(client, b"250 2.0.0 ok\r\n")
    assert events == [Finished((OK, Reply(550, "5.1.1", "no")))]
    # And the next one, on the same session, without RSET.
    client.begin(ONE)
    assert client.take_output().startswith(b"MAIL FROM:<a@a.example>\r\n")


def test_lock_step_transaction() -> None:
    client = ready(b"250 mx.example\r\n")
    client.begin(TWO, size=3)
    assert client.take_output() == b"MAIL FROM:<a@a.example>\r\n"
    assert talk(client, b"250 ok\r\n")[0] == b"RCPT TO:<b@b.example>\r\n"
    assert talk(client, b"450 later\r\n")[0] == b"RCPT TO:<c@b.example>\r\n"
    assert talk(client, b"251 will forward\r\n")[0] == b"DATA\r\n"
    assert talk(client, b"354 go\r\n")[1] == [ContentWanted()]
    send_content(client)
    _, events = talk(client, b"554 5.6.0 bad\r\n")
    assert events == [Finished((Reply(450, "", "later"), Reply(554, "5.6.0", "bad")))]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    "data", [b"503 no rcpt\r\n", b"554 no valid recipients\r\n", b"354 go\r\n"]
)
def test_nobody_taken(pipelining: bool, data: bytes) -> None:
    client = ready(EHLO + b"250 DSN\r\n" if pipelining else b"250 mx\r\n")
    client.begin(TWO)
    client.take_output()
    out, events = b"", []
    for said in (b"250 ok\r\n", b"550 5.1.1 no\r\n", b"451 4.7.1 wait\r\n"):
        more, new = talk(client, said)
        out, events = out + more, events + new
    if pipelining:
        assert events == []
        more, events = talk(client, data)
        if data.startswith(b"354"):
            # RFC 2920 §3.1: an empty message, whatever is said to it.
            assert (more, events) == (b".\r\n", [])
            _, events = talk(client, b"250 2.0.0 queued\r\n")
    else:
        assert b"DATA" not in out
    assert events == [Finished((Reply(550, "5.1.1", "no"), Reply(451, "4.7.1", "wait")))]
    assert not client.dot_sent
    client.begin(ONE)
    assert client.take_output().startswith(b"RSET\r\n")


@pytest.mark.parametrize("pipelining", [True, False])
def test_mail_refused_is_everybodys_reply(pipelining: bool) -> None:
    client = ready(EHLO + b"250 DSN\r\n" if pipelining else b"250 mx\r\n")
    client.begin(TWO)
    client.take_output()
    out, events = talk(client, b"552 5.3.4 too big\r\n")
    if pipelining:
        _, events = talk(client, b"503 mail first\r\n503 mail first\r\n503 no\r\n")
    refused = Reply(552, "5.3.4", "too big")
    assert (out, events) == (b"", [Finished((refused, refused))])


def test_data_refused_is_the_reply_of_those_taken() -> None:
    client = ready()
    client.begin(TWO)
    client.take_output()
    _, events = talk(client, b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n451 4.3.0 not now\r\n")
    assert events == [Finished((Reply(550, "5.1.1", "no"), Reply(451, "4.3.0", "not now")))]


def test_reset_of_a_lock_step_session_has_its_own_reply() -> None:
    client = ready(b"250 mx\r\n")
    client.begin(ONE)
    talk(client, b"250 ok\r\n")
    talk(client, b"550 no\r\n")
    client.begin(ONE)
    assert client.take_output() == b"RSET\r\n"
    assert talk(client, b"250 reset\r\n")[0] == b"MAIL FROM:<a@a.example>\r\n"


def test_lmtp_has_a_reply_for_each_recipient_taken() -> None:
    client = SmtpClient("us.example", lmtp=True)
    assert talk(client, b"220 store LMTP\r\n")[0] == b"LHLO us.example\r\n"
    talk(client, EHLO + b"250 DSN\r\n")
    three = Envelope("", tuple(Recipient(f"{name}@b.example") for name in "xyz"))
    client.begin(three)
    assert client.take_output().startswith(b"MAIL FROM:<>\r\n")
    talk(client, b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n")
    send_content(client)
    assert talk(client, b"250 2.0.0 ok\r\n")[1] == []
    _, events = talk(client, b"452 4.2.2 full\r\n")
    assert events == [
        Finished((OK, Reply(550, "5.1.1", "no"), Reply(452, "4.2.2", "full"))),
    ]


def test_lmtp_does_not_fall_back_to_helo() -> None:
    client = SmtpClient("us.example", lmtp=True)
    talk(client, b"220 smtp only\r\n")
    out, events = talk(client, b"500 what is LHLO\r\n")
    assert out == b""
    assert isinstance(events[0], Declined)


def test_dsn_parameters_are_passed_on_when_offered() -> None:
    envelope = Envelope(
        "a@a.example",
        (Recipient("b@b.example", frozenset({"FAILURE", "DELAY"}), "rfc822;b+=x@c.example"),),
        ret="HDRS",
        envid="QQ 31=4",
    )
    client = ready()
    client.begin(envelope)
    assert client.take_output() == (
        b"MAIL FROM:<a@a.example> RET=HDRS ENVID=QQ+2031+3D4\r\n"
        b"RCPT TO:<b@b.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2B+3Dx@c.example\r\nDATA\r\n"
    )
    client = ready(b"250-mx\r\n250 PIPELINING\r\n")
    client.begin(envelope)
    assert client.take_output() == (b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n")


def test_orcpt_of_type_utf8() -> None:
    envelope = Envelope("", (Recipient("b@b.example", orcpt="utf-8;ñ+\\@b.example"),))
    client = ready(EHLO + b"250-SMTPUTF8\r\n250 DSN\r\n")
    client.begin(envelope)
    assert b" ORCPT=utf-8;\\x{F1}\\x{2B}\\x{5C}@b.example\r\n" in client.take_output()
    talk(client, b"250 ok\r\n550 no\r\n554 no\r\n")
    client.begin(envelope, smtputf8=True)
    assert " ORCPT=utf-8;ñ\\x{2B}\\x{5C}@b.example\r\n".encode() in client.take_output()


def test_xtext() -> None:
    assert xtext("a b+c=d~!ñ") == "a+20b+2Bc+3Dd~!+C3+B1"


def test_no_line_end_leaves_in_an_address() -> None:
    client = ready()
    for bad in ("b@b.example>\r\nRSET", "b\n@b", "b\r@b"):
        with pytest.raises(ValueError, match="line end"):
            client.begin(Envelope("a@a.example", (Recipient(bad),)))
    assert client.take_output() == b""


def test_421_amid_the_recipients_keeps_what_was_said_before() -> None:
    client = ready()
    client.begin(TWO)
    client.take_output()
    _, events = talk(client, b"250 ok\r\n550 5.1.1 no\r\n421 4.3.2 bye\r\n")
    assert events == [Closing(Reply(421, "4.3.2", "bye"))]
    assert client.replies == [Reply(550, "5.1.1", "no"), None]
    assert not client.dot_sent


def test_a_reply_to_nothing() -> None:
    assert isinstance(talk(ready(), b"250 ok\r\n")[1][0], Broken)
    assert talk(ready(), b"421 4.4.2 idle too long\r\n")[1] == [
        Closing(Reply(421, "4.4.2", "idle too long"))
    ]


def test_refused_amid_the_content() -> None:
    client = ready()
    client.begin(ONE)
    talk(client, b"250 ok\r\n250 ok\r\n354 go\r\n")
    client.content(b"x" * 1000)
    _, events = talk(client, b"552 5.3.4 enough\r\n")
    assert events == [Closing(Reply(552, "5.3.4", "enough"))]
    with pytest.raises(ValueError, match="state"):
        client.end_content()
    assert not client.dot_sent


def test_cut_after_the_dot() -> None:
    client = ready()
    client.begin(ONE)
    talk(client, b"250 ok\r\n250 ok\r\n354 go\r\n")
    send_content(client)
    _, events = talk(client, b"")
    assert isinstance(events[0], Broken)
    assert events[0].why == "cut"
    assert client.dot_sent
    assert client.replies == [None]


def test_the_end_of_a_transaction_outlives_the_end_of_the_session() -> None:
    client = ready()
    client.begin(ONE)
    talk(client, b"250 ok\r\n250 ok\r\n354 go\r\n")
    send_content(client)
    _, events = talk(client, b"250 2.0.0 ok\r\n421 bye\r\n")
    assert events == [Finished((OK,)), Closing(Reply(421, "", "bye"))]
    assert client.state is State.DONE


@pytest.mark.parametrize(
    "said",
    [
        b"354 go\r\n",  # to MAIL
        b"250 ok\r\n354 go\r\n",  # to RCPT
        b"250 ok\r\n250 ok\r\n250 go\r\n",  # to DATA
        b"250 ok\r\nrubbish\r\n",
    ],
)
def test_replies_out_of_place_break_the_session(said: bytes) -> None:
    client = ready()
    client.begin(ONE)
    _, events = talk(client, said)
    assert [event.why for event in events] == ["malformed"]  # type: ignore[union-attr]
    assert client.state is State.DONE


def test_starttls() -> None:
    client = ready(EHLO + b"250-AUTH PLAIN\r\n250 STARTTLS\r\n")
    client.start_tls()
    assert client.take_output() == b"STARTTLS\r\n"
    assert talk(client, b"220 go\r\n")[1] == [TlsProceed()]
    client.tls_started()
    assert client.take_output() == b"EHLO us.example\r\n"
    assert client.offer.auth == ()  # what was said in the clear is forgotten
    _, events = talk(client, b"250 mx.example\r\n")
    assert isinstance(events[0], Ready)


def test_starttls_declined() -> None:
    client = ready()
    client.start_tls()
    assert talk(client, b"454 4.7.0 no TLS today\r\n")[1] == [
        TlsDeclined(Reply(454, "4.7.0", "no TLS today"))
    ]
    client.begin(ONE)  # goes on in the clear


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"2", b"550 x\r\n", b"\r\n", b"250-a\r\n"])
def test_bytes_behind_the_reply_to_starttls(behind: bytes) -> None:
    for together in (True, False):
        client = ready()
        client.start_tls()
        if together:
            _, events = talk(client, b"220 go\r\n" + behind)
        else:
            client.receive(b"220 go\r\n")
            _, events = talk(client, behind)
        assert len(events) == 1
        assert isinstance(events[0], Broken)
        with pytest.raises(ValueError, match="state"):
            client.tls_started()


def test_auth_plain() -> None:
    client = ready(b"250-mx\r\n250 AUTH PLAIN\r\n")
    client.authenticate(client_mechanism("PLAIN", authcid="u", password="p", nonce="n"))
    assert client.take_output() == b"AUTH PLAIN " + base64.b64encode(b"\0u\0p") + b"\r\n"
    _, events = talk(client, b"235 2.7.0 welcome\r\n")
    assert events == [Authenticated(Reply(235, "2.7.0", "welcome"))]


def test_auth_login() -> None:
    client = ready(b"250-mx\r\n250 AUTH LOGIN\r\n")
    client.authenticate(client_mechanism("LOGIN", authcid="u", password="p", nonce="n"))
    assert client.take_output() == b"AUTH LOGIN\r\n"
    assert talk(client, b"334 VXNlcm5hbWU6\r\n")[0] == b"dQ==\r\n"
    assert talk(client, b"334 UGFzc3dvcmQ6\r\n")[0] == b"cA==\r\n"
    _, events = talk(client, b"535 5.7.8 no\r\n")
    assert events == [AuthenticationFailed(Reply(535, "5.7.8", "no"))]
    client.begin(ONE)


def test_auth_scram_given_up_when_the_server_cheats() -> None:
    client = ready(b"250-mx\r\n250 AUTH SCRAM-SHA-256\r\n")
    client.authenticate(client_mechanism("SCRAM-SHA-256", authcid="u", password="p", nonce="n"))
    assert client.take_output().startswith(b"AUTH SCRAM-SHA-256 ")
    cheat = base64.b64encode(b"r=other,s=QUJD,i=4096")
    assert talk(client, b"334 " + cheat + b"\r\n")[0] == b"*\r\n"
    assert isinstance(talk(client, b"501 5.7.0 cancelled\r\n")[1][0], AuthenticationFailed)


def test_auth_scram_without_the_servers_proof_is_no_login() -> None:
    client = ready(b"250-mx\r\n250 AUTH SCRAM-SHA-256\r\n")
    client.authenticate(client_mechanism("SCRAM-SHA-256", authcid="u", password="p", nonce="n"))
    client.take_output()
    assert isinstance(talk(client, b"235 2.7.0 come in\r\n")[1][0], Broken)


def test_auth_that_does_not_end() -> None:
    client = ready(b"250-mx\r\n250 AUTH LOGIN\r\n")
    client.authenticate(client_mechanism("LOGIN", authcid="u", password="p", nonce="n"))
    for _ in range(100):
        _, events = talk(client, b"334 !!!\r\n")
        if events:
            break
    assert isinstance(events[0], Broken)


def test_quit() -> None:
    client = ready()
    client.quit()
    assert client.take_output() == b"QUIT\r\n"
    assert talk(client, b"221 2.0.0 bye\r\n")[1] == [Bye(Reply(221, "2.0.0", "bye"))]


def test_abandoned() -> None:
    client = ready()
    client.begin(ONE)
    client.abandon("no reply within 300 s")
    assert client.next_event() == Broken("no reply within 300 s", "abandoned")
    client.abandon("again")
    assert client.next_event() is None


def test_no_bytes_of_a_server_make_it_raise() -> None:
    seed = 11
    dice = random.Random(seed)
    words = [
        *(b"220 x\r\n", b"250 ok\r\n", b"250-a\r\n", b"354 go\r\n", b"421 bye\r\n", b"550 no\r\n"),
        *(b"334 eA==\r\n", b"235 in\r\n", b"999 z\r\n", b"250 ok\r\n", b"250 ok\r\n"),
        *(b"\r\n", b"\n", b"\r", b"250", b" ", b"-", b"\x00\xff"),
    ]
    for run in range(3000):
        client = SmtpClient("us.example", lmtp=run % 2 == 1)
        ended = False
        for _ in range(12):
            client.receive(dice.choice(words) if dice.random() < 0.97 else b"")
            while (event := client.next_event()) is not None:
                assert not ended, f"seed {seed} run {run}: an event after the end"
                ended = isinstance(event, Broken | Closing | Bye)
                if isinstance(event, ContentWanted) and client.state is State.CONTENT:
                    send_content(client)
                elif isinstance(event, TlsProceed) and client.state is State.TLS:
                    client.tls_started()
            if client.state is State.READY:
                act = dice.randrange(4)
                if act == 0:
                    client.begin(TWO)
                elif act == 1:
                    client.start_tls()
                elif act == 2:
                    client.authenticate(
                        client_mechanism("LOGIN", authcid="u", password="p", nonce="n")
                    )
                else:
                    client.quit()
            client.take_output()
        assert ended == (client.state is State.DONE), f"seed {seed} run {run}"
