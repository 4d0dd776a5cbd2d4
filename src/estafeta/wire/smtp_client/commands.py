"""commands: MAIL and RCPT lines from an envelope, with the parameters a server offered.

RFC 5321 §4.1.1.2, §4.1.1.3; SIZE RFC 1870, BODY RFC 6152, SMTPUTF8 RFC 6531, DSN RFC 3461 §4.
A parameter that was not offered is left out.
"""

from __future__ import annotations

import re

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.wire.smtp_client.offer import Offer

_XTEXT_ESCAPED = re.compile(rb"[^!-*,-<>-~]")
_UTF8_PLAIN = frozenset(map(chr, range(0x21, 0x7F))) - frozenset("+=\\")
_NOTIFY_ORDER = ("NEVER", "SUCCESS", "FAILURE", "DELAY")


def xtext(text: str) -> str:
    """RFC 3461 §4: "+", "=" and all outside "!" to "~" as "+XX"."""
    return _XTEXT_ESCAPED.sub(lambda found: b"+%02X" % found[0][0], text.encode()).decode()


def utf8_address(text: str, *, raw: bool) -> str:
    """RFC 6533 §3: an address of type utf-8 for ORCPT; raw: with SMTPUTF8, else ASCII only."""
    return "".join(
        each
        if (each in _UTF8_PLAIN) or (raw and ord(each) > 0x7F)
        else "\\x{" + f"{ord(each):02X}" + "}"
        for each in text
    )


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


def rcpt_command(recipient: Recipient, offer: Offer, *, smtputf8: bool) -> str:
    line = f"RCPT TO:<{recipient.address}>"
    if offer.dsn:
        if recipient.notify:
            wishes = ",".join(wish for wish in _NOTIFY_ORDER if wish in recipient.notify)
            line += f" NOTIFY={wishes}"
        kind, _, address = recipient.orcpt.partition(";")
        if address and kind.lower() == "utf-8":
            raw = smtputf8 and offer.smtputf8
            line += f" ORCPT={kind};{utf8_address(address, raw=raw)}"
        elif address:
            line += f" ORCPT={kind};{xtext(address)}"
    return line
