"""offer: what a server said it can do, read from its reply to EHLO or LHLO (RFC 5321 §4.1.1.1).

Unknown keywords are passed over; a parameter that makes no sense counts as absent.
"""

from __future__ import annotations

import msgspec

from estafeta.mail.outcome import Reply


class Offer(msgspec.Struct, frozen=True):
    """The service extensions of one session.

    extended: answered EHLO (or LHLO), not only HELO. sized: SIZE was offered; size: octets a
    message may have, 0 where no bound was named (RFC 1870 §3). auth: mechanisms in upper case, in
    the server's order.
    recipients_max, transactions_max: LIMITS RCPTMAX and MAILMAX (RFC 9422 §4), 0 where not said.
    """

    extended: bool = False
    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    chunking: bool = False
    starttls: bool = False
    dsn: bool = False
    sized: bool = False
    size: int = 0
    auth: tuple[str, ...] = ()
    recipients_max: int = 0
    transactions_max: int = 0


_FLAGS = {
    "PIPELINING": "pipelining",  # RFC 2920
    "8BITMIME": "eight_bit",  # RFC 6152
    "SMTPUTF8": "smtputf8",  # RFC 6531
    "CHUNKING": "chunking",  # RFC 3030
    "STARTTLS": "starttls",  # RFC 3207
    "DSN": "dsn",  # RFC 3461
}
_NUMBER_DIGITS_MAX = 18


def parse_offer(reply: Reply) -> Offer:
    """The offer in a positive reply to EHLO or LHLO; its first line is the server's name."""
    fields: dict[str, bool | int | tuple[str, ...]] = {"extended": True}
    auth: list[str] = []
    for line in reply.text.split("\n")[1:]:
        words = line.upper().split()
        if not words:
            continue
        keyword = words[0]
        if keyword in _FLAGS:
            fields[_FLAGS[keyword]] = True
        elif keyword == "SIZE":
            fields["sized"] = True
            fields["size"] = _number(words[1]) if len(words) > 1 else 0
        elif keyword == "AUTH" or keyword.startswith("AUTH="):
            # "AUTH=LOGIN" is what servers older than RFC 2554 said; both forms occur together.
            for word in [*keyword.split("=")[1:], *words[1:]]:
                if word not in auth:
                    auth.append(word)
        elif keyword == "LIMITS":
            for word in words[1:]:
                name, _, value = word.partition("=")
                if name == "RCPTMAX":
                    fields["recipients_max"] = _number(value)
                elif name == "MAILMAX":
                    fields["transactions_max"] = _number(value)
    return Offer(auth=tuple(auth), **fields)  # type: ignore[arg-type]


def _number(text: str) -> int:
    plain = text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX
    return int(text) if plain else 0
