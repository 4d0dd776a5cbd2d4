"""Note: a message of the system's own to somebody who has to know, as text and as an acceptance."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from estafeta.deliver.directory import LocalDirectory
from estafeta.intake.prepared import Incoming, PreparedAcceptance
from estafeta.intake.target import ToAccount, ToAlias, ToRemote
from estafeta.mail.address import is_ascii
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.note import build_note
from estafeta.office.assemble import Installation

_WIDTH = 76


def in_blocks(blocks: Iterable[str]) -> str:
    """Paragraphs, in lines that any program shows as they are. One that is indented stays so."""
    return "\n\n".join(block if block[0] == " " else _filled(block) for block in blocks) + "\n"


def _filled(block: str) -> str:
    return textwrap.fill(block, _WIDTH, break_long_words=False, break_on_hyphens=False)


async def prepare_note(
    installation: Installation, to: str, language: str, subject: str, text: str
) -> PreparedAcceptance:
    """Its acceptance, from the postmaster with the null reverse-path; nobody hears of its fate."""
    config = installation.config
    id = installation.ids.next()
    await installation.tokens.ready()
    message_id = installation.tokens.message_id(id, config.server.hostname)
    postmaster = config.server.postmaster
    utf8 = not (is_ascii(to) and is_ascii(postmaster))
    message = build_note(
        subject=subject,
        text=text,
        language=language,
        from_=f"MAILER-DAEMON <{postmaster}>",
        to=to,
        date=installation.world.clock.now(),
        message_id=message_id,
        utf8=utf8,
    )
    body = await installation.bodies.from_bytes(message)
    directory = LocalDirectory(postmaster=postmaster).look_up
    found = await installation.store.read(lambda tx: directory(tx, to))
    incoming = Incoming(
        id=id,
        origin="fault",
        envelope=Envelope(
            "", (Recipient(to, notify=frozenset({"NEVER"})),), smtputf8=utf8, eight_bit=utf8
        ),
        # Where it leads nowhere it is nobody's: there is no one else to tell.
        targets=(found if isinstance(found, ToAccount | ToAlias | ToRemote) else None,),
        body=body,
        message_id=message_id,
    )
    return await installation.acceptor.prepare(incoming)
