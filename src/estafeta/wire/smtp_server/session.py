"""session: what every state of a server session needs: buffer, output, the answer owed, patience.

Promises: every reply is given once and in order; an answer that is not owed is our bug; a peer that
errs too often is told 421 4.7.0 and the session ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estafeta.mail.outcome import Reply
from estafeta.wire import limits, replies
from estafeta.wire.lines import LineBuffer
from estafeta.wire.smtp_server import events
from estafeta.wire.smtp_server.content import ChunkReader, DotReader
from estafeta.wire.smtp_server.events import Event
from estafeta.wire.smtp_server.order import State
from estafeta.wire.smtp_server.profile import Profile


class LocalError(RuntimeError):
    """The driver called what the state does not allow: a bug of ours, never the peer's doing."""


class GoOn:
    """Something was handled inside; there may be more to read."""


GO_ON: Final = GoOn()
Step = Event | GoOn | None


class Session:
    """State and counts of one session, and what is done with them everywhere."""

    __slots__ = (
        "_accepted",
        "_answer",
        "_auth_failures",
        "_chunk_last",
        "_chunks",
        "_discard",
        "_ended",
        "_errors",
        "_idle_commands",
        "_inbox",
        "_output",
        "_overshoot",
        "_prdr",
        "_problem",
        "_profile",
        "_recipients_refused",
        "_refused_any",
        "_smtputf8",
        "_state",
        "_text",
        "authenticated",
        "closing",
        "parting",
        "refusals",
        "tls",
    )

    def __init__(self, profile: Profile, *, tls: bool = False) -> None:
        """tls: the session is under TLS from its first octet (RFC 8314 §3)."""
        self._profile = profile
        self.tls = tls
        self.authenticated = False
        self.closing = False
        """Send the output, then close."""
        self.parting: Reply | None = None
        """The last reply; once `closing`, what the peer was sent away with, None if it left."""
        self.refusals = 0
        """Answers of 5xx since a message was accepted."""
        self._state = State.START
        self._inbox = LineBuffer()
        self._output: list[bytes] = []
        self._ended = False
        # Set while an answer is owed: what takes it.
        self._answer: Callable[[Reply], None] | None = None
        # The transaction.
        self._accepted = 0
        self._refused_any = False
        self._smtputf8 = False
        self._prdr = False
        self._text: DotReader | None = None
        self._chunks: ChunkReader | None = None
        self._chunk_last = False
        self._problem: Reply | None = None
        # Octets of a refused chunk still to be read away.
        self._discard = 0
        # What the peer has used up of our patience; see `limits`.
        self._errors = 0
        self._idle_commands = 0
        self._auth_failures = 0
        self._recipients_refused = 0
        self._overshoot = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def answer_owed(self) -> bool:
        """The driver owes an answer to the event it got last."""
        return self._answer is not None

    @property
    def recipients_accepted(self) -> int:
        """Recipients of the transaction at hand that were answered 25x."""
        return self._accepted

    def reply(self, reply: Reply) -> None:
        """Answers the event given last; its code accepts or refuses. 421 ends the session.

        After EndOfData in LMTP, or with PRDR, it stands for every recipient. Raises LocalError when
        no answer is owed, or for a positive answer to a message that has a problem.
        """
        answer = self._answer
        if answer is None:
            raise LocalError("no answer is owed")
        self._answer = None
        answer(reply)
        if reply.code == 421:
            # RFC 5321 §3.8: 421 says that the channel is being closed.
            self._close()

    def take_output(self) -> bytes:
        """All that is to be sent, once."""
        if not self._output:
            return b""
        data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
        self._output.clear()
        return data

    def _at_end(self) -> Event | None:
        if not self._ended or self._answer is not None or self.closing:
            return None
        lost = events.Lost(during=self._state.name)
        self.parting = None
        self._close()
        return lost

    def _close(self) -> None:
        self.closing = True
        self._answer = None
        self._state = State.CLOSED
        self._inbox.clear()
        self._end_transaction(accepted=False, state=State.CLOSED)

    # --- Replies and counts ----------------------------------------------------------------------

    def _say(self, reply: Reply) -> None:
        self.parting = reply
        if reply.code >= 500:
            self.refusals += 1
        self._output.append(reply.encode())

    def _fail(self, reply: Reply) -> Step:
        """Answers an error of the peer; too many end the session."""
        self._errors += 1
        if self._errors >= self._profile.errors_max:
            return self._too_many_errors()
        self._say(reply)
        return GO_ON

    def _too_many_errors(self) -> Step:
        self._say(replies.TOO_MANY_ERRORS(host=self._profile.host_name))
        self._close()
        return None

    def _idle(self, reply: Reply) -> Step:
        if self._idles_too_much():
            return self._too_many_errors()
        self._say(reply)
        return GO_ON

    def _idles_too_much(self) -> bool:
        """A command that leads nowhere is free for a while, then each is an error."""
        self._idle_commands += 1
        if self._idle_commands > limits.IDLE_COMMANDS_MAX:
            self._errors += 1
        return self._errors >= self._profile.errors_max

    def _end_transaction(self, *, accepted: bool, state: State = State.IDLE) -> None:
        self._state = state
        self._accepted = 0
        self._refused_any = False
        self._smtputf8 = False
        self._prdr = False
        self._text = None
        self._chunks = None
        self._problem = None
        self._discard = 0
        if accepted:
            self._errors = self._idle_commands = self._recipients_refused = self.refusals = 0
