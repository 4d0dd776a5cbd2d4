"""The machine: literals, pipelining, limits, SASL, IDLE, APPEND, whatever way octets come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estafeta.wire.imap import commands as a
from estafeta.wire.imap import limits
from estafeta.wire.imap.commands import State
from estafeta.wire.imap.machine import (
    AppendEnd,
    Ended,
    Event,
    IdleBroken,
    IdleDone,
    ImapMachine,
    MessageData,
    SaslResponse,
)


def machine(state: State = State.SELECTED) -> ImapMachine:
    made = ImapMachine()
    made.state = state
    return made


def events(m: ImapMachine) -> list[Event]:
    """All that come without the driver's doing anything; messages are taken."""
    found: list[Event] = []
    while (event := m.next()) is not None:
        found.append(event)
        if isinstance(event, a.Append):
            m.take_message()
        if isinstance(event, Ended):
            break
    return found


def test_pipelined_commands_come_in_order() -> None:
    m = machine()
    m.receive(b"a NOOP\r\nb FETCH 1 FLAGS\r\n\r\nc CHECK\r\nd NO")
    assert [e.tag for e in events(m)] == [b"a", b"b", b"c"]  # type: ignore[union-attr]
    m.receive(b"OP\r\n")
    assert [e.tag for e in events(m)] == [b"d"]  # type: ignore[union-attr]
    assert m.take_output() == b""


def test_only_crlf_ends_a_line() -> None:
    m = machine()
    m.receive(b"a NOOP\nb NOOP\rc NOOP\r\n")
    assert events(m) == []
    assert m.take_output().startswith(b"a BAD ")


def test_a_literal_is_asked_for() -> None:
    m = machine(State.NOT_AUTHENTICATED)
    m.receive(b"a LOGIN {3}\r\n")
    assert events(m) == []
    assert m.take_output() == b"+ send the literal\r\n"
    m.receive(b"x\r\n {2+}\r\nab\r\n")
    assert events(m) == [a.Login(b"a", "LOGIN", b"x\r\n", b"ab")]
    assert m.take_output() == b""


def test_literals_are_bounded_before_they_are_sent() -> None:
    m = machine(State.NOT_AUTHENTICATED)
    m.receive(b"a LOGIN {100000}\r\nb NOOP\r\n")
    assert [e.tag for e in events(m)] == [b"b"]  # type: ignore[union-attr]
    assert m.take_output().startswith(b"a BAD [TOOBIG] ")
    # One that comes unasked is read past, and what stands behind it.
    m.receive(b"c LOGIN {100000+}\r\n" + b"x" * 100_000 + b" {3+}\r\nabc\r\nd NOOP\r\n")
    assert [e.tag for e in events(m)] == [b"d"]  # type: ignore[union-attr]
    assert m.take_output().startswith(b"c BAD [TOOBIG] ")


def test_many_literals_together_are_bounded() -> None:
    m = machine()
    m.receive(b"a LOGIN" + b" {0+}\r\n" * 1000 + b"\r\nb NOOP\r\n")
    assert [e.tag for e in events(m)] == [b"b"]  # type: ignore[union-attr]
    assert b"[TOOBIG]" in m.take_output()


def test_an_absurd_literal_ends_the_session() -> None:
    m = machine()
    m.receive(b"a SELECT {99999999999999+}\r\n")
    assert events(m) == [Ended("the literal is too long")]


def test_a_long_line_is_refused_in_bounded_memory() -> None:
    m = machine()
    m.receive(b"a NOOP\r\n")
    events(m)
    for _ in range(40):
        m.receive(b"x" * 65_536)
        assert events(m) == []
        assert m.buffered <= 2 * limits.LINE_OCTETS_MAX
    m.receive(b"\r\nb NOOP\r\n")
    assert [e.tag for e in events(m)] == [b"b"]  # type: ignore[union-attr]
    assert m.take_output().count(b"BAD [TOOBIG]") == 1


@pytest.mark.parametrize(
    ("state", "most"),
    [
        (State.SELECTED, limits.ERRORS_MAX),
        (State.NOT_AUTHENTICATED, limits.ERRORS_MAX_BEFORE_LOGIN),
    ],
)
def test_errors_are_counted(state: State, most: int) -> None:
    m = machine(state)
    m.receive(b"x NONSENSE\r\n" * 1000)
    assert events(m) == [Ended("too many errors")]
    assert m.take_output().count(b"x BAD ") == most
    assert m.next() is None


def test_the_end() -> None:
    m = machine()
    m.receive(b"a NOOP\r\nb NO")
    m.receive(b"")
    assert isinstance(m.next(), a.Noop)
    assert m.next() == Ended("")


def test_sasl() -> None:
    m = machine(State.NOT_AUTHENTICATED)
    m.receive(b"a AUTHENTICATE PLAIN =\r\n")
    assert events(m) == [a.Authenticate(b"a", "AUTHENTICATE", "PLAIN", b"")]
    m.challenge(b"hi")
    assert m.take_output() == b"+ aGk=\r\n"
    m.receive(b"eW8=\r\n")
    assert events(m) == [SaslResponse(b"yo")]
    for bad in (b"*", b"=", b"a b", b"eW8"):
        m.challenge(b"")
        m.receive(bad + b"\r\n")
        assert events(m) == [SaslResponse(None)]
        assert b"a BAD " in m.take_output()


def test_a_long_line_is_refused_as_what_it_is() -> None:
    """Within an exchange, in IDLE, behind a message: the driver is told what it waits for."""
    m = machine(State.NOT_AUTHENTICATED)
    m.receive(b"a AUTHENTICATE PLAIN\r\n")
    events(m)
    m.challenge(b"")
    m.receive(b"x" * 100_000 + b"\r\n")
    assert events(m) == [SaslResponse(None)]
    assert b"a BAD [TOOBIG]" in m.take_output()
    m = machine()
    m.begin_idle()
    m.receive(b"x" * 100_000 + b"\r\n")
    assert [type(e) for e in events(m)] == [IdleBroken]
    m.receive(b"b APPEND INBOX {1+}\r\nx" + b"y" * 100_000 + b"\r\nc NOOP\r\n")
    found = told(events(m))
    assert found[2] == AppendEnd(b"b", True)
    assert isinstance(found[3], a.Noop)


def test_an_exchange_cannot_be_begun_for_ever() -> None:
    m = machine(State.NOT_AUTHENTICATED)
    for _ in range(limits.ERRORS_MAX_BEFORE_LOGIN):
        m.receive(b"a AUTHENTICATE PLAIN\r\n")
        assert isinstance(m.next(), a.Authenticate)
        m.challenge(b"")
        m.receive(b"*\r\n")
        assert m.next() == SaslResponse(None)
    assert m.next() == Ended("too many errors")


def test_idle() -> None:
    m = machine()
    m.receive(b"a IDLE\r\n")
    events(m)
    m.begin_idle()
    assert m.take_output() == b"+ idling\r\n"
    m.receive(b"do")
    assert m.next() is None
    m.receive(b"ne\r\nb IDLE\r\n")
    assert type(m.next()) is IdleDone
    assert isinstance(m.next(), a.Idle)
    m.begin_idle()
    m.receive(b"c NOOP\r\n")
    assert isinstance(m.next(), IdleBroken)
    assert b"b BAD " in m.take_output()


APPEND = (
    b'a APPEND {5+}\r\nINBOX (\\Seen x) " 1-Feb-2026 10:00:00 +0100" {10+}\r\n0123\r\n6789'
    b" {3+}\r\nabc\r\nb NOOP\r\n"
)


def told(found: list[Event]) -> list[object]:
    """Events with the pieces of messages joined."""
    out: list[object] = []
    data = b""
    for event in found:
        if isinstance(event, MessageData):
            data += event.data
            if event.last:
                out.append(data)
                data = b""
        else:
            out.append(event)
    return out


def test_append_is_streamed() -> None:
    m = machine()
    m.receive(APPEND)
    first, one, second, two, end, noop = told(events(m))
    assert first == a.Append(
        b"a", "APPEND", "INBOX", a.Flags(frozenset({"seen"}), frozenset({"x"})),
        1769936400000, 10, False, True,
    )  # fmt: skip
    assert (one, two) == (b"0123\r\n6789", b"abc")
    assert isinstance(second, a.Append)
    assert not second.first
    assert end == AppendEnd(b"a", False)
    assert isinstance(noop, a.Noop)


@settings(max_examples=50)
@given(st.lists(st.integers(1, len(APPEND) - 1), max_size=12))
def test_octets_may_come_in_any_pieces(cuts: list[int]) -> None:
    m = machine()
    whole = machine()
    whole.receive(APPEND)
    found: list[Event] = []
    places = sorted({0, *cuts, len(APPEND)})
    for start, end in pairwise(places):
        m.receive(APPEND[start:end])
        found.extend(events(m))
    assert told(found) == told(events(whole))


def test_a_refused_message_is_not_sent_or_read_past() -> None:
    m = machine()
    m.receive(b"a APPEND INBOX {9}\r\nb NOOP\r\n")
    assert isinstance(m.next(), a.Append)
    assert m.next() is None
    m.refuse_message("no room", "OVERQUOTA")
    assert m.take_output() == b"a NO [OVERQUOTA] no room\r\n"
    assert isinstance(m.next(), a.Noop)
    m.receive(b"c APPEND INBOX {9+}\r\n")
    assert isinstance(m.next(), a.Append)
    m.refuse_message("no room")
    m.receive(b"d NOOP\r\n!\r\ne NOOP\r\n")
    assert [e.tag for e in events(m)] == [b"e"]  # type: ignore[union-attr]


def test_append_that_ends_badly() -> None:
    m = machine()
    m.receive(b"a APPEND INBOX {3+}\r\nabc junk\r\nb NOOP\r\n")
    found = told(events(m))
    assert found[2] == AppendEnd(b"a", True)
    assert isinstance(found[3], a.Noop)
    assert m.take_output().startswith(b"a BAD ")
    m.receive(b"c APPEND INBOX abc\r\nd APPEND INBOX (\\Recent) {3}\r\ne APPEND\r\nf NOOP\r\n")
    assert [e.tag for e in events(m)] == [b"f"]  # type: ignore[union-attr]
    assert m.take_output().count(b" BAD ") == 3


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [b"a ", b"\r\n", b"{3+}\r\n", b"{3}\r\n", b"APPEND x ", b"IDLE", b"NOOP", b"{99+}"]
            ),
        ),
        max_size=40,
    )
)
def test_no_octets_break_it(pieces: list[bytes]) -> None:
    for state in (State.NOT_AUTHENTICATED, State.SELECTED):
        m = machine(state)
        for piece in pieces:
            m.receive(piece)
            events(m)
        m.receive(b"")
        last = events(m)
        assert not last or isinstance(last[-1], Ended)
        for line in m.take_output().split(b"\r\n")[:-1]:
            assert b"\n" not in line
