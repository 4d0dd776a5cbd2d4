"""Told: what a report on delivery is to say, before it is put into words. Nouns.

Times are seconds since 1970, 0 where there is none.
"""

from __future__ import annotations

import msgspec

from estafeta.mail.outcome import Reply


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient that did not get the message, or not yet.

    address: as the sender wrote it. reply: the deciding one. host: who gave it, "" for us. status:
    of that reply, or of the report where it has none. permanent: that is of class 5 (RFC 3463
    §3.1). hard: this address or domain will never take mail. first_try, last_try: of `attempts` in
    all. expired: it was tried until the message became too old. next_try, until: of one that is
    tried again. meant: the address that was probably meant, "" where none is near.
    """

    address: str
    cause: str
    reply: Reply | None = None
    host: str = ""
    status: str = ""
    permanent: bool = False
    hard: bool = False
    first_try: float = 0
    last_try: float = 0
    attempts: int = 0
    expired: bool = False
    next_try: float = 0
    until: float = 0
    meant: str = ""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The message, and who helps. subject: its own, decoded, "" if unknown. partly: it has other
    recipients than those of the report. accepted, reported: when."""

    language: str
    support: str
    subject: str = ""
    partly: bool = False
    queue_id: str = ""
    message_id: str = ""
    accepted: float = 0
    reported: float = 0
