"""Clients: people's programs on the simulated internet that hand letters in.

A `Writer` goes on until every recipient has its answer, as a real client does: what was answered
250 or 5xx is settled, after anything else the same octets are tried again later.
"""

from __future__ import annotations

import asyncio
import random

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Reply
from estafeta.wire.sasl import client_mechanism
from estafeta.wire.smtp_client import (
    Authenticated,
    AuthenticationFailed,
    ContentWanted,
    Event,
    Finished,
    Ready,
    SmtpClient,
    State,
    TlsProceed,
)
from estafeta.world.seams import Endpoint, Stream, TlsError

from .installation import PASSWORD
from .letters import Letter
from .net import SimNet
from .tls import SimClientTls

PATIENCE_SECONDS = 60.0
AGAIN_SECONDS = (30.0, 180.0)
MUCH_LATER_SECONDS = (1000.0, 1300.0)
"""Sometimes a client comes again when the server no longer recognises what it had."""

PIECES = (3, 40, 700, 65536)


class Writer:
    """Hands letters in. servers: name of an installation's machine -> its address."""

    def __init__(self, net: SimNet, servers: dict[str, str], dice: random.Random) -> None:
        self._net = net
        self._servers = servers
        self._dice = dice
        self.tries = 0

    async def deliver(self, letter: Letter) -> None:
        """Returns when every recipient has been answered for good."""
        while not letter.settled:
            self.tries += 1
            try:
                async with asyncio.timeout(10 * PATIENCE_SECONDS):
                    await self._try(letter)
            except (OSError, TimeoutError, TlsError):
                pass
            if not letter.settled:
                late = self._dice.random() < 0.1
                await asyncio.sleep(
                    self._dice.uniform(*(MUCH_LATER_SECONDS if late else AGAIN_SECONDS))
                )

    async def _try(self, letter: Letter) -> None:
        to = Endpoint(self._servers[letter.machine], letter.port)
        async with asyncio.timeout(PATIENCE_SECONDS):
            stream = await self._net.connect(to)
        try:
            await _Hand(stream, self._dice).give(letter)
            await stream.close()
        finally:
            stream.abort()


class _Hand:
    """One connection of a writer."""

    def __init__(self, stream: Stream, dice: random.Random) -> None:
        self._stream = stream
        self._dice = dice
        self._client = SmtpClient("[203.0.113.10]")

    async def give(self, letter: Letter) -> None:
        client = self._client
        await self._expect(Ready)
        if client.offer.starttls and self._dice.random() < 0.5:
            client.start_tls()
            await self._expect(TlsProceed)
            await self._stream.start_tls(SimClientTls(verify=True), server_name=f"mx.{_of(letter)}")
            client.tls_started()
            await self._expect(Ready)
        if letter.port != 25:
            nonce = f"{self._dice.getrandbits(96):x}"
            mechanism = client_mechanism(
                self._dice.choice(("SCRAM-SHA-256", "PLAIN", "LOGIN")),
                authcid=letter.sender,
                password=PASSWORD,
                nonce=nonce,
            )
            client.authenticate(mechanism)
            if isinstance(await self._event(), AuthenticationFailed):
                raise ConnectionError("not let in")
        asked = [each for each in letter.recipients if each not in letter.acknowledged]
        asked = [each for each in asked if each not in letter.refused]
        envelope = Envelope(letter.sender, tuple(Recipient(each) for each in asked))
        client.begin(envelope, size=len(letter.octets), eight_bit=letter.eight_bit)
        event = await self._event()
        if isinstance(event, ContentWanted):
            await self._send(letter.octets)
            event = await self._event()
        if not isinstance(event, Finished):
            self._note(letter, asked, client.replies)
            raise ConnectionError("no answer")
        self._note(letter, asked, event.replies)
        if client.state is State.READY and self._dice.random() < 0.7:
            client.quit()
            await self._event()

    @staticmethod
    def _note(letter: Letter, asked: list[str], replies: object) -> None:
        assert isinstance(replies, list | tuple)
        for address, reply in zip(asked, replies, strict=True):
            if not isinstance(reply, Reply):
                continue
            if reply.positive:
                letter.acknowledged.add(address)
                letter.acknowledged_at = asyncio.get_running_loop().time()
            elif reply.permanent:
                letter.refused.add(address)

    async def _send(self, octets: bytes) -> None:
        """In pieces of one size, so that every place of the message is once a border."""
        size = self._dice.choice(PIECES)
        if len(octets) > 100 * size:
            size = 65536 - self._dice.randint(0, 3)
        for start in range(0, len(octets), size):
            self._stream.write(self._client.content(octets[start : start + size]))
            await self._stream.drain()
        self._stream.write(self._client.end_content())

    async def _expect(self, kind: type) -> None:
        event = await self._event()
        if not isinstance(event, kind):
            raise ConnectionError(f"not what was expected: {event}")

    async def _event(self) -> Event | Authenticated:
        client, stream = self._client, self._stream
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (event := client.next_event()) is None:
                stream.write(client.take_output())
                if (event := client.next_event()) is not None:
                    break
                client.receive(await stream.read())
        return event


def _of(letter: Letter) -> str:
    return f"{letter.machine}.example"
