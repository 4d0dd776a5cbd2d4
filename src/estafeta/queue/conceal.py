"""Conceal: where mail for an address really goes stays between the address's owner and us.

Promises: what a report says of a recipient behind an alias names the address that the sender wrote,
in the words of the next server too; its host, which would say where the recipient is, is left out
(RFC 3464 §4.2).
"""

from __future__ import annotations

import re

import msgspec

from estafeta.mail.address import domain_to_unicode
from estafeta.mail.outcome import Reply

_LOCAL_CHARACTERS_MIN = 3
"""A shorter name before the @ may be any word of the reply; alone it gives nobody away."""


def written_in(orcpt: str) -> str:
    """The address that ORCPT gives as the sender's own, "" where it is of another kind."""
    kind, _, address = orcpt.partition(";")
    return address.strip() if kind.lower() in ("rfc822", "utf-8") else ""


def conceal(reply: Reply, target: str, written: str) -> Reply:
    """The reply about `target` as one about `written`."""
    local, _, domain = target.rpartition("@")
    own_local, _, own_domain = written.rpartition("@")
    text = _replaced(reply.text, target, written)
    if domain.lower() != own_domain.lower():
        for name in {domain, domain_to_unicode(domain)}:
            text = _replaced(text, name, own_domain, before=r"(?:[\w-]+\.)*")
    if len(local) >= _LOCAL_CHARACTERS_MIN and local.lower() != own_local.lower():
        text = _replaced(text, local, own_local)
    return msgspec.structs.replace(reply, text=text)


def _replaced(text: str, what: str, by: str, before: str = "") -> str:
    """Whole words only; `before`: what may stand before `what` and goes with it."""
    pattern = rf"(?<![\w-]){before}{re.escape(what)}(?![\w-])"
    return re.sub(pattern, lambda _: by, text, flags=re.IGNORECASE)
