"""Judging: which pieces of knowledge fit what a server said, and what the first of them means."""

from __future__ import annotations

from collections.abc import Iterator

from estafeta.explain.causes import UNKNOWN, cause
from estafeta.explain.judge.index import Index, whole
from estafeta.explain.judge.knowledge import Piece
from estafeta.explain.judge.named import named
from estafeta.explain.judge.seen import see
from estafeta.explain.refusal import Refusal, Verdict

NOTHING_FITS = "nothing fits → other"
_NO_REFUSAL = {"delivered": "delivered", "feedback": "complaint", "auto-reply": "auto-reply"}
"""Kinds of report that tell of no refusal, with the causes that stand for them.

One on deliveries may name also who was not reached."""


def judge(refusal: Refusal, *, kind: str = "bounce", known: Index | None = None) -> Verdict:
    """What the refusal comes to.

    kind: that of the report that told of it, as `reading` names them. known: the pieces of
    knowledge to use, all if None.
    """
    told = _NO_REFUSAL.get(kind)
    if told is not None and not (kind == "delivered" and refusal.action in ("failed", "delayed")):
        return Verdict(told, permanent=cause(told).permanent, hard=False, rule=f"kind: {kind}")
    said = named(refusal.text)
    if said:
        permanent = _permanent(refusal, said)
        hard = cause(said).hard and _for_ever(refusal, permanent, said)
        return Verdict(said, permanent=permanent, hard=hard, rule=f"named: [{said}]")
    piece = next(weigh(refusal, known), None)
    code = UNKNOWN if piece is None else piece.cause
    permanent = _permanent(refusal, code)
    hard = cause(code).hard if piece is None or piece.hard is None else piece.hard
    return Verdict(
        cause=code,
        permanent=permanent,
        hard=hard and _for_ever(refusal, permanent, code),
        rule=NOTHING_FITS if piece is None else piece.rule,
    )


def weigh(refusal: Refusal, known: Index | None = None) -> Iterator[Piece]:
    """Every piece that fits, the one that decides first."""
    return (known or whole()).fitting(see(refusal))


def _permanent(refusal: Refusal, code: str) -> bool:
    """By the class of the status (RFC 3463 §3.1), of the reply, or what is usual of the cause."""
    if refusal.status[:1] in ("2", "4", "5"):
        return refusal.status[0] == "5"
    if refusal.code:
        return refusal.code >= 500
    return refusal.action != "delayed" and cause(code).permanent


def _for_ever(refusal: Refusal, permanent: bool, code: str) -> bool:
    """Whether what is hard by its cause is so here.

    A temporary refusal may yet pass: what the DNS says may be mended. But a server that does not
    know a user, and was asked until the message was given up, has said so for ever.
    """
    if permanent:
        return True
    return code == "unknown-user" and refusal.action == "failed"
