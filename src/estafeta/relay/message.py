"""message: what a message needs of a server, and what is done where the server lacks it.

SIZE (RFC 1870 §6.1), 8BITMIME (RFC 6152 §3: convert or refuse), SMTPUTF8 (RFC 6531 §3.2: refuse,
unless nothing of it is really used), recipients per transaction (RFC 9422 §4.2).
"""

from __future__ import annotations

import asyncio

import msgspec

from estafeta.explain.cause import cause_of
from estafeta.mail.downgrade import CannotConvert, to_seven_bit
from estafeta.mail.envelope import Envelope
from estafeta.mail.outcome import Deferred, Outcome, Refused, Reply
from estafeta.mail.protocols import Bytes, Content
from estafeta.relay.limits import HEADER_OCTETS_MAX, PAUSE_OCTETS, SMALL_OCTETS_MAX
from estafeta.wire.smtp_client import Offer
from estafeta.world.seams import Cpu


class Fitted(msgspec.Struct):
    """One message made fit for one server. send: places of the recipients that are to be sent.

    settled: outcomes of the others. With no `send`, nothing is sent at all.
    """

    content: Content
    send: list[int]
    settled: dict[int, Outcome]
    eight_bit: bool = False
    smtputf8: bool = False
    converted: bool = False


class Message:
    """The content as one attempt looks at it; each look is made once."""

    __slots__ = ("_cpu", "_header_ascii", "_seven_bit", "_small", "content", "envelope")

    def __init__(self, envelope: Envelope, content: Content, cpu: Cpu) -> None:
        self.envelope = envelope
        self.content = content
        self._cpu = cpu
        self._small: bytes | None = None
        if content.size <= SMALL_OCTETS_MAX:
            self._small = content.read()
            self.content = Bytes(self._small)
        self._header_ascii: bool | None = None
        self._seven_bit: Content | str | None = None

    async def fit(self, offer: Offer, label: str, recipients_max: int) -> Fitted:
        envelope = self.envelope
        places = list(range(len(envelope.recipients)))
        fitted = Fitted(self.content, places, {})
        if offer.size and self.content.size > offer.size:
            text = f"the message has {self.content.size} octets, {label} takes {offer.size}"
            refused = Refused(Reply(552, "5.3.4", text), "message-too-large", label)
            self._refuse(fitted, places, refused)
            return fitted
        self._fit_addresses(fitted, offer, label)
        await self._fit_body(fitted, offer, label)
        most = min(recipients_max, offer.recipients_max or recipients_max)
        if len(fitted.send) > most:
            reply = Reply(452, "4.5.3", f"{label} takes {most} recipients at a time")
            rest = Deferred(reply, "too-many-recipients", label, 0.0)
            self._refuse(fitted, fitted.send[most:], rest)
        return fitted

    def _fit_addresses(self, fitted: Fitted, offer: Offer, label: str) -> None:
        envelope = self.envelope
        sender_ascii = envelope.reverse_path.isascii()
        others = [
            place
            for place, recipient in enumerate(envelope.recipients)
            if not recipient.address.isascii()
        ]
        needed = (
            not sender_ascii or bool(others) or (envelope.smtputf8 and not self._is_header_ascii())
        )
        if not needed:
            return
        if offer.smtputf8:
            fitted.smtputf8 = True
            return
        if not sender_ascii or (envelope.smtputf8 and not self._is_header_ascii()):
            # RFC 6531 §3.2: returned, for neither a header nor a sender can be rewritten here.
            status = "5.6.7" if not sender_ascii else "5.6.9"
            reply = Reply(553, status, f"{label} does not take internationalised mail (SMTPUTF8)")
            self._refuse(fitted, fitted.send, Refused(reply, cause_of(reply), label))
            return
        text = f"{label} does not take internationalised addresses (SMTPUTF8)"
        self._refuse(fitted, others, Refused(Reply(553, "5.6.7", text), "conversion-needed", label))

    async def _fit_body(self, fitted: Fitted, offer: Offer, label: str) -> None:
        if not fitted.send:
            return
        if offer.eight_bit:
            # Said without a look where looking costs a reading of the whole; 7-bit is within 8-bit.
            fitted.eight_bit = (
                self.envelope.eight_bit or self._small is None or not self._small.isascii()
            )
            return
        if await self._is_ascii():
            return
        if self._seven_bit is None:
            self._seven_bit = await self._convert()
        if isinstance(self._seven_bit, str):
            text = f"{label} takes 7-bit mail only, and this cannot be converted: {self._seven_bit}"
            refused = Refused(Reply(554, "5.6.3", text), "content-conversion-needed", label)
            self._refuse(fitted, fitted.send, refused)
            return
        if offer.size and self._seven_bit.size > offer.size:
            text = (
                f"converted to 7-bit the message has {self._seven_bit.size} octets, "
                f"{label} takes {offer.size}"
            )
            refused = Refused(Reply(552, "5.3.4", text), "message-too-large", label)
            self._refuse(fitted, fitted.send, refused)
            return
        fitted.content = self._seven_bit
        fitted.converted = True

    @staticmethod
    def _refuse(fitted: Fitted, places: list[int], outcome: Outcome) -> None:
        for place in places:
            fitted.settled[place] = outcome
        fitted.send = [place for place in fitted.send if place not in fitted.settled]

    def _is_header_ascii(self) -> bool:
        if self._header_ascii is None:
            header = self._small
            if header is None:
                header = self.content.read(0, min(self.content.size, HEADER_OCTETS_MAX))
            self._header_ascii = header.isascii() or header[: header.find(b"\r\n\r\n")].isascii()
        return self._header_ascii

    async def _is_ascii(self) -> bool:
        if self._small is not None:
            return self._small.isascii()
        looked_through = 0
        for chunk in self.content.chunks():
            if not chunk.isascii():
                return False
            looked_through += len(chunk)
            if looked_through >= PAUSE_OCTETS:
                looked_through = 0
                await asyncio.sleep(0)
        return True

    async def _convert(self) -> Content | str:
        data = self.content.read() if self._small is None else self._small
        try:
            if self._small is None:
                return Bytes(await self._cpu.run(to_seven_bit, data))
            return Bytes(to_seven_bit(data))
        except CannotConvert as reason:
            return str(reason)
