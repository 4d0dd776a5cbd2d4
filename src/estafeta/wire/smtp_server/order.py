"""order: which command may come in which state, as a table (RFC 5321 §4.1.4).

`ORDER[state][verb]` is None where the command may come, else the reply that refuses it. A verb
that is not in the table is unknown.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from estafeta.mail.outcome import Reply
from estafeta.wire import replies


class State(enum.Enum):
    """Where a session stands. Commands are read in the five states that `ORDER` has."""

    START = "before the greeting"
    FRESH = "greeted, no HELO yet"
    IDLE = "no mail transaction"
    MAIL = "reverse-path accepted, no recipient yet"
    RCPT = "at least one recipient accepted"
    DATA = "inside the message"
    CHUNKS = "between chunks of the message"
    CHUNK = "inside a chunk of the message"
    AUTH = "inside an authentication exchange"
    STARTTLS = "waiting for the TLS handshake"
    CLOSED = "over"


VERBS: Final = (
    *("HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "HELP", "VRFY"),
    *("QUIT", "STARTTLS", "AUTH", "EXPN", "ETRN", "TURN", "SEND", "SOML", "SAML"),
)
"""ETRN, TURN and the like are known and not implemented (RFC 5321 §4.2.4: 502)."""


def _row(**refused: Reply) -> Mapping[str, Reply | None]:
    return {verb: refused.get(verb) for verb in VERBS}


ORDER: Final[Mapping[State, Mapping[str, Reply | None]]] = {
    # RFC 5321 §4.1.1.1: HELO or EHLO before a transaction. RFC 4954 §4: AUTH needs EHLO. STARTTLS
    # needs it too, to be seen (RFC 3207 §4).
    State.FRESH: _row(
        MAIL=replies.HELLO_FIRST,
        RCPT=replies.HELLO_FIRST,
        DATA=replies.HELLO_FIRST,
        BDAT=replies.HELLO_FIRST,
        AUTH=replies.HELLO_FIRST,
        STARTTLS=replies.HELLO_FIRST,
    ),
    # RFC 5321 §3.3.
    State.IDLE: _row(
        RCPT=replies.MAIL_FIRST,
        DATA=replies.MAIL_FIRST,
        BDAT=replies.MAIL_FIRST,
    ),
    # RFC 5321 §4.1.1.2: no nested MAIL. RFC 4954 §4: no AUTH within a transaction.
    State.MAIL: _row(
        MAIL=replies.NESTED_MAIL,
        DATA=replies.RCPT_FIRST,
        BDAT=replies.RCPT_FIRST,
        AUTH=replies.NOT_IN_TRANSACTION,
        STARTTLS=replies.NOT_IN_TRANSACTION,
    ),
    State.RCPT: _row(
        MAIL=replies.NESTED_MAIL,
        AUTH=replies.NOT_IN_TRANSACTION,
        STARTTLS=replies.NOT_IN_TRANSACTION,
    ),
    # RFC 3030 §2: between BDATs there is neither DATA nor a change of the envelope.
    State.CHUNKS: _row(
        MAIL=replies.NESTED_MAIL,
        RCPT=replies.CHUNKS_OPEN,
        DATA=replies.CHUNKS_OPEN,
        AUTH=replies.NOT_IN_TRANSACTION,
        STARTTLS=replies.NOT_IN_TRANSACTION,
    ),
}

FOREIGN_VERBS: Final = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PRI"})
"""A web client that was led here; what follows is not for us, so the session ends."""
