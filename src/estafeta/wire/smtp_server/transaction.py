"""transaction: MAIL, RCPT, and the message by DATA or BDAT.

RFC 5321 §3.3 and §4.1.1.2 to §4.1.1.4; RFC 1870 (SIZE), RFC 2033 §4.2 (LMTP), RFC 3030 (BDAT),
RFC 6531 (SMTPUTF8), draft-hall-prdr-00 (PRDR).
"""

from __future__ import annotations

from estafeta.mail.address import AddressError, parse_path
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.wire import limits, replies
from estafeta.wire.smtp_server import events
from estafeta.wire.smtp_server.content import ChunkReader, DotReader
from estafeta.wire.smtp_server.events import Event
from estafeta.wire.smtp_server.order import State
from estafeta.wire.smtp_server.parameters import (
    ParameterError,
    mail_parameters,
    rcpt_parameters,
)
from estafeta.wire.smtp_server.session import GO_ON, LocalError, Session, Step


class Transaction(Session):
    """The part of a session that takes a message in."""

    __slots__ = ()

    def reply_each(self, answers: list[Reply], final: Reply | None = None) -> None:
        """Answers EndOfData, one reply for each accepted recipient, in order of RCPT.

        final: what is said last, of the whole message; with PRDR alone. Raises LocalError when that
        is not owed or the number differs.
        """
        if self._answer != self._answer_end or not self._per_recipient:
            raise LocalError("no answer for each recipient is owed")
        if (final is not None) != self._prdr:
            raise LocalError("a final answer belongs to PRDR, and to nothing else")
        if len(answers) != self._accepted:
            raise LocalError(f"{len(answers)} answers for {self._accepted} recipients")
        if self._problem is not None and any(answer.positive for answer in answers):
            raise LocalError("the message has a problem and cannot be accepted")
        self._answer = None
        self._say_each(answers, final)
        self._end_transaction(accepted=any(answer.positive for answer in answers))

    def _say_each(self, answers: list[Reply], final: Reply | None) -> None:
        if final is not None:
            # draft-hall-prdr-00 §4.5: 353 tells that more than one answer follows.
            self._say(replies.ANSWERS_FOLLOW)
        for answer in answers:
            self._say(answer)
        if final is not None:
            self._say(final)

    # --- The envelope ----------------------------------------------------------------------------

    def _mail(self, verb: str, argument: str) -> Step:
        if argument[:5].upper() != "FROM:":
            return self._fail(replies.SYNTAX(syntax="MAIL FROM:<address>"))
        profile = self._profile
        path = argument[5:].lstrip(" ")
        try:
            address, rest = parse_path(path, smtputf8=profile.smtputf8, null_ok=True)
            fields = mail_parameters(rest, profile) if rest else {}
        except AddressError as error:
            return self._fail(replies.BAD_SENDER(reason=error))
        except ParameterError as error:
            return self._fail(error.reply)
        smtputf8 = fields.get("smtputf8", False)
        if not smtputf8 and not path.isascii():
            # RFC 6531 §3.5.
            return self._fail(replies.UTF8_NEEDED)
        if fields.get("size", 0) > profile.size_max:
            # RFC 1870 §6.1.
            self._say(replies.SIZE_TOO_BIG(size_max=profile.size_max))
            return GO_ON
        self._smtputf8 = smtputf8
        self._prdr = fields.get("prdr", False)
        self._answer = self._answer_mail
        return events.Mail(address, **fields)

    def _answer_mail(self, reply: Reply) -> None:
        self._say(reply)
        if reply.positive:
            self._state = State.MAIL

    def _rcpt(self, verb: str, argument: str) -> Step:
        if argument[:3].upper() != "TO:":
            return self._fail(replies.SYNTAX(syntax="RCPT TO:<address>"))
        profile = self._profile
        path = argument[3:].lstrip(" ")
        if not self._smtputf8 and not path.isascii():
            return self._fail(replies.UTF8_NEEDED)
        try:
            address, rest = parse_path(path, smtputf8=self._smtputf8, null_ok=False)
            fields = rcpt_parameters(rest, profile, smtputf8=self._smtputf8) if rest else {}
        except AddressError as error:
            return self._fail(replies.BAD_RECIPIENT(reason=error))
        except ParameterError as error:
            return self._fail(error.reply)
        if self._accepted >= profile.recipients_max:
            return self._recipients_full()
        self._answer = self._answer_rcpt
        return events.Rcpt(Recipient(address, **fields))

    def _recipients_full(self) -> Step:
        # RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction.
        self._overshoot += 1
        if self._overshoot > limits.RECIPIENTS_OVERSHOOT_MAX:
            return self._too_many_errors()
        self._say(replies.TOO_MANY_RECIPIENTS(recipients_max=self._profile.recipients_max))
        return GO_ON

    def _answer_rcpt(self, reply: Reply) -> None:
        if reply.positive:
            self._say(reply)
            self._accepted += 1
            self._state = State.RCPT
            return
        self._refused_any = True
        if reply.permanent:
            self._recipients_refused += 1
            if self._recipients_refused > self._profile.recipients_refused_max:
                self._say(replies.RECIPIENTS_REFUSED(host=self._profile.host_name))
                self._close()
                return
        self._say(reply)

    # --- The message -----------------------------------------------------------------------------

    def _data(self, verb: str, argument: str) -> Step:
        if argument:
            return self._fail(replies.NO_ARGUMENT(verb=verb))
        self._answer = self._answer_data
        return events.Data(chunked=False)

    def _answer_data(self, reply: Reply) -> None:
        self._say(reply)
        if reply.positive:
            self._text = DotReader(self._profile.size_max)
            self._state = State.DATA
        else:
            self._end_transaction(accepted=False)

    def _read_text(self) -> Step:
        text = self._text
        assert text is not None
        if not text.ended:
            if not len(self._inbox):
                return None
            piece = text.take(self._inbox)
            if piece:
                return events.Chunk(piece)
            if not text.ended:
                if text.octets > text.octets_max + limits.DISCARDED_OCTETS_MAX:
                    self._say(self._size_reply())
                    self._close()
                return None
        return self._end_of_data(text)

    def _end_of_data(self, content: DotReader | ChunkReader) -> Event:
        if content.bare:
            self._problem = replies.BARE_LINE_END
        elif content.over_size:
            self._problem = self._size_reply()
        self._answer = self._answer_end
        return events.EndOfData(self._problem)

    def _size_reply(self) -> Reply:
        return replies.SIZE_TOO_BIG(size_max=self._profile.size_max)

    @property
    def _per_recipient(self) -> bool:
        """RFC 2033 §4.2, §4.3: at the end of the message only, not after a chunk in the middle."""
        each = self._prdr or self._profile.role == "lmtp"
        return each and (self._text is not None or self._chunk_last)

    def _say_to_all(self, reply: Reply) -> None:
        """One answer to the message, as often as the peer expects it."""
        if self._per_recipient:
            self._say_each([reply] * self._accepted, reply if self._prdr else None)
        else:
            self._say(reply)

    def _answer_end(self, reply: Reply) -> None:
        if self._problem is not None and reply.positive:
            raise LocalError("the message has a problem and cannot be accepted")
        self._say_to_all(reply)
        self._end_transaction(accepted=reply.positive)

    def _bdat(self, verb: str, argument: str) -> Step:
        if not self._profile.chunking:
            return self._fail(replies.NOT_IMPLEMENTED)
        chunk = chunk_size(argument)
        if chunk is None:
            return self._bad_chunk()
        octets, self._chunk_last = chunk
        if self._chunks is None:
            self._discard = octets
            self._answer = self._answer_chunked
            return events.Data(chunked=True)
        return self._begin_chunk(octets)

    def _answer_chunked(self, reply: Reply) -> None:
        octets, self._discard = self._discard, 0
        if reply.positive:
            self._chunks = ChunkReader(self._profile.size_max)
            self._begin_chunk(octets)
        else:
            self._say_to_all(reply)
            self._end_transaction(accepted=False)
            self._discard_chunk(octets)

    def _begin_chunk(self, octets: int) -> Step:
        chunks = self._chunks
        assert chunks is not None
        if octets > chunks.octets_max + limits.DISCARDED_OCTETS_MAX:
            self._say(self._size_reply())
            self._close()
            return None
        chunks.announce(octets)
        self._state = State.CHUNK
        return GO_ON

    def _read_chunk(self) -> Step:
        chunks = self._chunks
        assert chunks is not None
        if not chunks.ended:
            if not len(self._inbox):
                return None
            piece = chunks.take(self._inbox)
            if piece:
                return events.Chunk(piece)
            if not chunks.ended:
                return GO_ON
        self._state = State.CHUNKS
        if self._chunk_last:
            chunks.finish()
            return self._end_of_data(chunks)
        if chunks.bare or chunks.over_size:
            # RFC 3030 §2: a chunk that fails ends the transaction.
            return self._end_of_data(chunks)
        self._say(replies.CHUNK_TAKEN(octets=chunks.announced))
        return GO_ON

    def _discard_chunk(self, octets: int) -> None:
        """The octets of a refused chunk come all the same (RFC 3030 §2)."""
        if octets > limits.DISCARDED_OCTETS_MAX:
            self._close()
        else:
            self._discard = octets

    def _bad_chunk(self) -> Step:
        # Where the octets end is not known: what follows must not be read as commands.
        self._say(replies.SYNTAX(syntax="BDAT octets [LAST]"))
        self._close()
        return None

    def _read_away(self) -> Step:
        if not len(self._inbox):
            return None
        self._discard -= len(self._inbox.take(self._discard))
        return GO_ON


def chunk_size(argument: str) -> tuple[int, bool] | None:
    """Octets and "is it the last" of BDAT's argument (RFC 3030 §2); None for a bad one."""
    size, _, last = argument.partition(" ")
    if not size.isascii() or not size.isdigit() or len(size) > limits.SIZE_DIGITS_MAX:
        return None
    if last.upper() not in ("", "LAST"):
        return None
    return int(size), bool(last)
