"""login: one AUTH exchange as lines (RFC 4954 §4); the mechanism itself is `wire.sasl`'s."""

from __future__ import annotations

import base64
import binascii

from estafeta.mail.outcome import Reply
from estafeta.wire.sasl import ClientMechanism, SaslError
from estafeta.wire.smtp_client.limits import AUTH_ROUNDS_MAX
from estafeta.wire.smtp_client.replies import MalformedReply


class Login:
    __slots__ = ("_mechanism", "_rounds")

    def __init__(self, mechanism: ClientMechanism) -> None:
        self._mechanism = mechanism
        self._rounds = 0

    def first_line(self) -> bytes:
        """AUTH with the initial response, where the mechanism has one; an empty one is "="."""
        first = self._mechanism.initial()
        word = "" if first is None else " " + (base64.b64encode(first).decode() or "=")
        return f"AUTH {self._mechanism.name}{word}\r\n".encode()

    def answer(self, challenge: Reply) -> bytes:
        """The line that answers a 334; "*" gives the exchange up, and the reply to that is 501.

        Raises MalformedReply when the challenges do not end.
        """
        self._rounds += 1
        if self._rounds > AUTH_ROUNDS_MAX:
            raise MalformedReply("AUTH does not end")
        try:
            octets = base64.b64decode(challenge.text.strip(), validate=True)
            return base64.b64encode(self._mechanism.respond(octets)) + b"\r\n"
        except (binascii.Error, SaslError):
            return b"*\r\n"

    def succeeded(self) -> None:
        """The server said 235. Raises MalformedReply where it owes a proof of itself."""
        try:
            self._mechanism.finish()
        except SaslError as error:
            raise MalformedReply(str(error)) from None
