"""Answers: what is said after a message, of each recipient or once of all.

LMTP and PRDR answer each (RFC 2033 §4.2, draft-hall-prdr-00 §4.5). Elsewhere one answer stands for
all: nobody who was refused gets the message, and nobody is told of a place that it has not.
"""

from __future__ import annotations

from collections.abc import Sequence

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.store.ids import queue_id
from estafeta.wire import replies

_FULL = ".2.2"  # RFC 3463 §3.3: mailbox full, with either class


def tellable(verdicts: Sequence[Reply | None], *, each: bool) -> Sequence[Reply | None]:
    """The verdicts, by recipient, as they can be told; empty: all take the message.

    Where one answer stands for all, what somebody may not get nobody gets, and a mailbox that alone
    is full keeps nobody else from the message: it waits for room in the queue.
    """
    if each or not any(verdicts):
        return verdicts
    for_what_it_holds = next((v for v in verdicts if v and not v.status.endswith(_FULL)), None)
    if for_what_it_holds is not None:
        return [for_what_it_holds] * len(verdicts)
    full = [v for v in verdicts if v]
    if len(full) < len(verdicts):
        return ()
    return [next((v for v in full if v.temporary), full[0])] * len(full)


def answers(
    role: str, acceptance: int, recipients: Sequence[Recipient], verdicts: Sequence[Reply | None]
) -> list[Reply]:
    """One for each recipient: its refusal, or that the message was taken."""
    taken = replies.DELIVERED if role == "lmtp" else replies.ACCEPTED_FOR
    id = queue_id(acceptance)
    return [
        verdict or taken(address=recipient.address, queue_id=id)
        for recipient, verdict in zip(recipients, verdicts or [None] * len(recipients), strict=True)
    ]


def last_word(acceptance: int, answers: Sequence[Reply]) -> Reply:
    """Of the message as a whole, behind the answers of PRDR.

    A client may take a refusal here for one of all: for good only where all are.
    """
    if any(answer.positive for answer in answers):
        return replies.ACCEPTED(queue_id=queue_id(acceptance))
    if all(answer.permanent for answer in answers):
        return replies.NO_RECIPIENT_TOOK_IT
    return replies.NO_RECIPIENT_TOOK_IT_YET
