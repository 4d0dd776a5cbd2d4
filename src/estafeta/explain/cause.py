"""cause: from one SMTP reply that was given to us to a cause code of the catalogue."""

from __future__ import annotations

from estafeta.explain.judge import judge
from estafeta.explain.refusal import Refusal
from estafeta.mail.outcome import Reply


def cause_of(reply: Reply, command: str = "", host: str = "") -> str:
    """The cause code for a negative reply; "other" where it fits none.

    command: the SMTP command it answers, host: who gave it; both help where the words are few.
    """
    said = Refusal(
        code=reply.code, status=reply.status, text=reply.text, command=command, host=host
    )
    return judge(said).cause
