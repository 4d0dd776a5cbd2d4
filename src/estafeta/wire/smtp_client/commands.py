"""commands: MAIL and RCPT lines from an envelope, with the parameters a server offered.

RFC 5321 §4.1.1.2, §4.1.1.3; SIZE RFC 1870, BODY RFC 6152, SMTPUTF8 RFC 6531, DSN RFC 3461 §4.
A parameter that was not offered is left out.
"""

from __future__ import annotations

import re

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.wire.smtp_client.offer import Offer

_XTEXT_ESCAPED = re.compile(rb"[^!-*,-<>-~]")
_NOTIFY_ORDER = ("NEVER", "SUCCESS", "FAILURE", "DELAY")


def xtext(text: str) -> str:
    """RFC 3461 §4: "+", "=" and all outside "!" to "~" as "+XX"."""
    return _XTEXT_ESCAPED.sub(lambda found: b"+%02X" % found[0][0], text.encode()).decode()


def mail_command(
    envelope: Envelope, offer: Offer, *, size: int, eight_bit: bool, smtputf8: bool
) -> str:
    line = f"MAIL FROM:<{envelope.reverse_path}>"
    if not offer.extended:
        return line
    if offer.sized and size:
        line += f" SIZE={size}"
    if eight_bit and offer.eight_bit:
        line += " BODY=8BITMIME"
    if smtputf8 and offer.smtputf8:
        line += " SMTPUTF8"
    if offer.dsn:
        if envelope.ret:
            line += f" RET={envelope.ret}"
        if envelope.envid:
            line += f" ENVID={xtext(envelope.envid)}"
    return line


def rcpt_command(recipient: Recipient, offer: Offer) -> str:
    line = f"RCPT TO:<{recipient.address}>"
    if offer.dsn:
        if recipient.notify:
            wishes = ",".join(wish for wish in _NOTIFY_ORDER if wish in recipient.notify)
            line += f" NOTIFY={wishes}"
        kind, _, address = recipient.orcpt.partition(";")
        if address:
            line += f" ORCPT={kind};{xtext(address)}"
    return line
